"""A script: the share of mutants that the tests killed, and those that survived, after `mutmut run`."""

import json
from pathlib import Path

SURVIVED = (0, 33)  # 33: no test reaches it


def main():
    for path in sorted(Path("mutants").rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        survived = [name for name, code in codes.items() if code in SURVIVED]
        tried = len(codes) - sum(code is None for code in codes.values())
        if tried:
            share = 1 - len(survived) / tried
            print(f"{path.relative_to('mutants').with_suffix('')}: {share:.1%} of {tried} mutants killed")
            print(*(f"    survived: {name}" for name in survived), sep="\n")


if __name__ == "__main__":
    main()
