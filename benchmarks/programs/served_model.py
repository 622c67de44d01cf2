"""Texts per second of a registered model without HTTP: `served_model.py STORE URI TEXTS.json`.

`network@N`: from token ids to probabilities, encoder and head, N texts at a time in the order given.
`predict`: the whole model, from all texts to a table. Each line of stdin is answered with one measurement.
"""

import json
import sys
import time
from pathlib import Path

import mlflow
import mlflow.pyfunc
import pandas as pd


def main() -> None:
    mlflow.set_tracking_uri(sys.argv[1])
    model = mlflow.pyfunc.load_model(sys.argv[2]).unwrap_python_model()
    texts = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
    table = pd.DataFrame({"text": texts})
    tokens = [model.token_ids(text) for text in texts]

    def rate(at_once: int) -> float:
        started = time.perf_counter()
        for start in range(0, len(tokens), at_once):
            model.classify_ids(tokens[start : start + at_once])
        return len(tokens) / (time.perf_counter() - started)

    rate(64)
    print(json.dumps({"texts": len(texts)}), flush=True)
    for _ in sys.stdin:
        rates = {f"network@{at_once}": rate(at_once) for at_once in (64, len(texts))}
        started = time.perf_counter()
        model.predict(None, table)
        rates["predict"] = len(texts) / (time.perf_counter() - started)
        print(json.dumps(rates), flush=True)


main()
