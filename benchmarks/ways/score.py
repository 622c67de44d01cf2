"""One table scored by the champion; says what `jabert score` says, and the process's largest memory.

python score.py TABLE OUT [--set GROUP.KEY=VALUE …]
"""

import argparse
import json
import resource

from jabert.config import load_settings
from jabert.scoring import open_job, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("out")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    scored = score(open_job(load_settings(None, options.overrides), options.table, options.out))
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts = {name: value for name, value in scored.to_dict().items() if name != "output"}  # a scratch file
    print(json.dumps({**facts, "peak_bytes": peak_bytes}), flush=True)


if __name__ == "__main__":
    main()
