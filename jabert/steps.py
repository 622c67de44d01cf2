"""The stages of a retraining, each from files of the work folder to files of the work folder.

A step records what it did in the run and returns a small record. The flows string them together.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from jabert import markdown, registry
from jabert.classifier import Epoch, Trained, training_precision
from jabert.classifier import train as train_classifier
from jabert.config import Settings, local_database
from jabert.dataset import read_corpus, table_digest
from jabert.encoder import TokenizedTexts, Tokenizer, open_folder
from jabert.errors import JabertError
from jabert.evaluation import EvaluationReport
from jabert.evaluation import evaluate as evaluate_predictions
from jabert.features import Featurized, Progress, open_store
from jabert.features import featurize as featurize_ids
from jabert.files import digest_of_json
from jabert.legacy_keras import gpu_names, use_device
from jabert.packaging import build_package, log_package, predict
from jabert.recording import (
    layers_of,
    record_epoch,
    record_evaluation,
    record_training,
    record_validation,
)
from jabert.registry import Verdict
from jabert.tracking import Run
from jabert.validation import ValidationReport, check_pieces
from jabert.validation import check_texts as check_table
from jabert.work import Work

__all__ = [
    "Data",
    "Evaluated",
    "Tokenized",
    "check_texts",
    "evaluate",
    "featurize",
    "fit",
    "read",
    "register",
    "summary",
    "take_over",
    "tokenize",
    "train",
]


log = logging.getLogger("jabert")


@dataclass(frozen=True)
class Data:
    """What was read. The table is staged: `work.exclusive(staged)` takes it into the work folder."""

    work: Work
    staged: Path
    digest: str
    source: str
    split_by: str
    counts: dict[str, int]
    conflicts: str
    """The texts that stand under two labels, as a Markdown table; empty if there are none."""


@dataclass(frozen=True)
class Tokenized:
    """Piece statistics of all texts, and what the suite on them found."""

    texts: int
    pieces: int
    unknown: int
    truncated: int
    longest: int
    lower_case: bool
    validation: ValidationReport

    def metrics(self) -> dict[str, float]:
        """For MLflow."""
        return {
            "pieces/mean": self.pieces / self.texts,
            "pieces/longest": self.longest,
            "pieces/unknown_share": self.unknown / max(1, self.pieces),
            "pieces/truncated_texts": self.truncated,
        }

    def to_markdown(self) -> str:
        """The statistics and the findings of the suite."""
        lines = [
            f"{self.texts:,} texts, {self.pieces:,} pieces, the longest {self.longest}",
            f"{self.unknown:,} unknown pieces ({self.unknown / max(1, self.pieces):.2%})",
            f"{self.truncated:,} texts cut",
            "lower-cased" if self.lower_case else "case kept",
        ]
        return "\n".join(f"- {line}" for line in lines) + "\n\n" + self.validation.to_markdown()


@dataclass(frozen=True)
class Evaluated:
    """The report on the logged model, and where that model is."""

    model_uri: str
    report: EvaluationReport


def read(settings: Settings, run: Run | None = None) -> Data:
    """Read, clean and split the texts; checks on the way that there is an encoder."""
    folder = open_folder(settings.encoder.path)
    corpus = read_corpus(settings.data)
    digest = table_digest(corpus.table)
    name = digest_of_json([settings.digest(), digest, folder.fingerprint])[:16]
    work = Work(Path(settings.training.work_path) / name)
    staged = work.stage_table(corpus.table)
    in_doubt = corpus.conflicts.to_numpy().tolist()
    conflicts = markdown.table([*map(str, corpus.conflicts)], in_doubt) if in_doubt else ""
    if run:
        if settings.note:
            log.warning(settings.note)
        run.tags({"data_digest": digest, "encoder_fingerprint": folder.fingerprint})
        run.metrics({f"rows/{key}": value for key, value in corpus.counts.items()})
        for side, rows in corpus.table.groupby("split"):
            run.dataset(
                rows.drop(columns=["split", "file", "line"]), corpus.source, table_digest(rows), str(side)
            )
        if conflicts:
            run.text("data/texts_under_two_labels.md", conflicts)
    return Data(work, staged, digest, corpus.source, corpus.split_by, corpus.counts, conflicts)


def take_over(data: Data, run: Run) -> None:
    """Link this run with an earlier one that did not finish the same work, and end that one truly."""
    before = data.work.take_over(run.id)
    if before is None:
        return
    run.tags({"resumes": before})
    run.end_killed(before)
    if data.work.training.exists():
        log.info("going on from the training of run %s, which did not finish", before)


def check_texts(settings: Settings, data: Data, run: Run | None = None) -> ValidationReport:
    """Hold the table against the suite; the caller decides what a failure means."""
    table = data.work.read_table()
    report = check_table(table, settings, data.split_by, data.work.validation("texts"))
    if run:
        record_validation(report, "texts", run)
    return report


def tokenize(settings: Settings, data: Data, run: Run | None = None) -> Tokenized:
    """Turn the texts into token ids and hold the statistics against the suite on pieces."""
    table = data.work.read_table()
    tokenizer = Tokenizer(open_folder(settings.encoder.path), settings.encoder)
    tokens = tokenizer(table["text"].tolist())
    data.work.write_tokens(tokens)
    report = check_pieces(_with_pieces(table, tokens), settings, data.work.validation("pieces"))
    tokenized = Tokenized(
        texts=len(table),
        pieces=int(tokens.pieces.sum()),
        unknown=int(tokens.unknown.sum()),
        truncated=int(tokens.truncated.sum()),
        longest=int(tokens.pieces.max()),
        lower_case=tokenizer.lower_case,
        validation=report,
    )
    if tokenized.truncated:
        log.warning(
            "%d of %d texts are longer than %d tokens and were cut",
            tokenized.truncated,
            len(table),
            tokenizer.max_tokens,
        )
    if run:
        run.metrics(tokenized.metrics())
        run.params({"resolved.lower_case": tokenizer.lower_case, "resolved.max_tokens": tokenizer.max_tokens})
        record_validation(report, "pieces", run)
    return tokenized


def featurize(
    settings: Settings, data: Data, run: Run | None = None, on_progress: Progress | None = None
) -> Featurized:
    """Fill the feature store with what it lacks of these texts."""
    ids = data.work.read_tokens().ids
    featurized = featurize_ids(ids, open_folder(settings.encoder.path), settings, on_progress)
    if run:
        facts = featurized.to_dict()
        run.params(
            {f"features.{name}": facts.pop(name) for name in ("engine", "precision", "device", "store")}
        )
        run.metrics({f"features/{name}": value for name, value in facts.items()})
    return featurized


def train(
    settings: Settings, data: Data, run: Run, on_epoch: Callable[[Epoch], None] | None = None
) -> Trained:
    """Train the classifier on the stored vectors, or finish what a killed run began."""
    run.params(
        {
            "resolved.training_device": use_device(settings.encoder.device),
            "resolved.training_precision": training_precision(settings.training),
            "resolved.gpu": gpu_names(),
        }
    )

    def report(epoch: Epoch) -> None:
        record_epoch(epoch, run)
        log.info(
            "epoch %d: loss %.3f, %s %.4f",
            epoch["epoch"],
            epoch["loss"],
            settings.training.monitor,
            epoch[settings.training.monitor],
        )
        if on_epoch:
            on_epoch(epoch)

    trained = fit(settings, data.work, report)
    layers = layers_of(settings, open_folder(settings.encoder.path), len(data.work.labels()))
    record_training(settings, data.work, trained, layers, run)
    return trained


def fit(settings: Settings, work: Work, on_epoch: Callable[[Epoch], None]) -> Trained:
    """The training itself, on the token ids of the work folder and the vectors stored for them."""
    sides = work.labelled_rows()
    if not len(sides[settings.training.watch]):
        raise JabertError(f"there are no {settings.training.watch} rows to choose the epoch on")
    return train_classifier(
        open_store(open_folder(settings.encoder.path), settings),
        sides["train"],
        sides[settings.training.watch],
        len(work.labels()),
        classifier=settings.classifier,
        training=settings.training,
        folder=work.training,
        on_epoch=on_epoch,
    )


def evaluate(settings: Settings, data: Data, run: Run) -> Evaluated:
    """Package and log the model, then measure that very model on the test rows, from text."""
    import mlflow.pyfunc

    table = _with_pieces(data.work.read_table(), data.work.read_tokens())
    labels = data.work.labels()
    package = build_package(
        open_folder(settings.encoder.path), data.work.training, labels, settings, data.work.package
    )
    model_uri = log_package(package, run)
    rows = table[table["split"] == "test"]
    predicted = predict(mlflow.pyfunc.load_model(model_uri), rows[["text"]])["probabilities"]
    probabilities = np.array([[of[label] for label in labels] for of in predicted])
    report = evaluate_predictions(rows, probabilities, labels, seed=settings.data.seed)
    record_evaluation(report, data.work, run)
    return Evaluated(model_uri, report)


def register(settings: Settings, data: Data, run: Run, evaluated: Evaluated) -> Verdict:
    """Register the model and let the champion change if this one is better on the same rows."""
    table = data.work.read_table()
    rows = table[table["split"] == "test"]
    name = settings.tracking.model_name
    # Two runs that end together must not judge themselves against the same champion. Beside a local store
    # the lock covers all who use it; for a server only those who share the work folder.
    database = local_database(settings.tracking.uri)
    folder = database.parent if database else Path(settings.training.work_path)
    with FileLock(folder / "promotion.lock"):
        verdict = registry.judge(
            run.client,
            name,
            evaluated.model_uri,
            rows=rows,
            challenger_f1=evaluated.report.weighted_f1,
        )
    run.tags(
        {
            "promoted": str(verdict.promoted).lower(),
            "reason": verdict.reason,
            "version": verdict.version,
            "mlflow.note.content": "\n\n".join(filter(None, [settings.note, f"Verdict: {verdict.reason}."])),
        }
    )
    if verdict.champion_weighted_f1 is not None:
        run.metrics({"test/champion_weighted_f1": verdict.champion_weighted_f1})
    return verdict


def _with_pieces(table: pd.DataFrame, tokens: TokenizedTexts) -> pd.DataFrame:
    return table.assign(pieces=tokens.pieces, unknown=tokens.unknown, truncated=tokens.truncated)


def summary(
    settings: Settings, data: Data, features: Featurized, verdict: Verdict, run: Run
) -> dict[str, Any]:
    """The result of a retraining, JSON-ready."""
    return {
        "run_id": run.id,
        "model_version": verdict.version,
        "weighted_f1": verdict.weighted_f1,
        "champion_weighted_f1": verdict.champion_weighted_f1,
        "promoted": verdict.promoted,
        "outcome": "promoted" if verdict.promoted else "kept",
        "reason": verdict.reason,
        "rows": {side: data.counts[side] for side in ("train", "validation", "test")},
        "features": {"computed": features.computed, "reused": features.reused},
        "stages": run.seconds,
        "config_digest": settings.digest(),
        "data_digest": data.digest,
    }
