"""The rate of a registered model without HTTP: `served_model.py STORE URI TEXTS.json`, texts a second.

`network`: token ids to probabilities, encoder and head, all texts in batches of similar length. `predict`:
the whole model, from texts to a table. Answers each line of input with one measurement of both.
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
    model.classify_ids(tokens)
    print(json.dumps({"texts": len(texts)}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        model.classify_ids(tokens)
        between = time.perf_counter()
        model.predict(None, table)
        ended = time.perf_counter()
        rates = {"network": len(texts) / (between - started), "predict": len(texts) / (ended - between)}
        print(json.dumps(rates), flush=True)


main()
