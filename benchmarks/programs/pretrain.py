"""Peak memory of `jabert pretrain` in the current directory: `python pretrain.py ARGUMENTS…`."""

import sys

from protocol import open_answers, peak_bytes, send

from jabert.cli import main


def pretrain() -> None:
    answers = open_answers()
    try:
        main(["pretrain", *sys.argv[1:]])
    except SystemExit as end:
        if end.code:
            raise
    send(answers, {"peak_bytes": peak_bytes()})


if __name__ == "__main__":
    pretrain()
