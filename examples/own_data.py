"""Train on a table of one's own, without an encoder, and classify a text.

    python examples/own_data.py TABLE [--text-column text] [--label-column label] [--text TEXT]

With an encoder, leave out `method.kind` and set `encoder.path`.
"""

import argparse

import jabert


def main() -> None:
    """Fit, measure on the test rows, and classify."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--text", default="紅葉の京都を一日歩いた。")
    given = parser.parse_args()
    settings = jabert.load_settings(
        None,
        [
            f"data.path={given.table}",
            f"data.text_column={given.text_column}",
            f"data.label_column={given.label_column}",
            "method.kind=tfidf",
        ],
    )
    try:
        classifier = jabert.fit(settings)
    except jabert.JabertError as error:  # one sentence, which names file and line
        raise SystemExit(str(error)) from None
    rows = jabert.read_corpus(settings.data).table
    test = rows[rows["split"] == "test"]
    report = jabert.evaluate(test, classifier.predict(test["text"]), classifier.labels)
    print(f"weighted F1 {report.weighted_f1:.3f} on {len(test)} test rows")
    (found,) = classifier.predict([given.text])
    for label, probability in zip(classifier.labels, found, strict=True):
        print(f"{probability:.3f}\t{label}")


if __name__ == "__main__":
    main()
