"""A toy version of a model, as card and report are written of it."""

from pathlib import Path

import numpy as np
import pandas as pd

from jabert.config import load_settings
from jabert.encoder import open_folder
from jabert.evaluation import Baseline, evaluate
from jabert.features import Featurized
from jabert.methods import Fitted, Job, method_of
from jabert.report.card import Facts

VERDICT = {
    "version": "3",
    "outcome": "promoted",
    "reason": "better: weighted F1 0.7500 against 0.7000 of champion 2 on the same rows",
    "weighted_f1": 0.75,
    "compared_rows": 4,
    "champion": "2",
    "champion_weighted_f1": 0.7,
    "gain": 0.05,
    "gain_low": -0.01,
    "gain_high": 0.11,
    "became_right": 5,
    "became_wrong": 2,
    "warnings": ["version 1, the best ever promoted, has weighted F1 0.9"],
}


def toy_facts(encoder, recipe, overrides, texts, labels, *, calibration=None):
    truth = [labels[i % 2] for i in range(len(texts))]
    rows = pd.DataFrame({"text": texts, "label": truth, "split": "test", "group": "g"})
    learned = rows.assign(split=["train", "validation"] * (len(rows) // 2), text=rows["text"] + "学習")
    probabilities = np.tile([0.9, 0.1], (len(rows), 1))
    kind = [] if recipe else ["method.kind=bi-lstm"]
    settings = load_settings(recipe, ["data.path=texts.csv", "data.format=table", *kind, *overrides])
    fitted = Fitted(
        history=[{"epoch": 1}, {"epoch": 2}, {"epoch": 3}],
        best_epoch=2,
        resolved={"training_precision": "float32", "gpu": "none"},
    )
    folder, method = open_folder(encoder), method_of(settings)
    described = method.describe(Job(settings, labels, folder, Path("training")), fitted)
    return Facts(
        version="3",
        run_id="0123456789abcdef",
        date="2025-11-25",
        settings=settings,
        source="https://host/texts.csv",
        split_by="group",
        counts={
            "rows_read": 12,
            "tag_only": 0,
            "duplicates": 3,
            "conflicting_texts": 1,
            "conflicting_rows": 2,
            "rows": 8,
            "train": 2,
            "validation": 2,
            "test": 4,
        },
        table=pd.concat([learned, rows], ignore_index=True),
        learned_from=["train"],
        test_chose=settings.training.watch == "test",
        validation=("Suite labelled_texts passed: all 12 expectations are met.\n", "Suite pieces passed.\n"),
        encoder=folder,
        lower_case=True,
        max_tokens=64,
        features=Featurized(8, 80, 8, 0, 1.0, 0.5, "openvino", "bfloat16", "/CPU:0", "store"),
        method=described,
        report=evaluate(rows, probabilities, labels, calibration=calibration),
        baselines=[
            Baseline("tfidf", 0.25, 0.0833, -0.01, 0.2),
            Baseline("majority", 0.125, 0.2083, 0.1, 0.3),
        ],
        verdict=VERDICT,
        environment={
            "python": "3.12.1",
            "machine": "Linux, 2 cores",
            "jabert": "0.1.0",
            "mlflow.source.git.commit": "abcdef",
            "library.numpy": "2.4.1",
        },
    )


def report_of(facts, texts, flips=(), explained=()):
    """The report page of facts, whose test rows all get the first class."""
    from jabert.report.page import report_page

    labels = facts.report.labels
    rows = facts.table[facts.table["split"] == "test"]
    predicted = rows.assign(predicted=labels[0], score=0.9).reset_index(drop=True)
    history = [
        {"epoch": n, "loss": 1.0 / n, "val_loss": 1.0, "val_weighted_f1": 0.5, "best": n == 2} for n in (1, 2)
    ]
    return report_page(facts, predicted, history, flips, texts, explained=explained)


def explained_of(*pieces, label="京都", similar="お寺"):
    from jabert.evaluation.occlusion import Explained, Piece, Similar

    found = [Piece(text, known, effect) for text, known, effect in pieces]
    text = "".join(piece.text for piece in found)
    return Explained(text, label, "グルメ", 0.9, found, [Similar(similar, label, 0.5)])
