"""Scores a table with the champion; the answer is that of `jabert score --json` and the peak memory.

python score.py TABLE OUT [--set GROUP.KEY=VALUE …]
"""

import argparse

from protocol import open_answers, peak_bytes, send

from jabert.config import load_settings
from jabert.scoring import open_job, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("out")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options, answers = parser.parse_args(), open_answers()
    scored = score(open_job(load_settings(None, options.overrides), options.table, options.out))
    facts = {name: value for name, value in scored.to_dict().items() if name != "output"}  # a temporary file
    send(answers, {**facts, "peak_bytes": peak_bytes()})


if __name__ == "__main__":
    main()
