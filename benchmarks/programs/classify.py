"""The raw rate of the champion: encoder and classifier on token ids in memory, bucketed by length.

python classify.py TABLE [--set GROUP.KEY=VALUE …]
"""

import argparse
import json
import time

import pandas as pd

from jabert.config import load_settings
from jabert.registry import open_registry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    texts = pd.read_csv(options.table)["text"].tolist()
    classifier = open_registry(load_settings(None, options.overrides)).load_champion().unwrap_python_model()
    ids = [classifier.token_ids(text) for text in texts]
    classifier.classify_ids(ids[:1000])
    started = time.perf_counter()
    classifier.classify_ids(ids)
    seconds = time.perf_counter() - started
    tokens = sum(map(len, ids))
    answer = {"rows": len(ids), "tokens": tokens, "seconds": seconds, "rows_per_second": len(ids) / seconds}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
