"""The sentences of KNBC as raw text for pretraining, one document per article.

    python benchmarks/mini_texts.py KNBC OUT.txt [--without-test-rows]

`--without-test-rows` leaves out every text that is a test row of recipe `knbc` with `data.split=sentence` and
one of the seeds 0, 1, 2; the variant of jabert-mini that is evaluated was pretrained without them. No labels
are written.
"""

import argparse
from pathlib import Path

from jabert.config import load_settings
from jabert.dataset import read_corpus
from jabert.files import write_text

SEEDS = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--without-test-rows", action="store_true")
    arguments = parser.parse_args()
    left_out = test_texts(arguments.data) if arguments.without_test_rows else set()
    settings = load_settings("knbc", [f"data.path={arguments.data}"])
    table = read_corpus(settings.data).table.sort_values(["file", "line"])
    kept = table[~table["text"].isin(left_out)]
    articles = ["\n".join(rows["text"]) for _, rows in kept.groupby("group", sort=False)]
    write_text(arguments.out, "\n\n".join(articles) + "\n")
    print(f"{len(kept):,} texts of {len(articles)} articles, {len(table) - len(kept):,} left out")


def test_texts(data: Path) -> set[str]:
    texts: set[str] = set()
    for seed in SEEDS:
        settings = load_settings("knbc", [f"data.path={data}", "data.split=sentence", f"data.seed={seed}"])
        table = read_corpus(settings.data).table
        texts |= set(table.loc[table["split"] == "test", "text"])
    return texts


if __name__ == "__main__":
    main()
