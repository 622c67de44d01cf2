"""The stages of a retraining, each from files of the work folder to files of the work folder.

A step records what it did in the run and returns a small record. The flows string them together.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from jabert import markdown, registry
from jabert.config import Settings
from jabert.dataset import read_corpus, row_digests, table_digest
from jabert.encoder import EncoderFolder, TokenizedTexts, Tokenizer, open_folder
from jabert.errors import JabertError
from jabert.evaluation import EvaluationReport, predictions
from jabert.evaluation import evaluate as evaluate_predictions
from jabert.experiments.packaging import build_package, log_package
from jabert.experiments.recording import (
    layers_of,
    record_card,
    record_comparison,
    record_epoch,
    record_evaluation,
    record_training,
    record_validation,
    record_verdict,
)
from jabert.experiments.work import Work
from jabert.features import Featurized, Progress, open_store
from jabert.features import featurize as featurize_ids
from jabert.files import digest_of_file, digest_of_json, write_json
from jabert.legacy_keras import gpu_names, use_device
from jabert.methods.bi_lstm import Epoch, Trained, training_precision
from jabert.methods.bi_lstm import train as train_classifier
from jabert.registry import Gate, Verdict
from jabert.report.card import Card, Facts, make_card
from jabert.tracking import Run, find_run, load_model, provenance, with_local_encoder
from jabert.validation import ValidationReport, check_pieces
from jabert.validation import check_texts as check_table
from jabert.validation.suites import find_suite

__all__ = [
    "Data",
    "Evaluated",
    "Results",
    "Retrained",
    "Tokenized",
    "check_texts",
    "describe",
    "evaluate",
    "featurize",
    "find_judged",
    "fit",
    "promote",
    "read",
    "register",
    "summary",
    "take_over",
    "tokenize",
    "train",
    "withdraw",
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
    max_tokens: int
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


@dataclass(frozen=True)
class Results:
    """What the stages of a retraining returned."""

    validated: ValidationReport
    tokenized: Tokenized
    features: Featurized
    trained: Trained
    evaluated: Evaluated
    verdict: Verdict


@dataclass(frozen=True)
class Retrained:
    """The result of a retraining.

    Attributes:
        run_id: MLflow's, of the run in which the version was judged.
        model_version: the version that was registered.
        weighted_f1: of the version on the test rows.
        champion_weighted_f1: of the champion before, on the same rows; None if there was none.
        promoted: whether this run made the version the champion.
        outcome: the gate's word for it, or `unchanged`: an earlier run judged the same.
        reason: a sentence.
        warnings: sentences.
        rows: of each side of the split.
        features: vectors `computed` and `reused`, in texts; 0 where unchanged.
        stages: seconds of each stage; empty where unchanged.
        config_digest, data_digest: of the settings that decide the result, and of the table.
    """

    run_id: str
    model_version: str
    weighted_f1: float
    champion_weighted_f1: float | None
    promoted: bool
    outcome: str
    reason: str
    warnings: list[str]
    rows: dict[str, int]
    features: dict[str, int]
    stages: dict[str, float]
    config_digest: str
    data_digest: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def read(settings: Settings, run: Run | None = None) -> Data:
    """Read, clean and split the texts; checks on the way that there is an encoder."""
    folder = open_folder(settings.encoder.path)
    corpus = read_corpus(settings.data)
    digest = table_digest(corpus.table)
    attempt = _attempt(settings, digest, folder)
    in_doubt = corpus.conflicts.to_numpy().tolist()
    conflicts = markdown.table([*map(str, corpus.conflicts)], in_doubt) if in_doubt else ""
    if run:
        if settings.note:
            log.warning(settings.note)
        run.tags(
            {
                "attempt": attempt,
                "data_digest": digest,
                "encoder_fingerprint": folder.fingerprint,
                "model_name": settings.tracking.model_name,
            }
        )
        rows = pd.DataFrame({"digest": row_digests(corpus.table["text"]), "split": corpus.table["split"]})
        run.text("data/rows.csv", rows.to_csv(index=False))
        run.metrics({f"rows/{key}": value for key, value in corpus.counts.items()})
        for side, rows in corpus.table.groupby("split"):
            run.dataset(
                rows.drop(columns=["split", "file", "line"]), corpus.source, table_digest(rows), str(side)
            )
        if conflicts:
            run.text("data/texts_under_two_labels.md", conflicts)
    work = Work(Path(settings.training.work_path) / attempt)
    staged = work.stage_table(corpus.table)  # last, for nobody takes away the table of a failure
    return Data(work, staged, digest, corpus.source, corpus.split_by, corpus.counts, conflicts)


def _attempt(settings: Settings, data_digest: str, folder: EncoderFolder) -> str:
    """The same for the same settings, suites, data and encoder; an encoder's making does not matter."""
    decisive = settings.digest(without=("pretraining", "corpus", "vocabulary"))
    suites = (settings.validation.suite, settings.validation.pieces_suite)
    rules = [digest_of_file(find_suite(suite)) for suite in suites]
    return digest_of_json([decisive, rules, data_digest, folder.fingerprint])[:16]


def find_judged(settings: Settings) -> Retrained | None:
    """The result of a retraining on the same settings, data and encoder that was judged before.

    Nothing is loaded for it that takes long: neither TensorFlow nor Great Expectations.

    Returns:
        With the outcome `unchanged`; None if there is something new.
    """
    settings = with_local_encoder(settings)
    corpus = read_corpus(settings.data)
    digest = table_digest(corpus.table)
    attempt = _attempt(settings, digest, open_folder(settings.encoder.path))
    found = find_run(settings.tracking, {"attempt": attempt, "model_name": settings.tracking.model_name})
    if found is None:
        return None
    tags, metrics = found.data.tags, found.data.metrics
    return Retrained(
        run_id=found.info.run_id,
        model_version=tags["version"],
        weighted_f1=metrics["test/weighted_f1"],
        champion_weighted_f1=metrics.get("test/champion_weighted_f1"),
        promoted=False,
        outcome="unchanged",
        reason=f"nothing new: run {found.info.run_id} judged the same data, encoder and settings "
        f"({tags['promotion']}: {tags['reason']})",
        warnings=[],
        rows=_rows(corpus.counts),
        features={"computed": 0, "reused": 0},
        stages={},
        config_digest=settings.digest(),
        data_digest=digest,
    )


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
        max_tokens=tokenizer.max_tokens,
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
    table = _with_pieces(data.work.read_table(), data.work.read_tokens())
    labels = data.work.labels()
    model_uri = _logged_model(settings, data, run)
    rows = table[table["split"] == "test"]
    probabilities = registry.classify(load_model(model_uri), rows["text"])[labels].to_numpy()
    report = evaluate_predictions(rows, probabilities, labels, seed=settings.data.seed)
    record_evaluation(report, predictions(rows, probabilities, labels), data.work, run)
    return Evaluated(model_uri, report)


def _logged_model(settings: Settings, data: Data, run: Run) -> str:
    """The URI of the packaged and logged model, which may be the work of a run that was killed later on."""
    work = data.work
    if work.logged.exists():
        model_uri = str(json.loads(work.logged.read_text(encoding="utf-8")))
        if run.has_model(model_uri):
            return model_uri
    folder = open_folder(settings.encoder.path)
    package = build_package(folder, work.training, work.labels(), settings, work.package)
    learned_from = registry.write_training_digests(work.read_table(), data.split_by, work.learned_from)
    model_uri = log_package(package, learned_from, run)
    write_json(work.logged, model_uri)
    return model_uri


def register(settings: Settings, run: Run, evaluated: Evaluated) -> str:
    """A version of the logged model, for the gate to judge."""
    registered = registry.open_registry(settings)
    version = registered.register(evaluated.model_uri)
    registered.tag(version, {"judged_in": run.id})
    run.tags({"version": version})
    return version


def withdraw(settings: Settings, version: str) -> None:
    """Note that the gate failed before it came to a verdict; a later run may judge the version still.

    A verdict that stands already stays, whatever failed after it.
    """
    registered = registry.open_registry(settings)
    if Verdict.from_tags(version, registered.get(version).tags) is None:
        registered.tag(version, {"promotion": "not judged", "reason": "the gate failed"})


def promote(settings: Settings, data: Data, run: Run, version: str) -> Verdict:
    """Let the champion change if the version is better on the same rows; or find what was decided before."""
    registered = registry.open_registry(settings)
    table = data.work.read_table()
    gate = Gate(
        registered,
        table[table["split"] == "test"],
        settings.promotion,
        record=lambda verdict: record_comparison(verdict, data.work.path, run),
        seed=settings.data.seed,
    )
    verdict = gate.judge_once(version)
    record_verdict(verdict, settings.note, registered.history(), run)
    for warning in verdict.warnings:
        log.warning(warning)
    return verdict


def describe(settings: Settings, data: Data, run: Run, results: Results) -> Card:
    """Write the model card into the run, and the brief of it as the description of the version."""
    facts = Facts(
        version=results.verdict.version,
        run_id=run.id,
        date=date.today().isoformat(),
        settings=settings,
        source=data.source,
        split_by=data.split_by,
        counts=data.counts,
        table=data.work.read_table(),
        validation=(results.validated.to_markdown(), results.tokenized.to_markdown()),
        encoder=open_folder(settings.encoder.path),
        lower_case=results.tokenized.lower_case,
        max_tokens=results.tokenized.max_tokens,
        features=results.features,
        trained=results.trained,
        training_precision=training_precision(settings.training),
        report=results.evaluated.report,
        verdict=results.verdict.facts(),
        environment={**provenance(), "gpu": ", ".join(gpu_names()) or "none"},
    )
    card = make_card(facts)
    record_card(card, data.work, run)
    registry.open_registry(settings).describe(results.verdict.version, card.to_description())
    return card


def _with_pieces(table: pd.DataFrame, tokens: TokenizedTexts) -> pd.DataFrame:
    return table.assign(pieces=tokens.pieces, unknown=tokens.unknown, truncated=tokens.truncated)


def summary(settings: Settings, data: Data, run: Run, results: Results) -> Retrained:
    """The result of a retraining that has just ended."""
    verdict, features = results.verdict, results.features
    return Retrained(
        run_id=run.id,
        model_version=verdict.version,
        weighted_f1=results.evaluated.report.weighted_f1,
        champion_weighted_f1=verdict.champion_weighted_f1,
        promoted=verdict.promoted,
        outcome=verdict.outcome,
        reason=verdict.reason,
        warnings=list(verdict.warnings),
        rows=_rows(data.counts),
        features={"computed": features.computed, "reused": features.reused},
        stages=dict(run.seconds),
        config_digest=settings.digest(),
        data_digest=data.digest,
    )


def _rows(counts: dict[str, int]) -> dict[str, int]:
    return {side: counts[side] for side in ("train", "validation", "test")}
