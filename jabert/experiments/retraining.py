"""Retraining: an experiment measured on test rows, then a new version, the gate, and the model card."""

import json
import logging
import re
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from jabert import registry
from jabert.config import (
    MethodSettings,
    Settings,
    load_settings,
    local_database,
    method_kinds,
    names_method,
    names_setting,
)
from jabert.dataset import class_shares, table_digest
from jabert.evaluation import Baseline, Calibration, advice, baselines_of, measure_baseline
from jabert.experiments import steps
from jabert.experiments.explaining import explain_mistakes
from jabert.experiments.keys import attempt_key, attempt_key_0_1, kept_of
from jabert.experiments.packaging import SUMS, build_package, is_whole, log_package
from jabert.experiments.recording import (
    record_card,
    record_comparison,
    record_report,
    record_verdict,
    validation_page,
)
from jabert.experiments.steps import Data, Evaluated, Fit, Tokens
from jabert.experiments.store import prune
from jabert.features import Featurized
from jabert.files import set_aside, write_json
from jabert.methods import encoder_of, method_of
from jabert.registry import Gate, Verdict
from jabert.report.card import Card, Facts, make_card
from jabert.tracking import Attempt, Run, find_run, provenance, versions_judged, with_local_encoder
from jabert.validation import ValidationReport

log = logging.getLogger("jabert")

_MODEL_URI = re.compile(r"models:/[\w-]+")
_BASELINES = ("tfidf", "majority")


@dataclass(frozen=True)
class Results:
    """What the steps of a retraining returned; None where the method needs no such step."""

    validated: ValidationReport
    tokens: Tokens | None
    pieces: ValidationReport | None
    features: Featurized | None
    fit: Fit
    evaluated: Evaluated
    baselines: list[Baseline]
    verdict: Verdict


@dataclass(frozen=True)
class Retrained:
    """The result of a retraining.

    Attributes:
        run_id: MLflow's, of the run in which the version was judged.
        model_version: the version that was registered.
        weighted_f1: of the version on the test rows.
        champion_weighted_f1: of the champion before, on the same rows; None if there was none.
        baselines: `weighted_f1` of simple methods on the same rows, by kind, and `gain` of the version over
            them with `gain_low` and `gain_high`, the ends of its 95 % interval.
        promoted: whether this run made the version the champion.
        outcome: the gate's word for it, or `unchanged`: an earlier run judged the same.
        reason: a sentence.
        evidence: sentences: whether the gain is more than chance, and how many versions were judged on the
            same test rows before; none where unchanged.
        warnings: sentences.
        rows: of each split.
        features: vectors `computed` and `reused`, in texts; 0 where unchanged, or without vectors.
        stages: seconds of each stage; empty where unchanged.
        config_digest, data_digest: of the settings that decide the result, and of the table.
    """

    run_id: str
    model_version: str
    weighted_f1: float
    champion_weighted_f1: float | None
    baselines: dict[str, dict[str, float]]
    promoted: bool
    outcome: str
    reason: str
    warnings: list[str]
    rows: dict[str, int]
    features: dict[str, int]
    stages: dict[str, float]
    config_digest: str
    data_digest: str
    evidence: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def load(recipe: str, overrides: list[str]) -> Settings:
    """The settings of a retraining; what of `as_champion` neither argument chooses is that of the champion.

    Args:
        recipe, overrides: as for `load_settings`; an empty recipe is none.

    Raises:
        JabertError: those of `load_settings`, or the MLflow store cannot be reached.
    """
    return load_settings(recipe, [*overrides, *as_champion(recipe, overrides)])


def as_champion(recipe: str, overrides: list[str]) -> list[str]:
    """Overrides for what a retraining has of the champion: its method, and version 1 of the splits.

    So a scheduled retraining keeps its method when a release has another default, and is measured on rows
    that the champion did not learn from; from most test rows of another version of the splits it did.

    Args:
        recipe, overrides: as for `load`; what they choose themselves is left to them.

    Raises:
        JabertError: as `load`.
    """
    settings = load_settings(recipe, overrides)
    database = local_database(str(settings.tracking.uri))
    open_method = not names_method(recipe, overrides)
    open_split = not names_setting("data.split_version", recipe, overrides)
    if not (open_method or open_split) or (database and not database.exists()):
        return []
    registered = registry.open_registry(settings)
    champion = registered.champion()
    if champion is None:
        return []
    params, found = registered.run(champion).data.params, []
    kind = params.get("method.kind", MethodSettings().kind)  # 0.1 had one kind
    if open_method and kind in method_kinds() and kind != settings.method.kind:
        log.warning(
            "method.kind is %r, as of the champion, version %s; name another to change it", kind, champion
        )
        found.append(f"method.kind={kind}")
    if open_split and params.get("data.split_version", "1") == "1":
        log.warning(
            "data.split_version is 1, as of the champion, version %s, which learned from most rows that "
            "would be test rows in 2; change tracking.model_name with it",
            champion,
        )
        found.append("data.split_version=1")
    return found


def find_judged(settings: Settings) -> Retrained | None:
    """The result of a retraining on the same settings, data and encoder that was judged before.

    Neither TensorFlow nor Great Expectations is loaded for it, which would take long.

    Returns:
        With the outcome `unchanged`; None if there is something new.
    """
    settings = with_local_encoder(settings)
    data = steps.read(settings)
    keys = _keys(settings, data)
    wanted = [{"attempt": key, "model_name": settings.tracking.model_name} for key in keys if key]
    found = next(filter(None, (find_run(settings.tracking, tags) for tags in wanted)), None)
    if found is None:
        return None
    tags, metrics = found.data.tags, found.data.metrics
    return Retrained(
        run_id=found.info.run_id,
        model_version=tags["version"],
        weighted_f1=metrics["test/weighted_f1"],
        champion_weighted_f1=metrics.get("test/champion_weighted_f1"),
        baselines={each.kind: each.to_dict() for each in baselines_of(metrics, _BASELINES)},
        promoted=False,
        outcome="unchanged",
        reason=f"nothing new: run {found.info.run_id} judged the same data, encoder and settings "
        f"({tags['promotion']}: {tags['reason']})",
        warnings=[],
        rows=_rows(data),
        features={"computed": 0, "reused": 0},
        stages={},
        config_digest=settings.digest(),
        data_digest=data.digest,
    )


def begin(settings: Settings, data: Data, run: Run) -> Attempt:
    """The folder of this retraining, or what jabert 0.1 left of the same under another name."""
    (key, key_0_1), work = _keys(settings, data), Path(settings.training.work_path)
    run.tags({"attempt": key})
    attempt = Attempt(work / key)
    if key_0_1 and (work / key_0_1).is_dir() and not attempt.path.exists():
        (work / key_0_1).rename(attempt.path)
    return attempt


def _keys(settings: Settings, data: Data) -> tuple[str, str | None]:
    """Of the retraining, today's and that of jabert 0.1."""
    encoder = encoder_of(settings)
    parts = settings, data.digest, encoder, kept_of(data.table["text"], settings, encoder)
    return attempt_key(*parts), attempt_key_0_1(*parts)


def resume(attempt: Attempt, run: Run) -> None:
    """Link this run with an earlier one of the same attempt that did not finish, and end that one truly."""
    before = attempt.resume(run.id)
    if before is not None:
        run.tags({"resumes": before})
        run.end_killed(before)
        log.info("going on from run %s, which did not finish", before)


def package(fit: Fit, calibration: Calibration, attempt: Attempt) -> Path:
    """The folder of the model package, made if this attempt has none yet."""
    folder = attempt.path / "package-3"  # what 0.1 left in `package` has another format; 2 is not calibrated
    if (folder / SUMS).exists() and not is_whole(folder):
        set_aside(folder, f"{folder} is damaged")
    if not (folder / SUMS).exists():  # it is written last
        build_package(fit.job, folder, calibration)
    return folder


def measure_baselines(settings: Settings, data: Data, evaluated: Evaluated) -> list[Baseline]:
    """Simple methods on the same rows as the model; none if `experiment.baselines` is off."""
    kinds = [kind for kind in _BASELINES if kind != settings.method.kind]
    found = [
        measure_baseline(
            kind,
            evaluated.rows,
            data.labels,
            steps.baseline(settings, data, kind, evaluated.measured_on),
            evaluated.answers,
            seed=settings.data.seed,
        )
        for kind in (kinds if settings.experiment.baselines else [])
    ]
    if advised := advice(found, evaluated.report.weighted_f1):
        log.warning(advised)
    return found


def register(
    settings: Settings, data: Data, fit: Fit, calibration: Calibration, *, attempt: Attempt, run: Run
) -> str:
    """A version of the model, for the gate to judge; one that a killed run registered is found again."""
    registered = registry.open_registry(settings)
    note = attempt.path / "logged.json"
    uri = _logged(note)
    if not (uri and run.has_model(uri)):
        learned_from = registry.write_training_digests(
            data.table, data.split_by, attempt.path / "learned_from.json"
        )
        uri = log_package(package(fit, calibration, attempt), learned_from, run)
        write_json(note, uri)
    version = registered.register(uri)
    registered.tag(version, {"judged_in": run.id})
    run.tags({"version": version})
    return version


def _logged(note: Path) -> str:
    """The URI of the model that a killed run logged, "" if none did."""
    if not note.exists():
        return ""
    try:
        uri = json.loads(note.read_text(encoding="utf-8"))
        if not _MODEL_URI.fullmatch(uri):
            raise ValueError
    except (OSError, ValueError, TypeError, RecursionError):
        set_aside(note, f"{note} is damaged")
        return ""
    return str(uri)


def withdraw(settings: Settings, version: str) -> None:
    """Note that the gate failed before it came to a verdict; a later run may still judge the version.

    A verdict that stands already stays, whatever failed after it.
    """
    registered = registry.open_registry(settings)
    if Verdict.from_tags(version, registered.get(version).tags) is None:
        registered.tag(version, {"promotion": "not judged", "reason": "the gate failed"})


def promote(settings: Settings, data: Data, run: Run, version: str) -> Verdict:
    """Let the champion change if the version is better on the same rows; or find what was decided before."""
    registered = registry.open_registry(settings)
    rows = data.table[data.table["split"] == "test"]
    gate = Gate(
        registered,
        rows,
        settings.promotion,
        record=lambda verdict: record_comparison(verdict, run),
        shares=class_shares(data.table),
        seed=settings.data.seed,
        judged_before=judged_before(rows, settings, run, version),
    )
    verdict = gate.judge_once(version)
    record_verdict(verdict, settings.note, registered.history(), run)
    for warning in verdict.warnings:
        log.warning(warning)
    return verdict


def judged_before(rows: pd.DataFrame, settings: Settings, run: Run, version: str) -> int:
    """How many other versions of the model were judged on these test rows, by runs that are still there."""
    name = settings.tracking.model_name
    return len(versions_judged(run.client, run.experiment_id, name, table_digest(rows)) - {version})


def _validation_pages(results: Results) -> dict[str, str]:
    found = {"texts": results.validated, "pieces": results.pieces}
    return {report.suite: validation_page(report, name) for name, report in found.items() if report}


def describe(settings: Settings, data: Data, run: Run, results: Results, attempt: Attempt) -> Card:
    """Write report and model card into the run, and the card's short form as the version's description."""
    method, encoder, tokens = method_of(settings), encoder_of(settings), results.tokens
    facts = Facts(
        version=results.verdict.version,
        run_id=run.id,
        date=date.today().isoformat(),
        settings=settings,
        source=data.source,
        split_by=data.split_by,
        counts=data.counts,
        table=data.table,
        learned_from=results.fit.learned_from,
        test_chose=method.chooses and settings.training.watch == "test",
        validation=[part.to_markdown() for part in (results.validated, tokens, results.pieces) if part],
        validation_pages=_validation_pages(results),
        encoder=encoder,
        lower_case=tokens.lower_case if tokens else None,
        max_tokens=tokens.max_tokens if tokens else None,
        features=results.features,
        method=method.describe(results.fit.job, results.fit.fitted),
        report=results.evaluated.report,
        baselines=results.baselines,
        verdict=results.verdict.facts(),
        environment=provenance(),
    )
    card = make_card(facts)
    record_card(card, results.evaluated, run)
    told = [*_told(data, results), *results.verdict.warnings]
    fit, evaluated = results.fit, results.evaluated
    packaged = package(fit, evaluated.report.calibration, attempt)
    explained = explain_mistakes(settings, data, tokens, fit, evaluated, package=packaged)
    record_report(facts, evaluated, fit, results.verdict, told, explained=explained, run=run)
    registry.open_registry(settings).describe(results.verdict.version, card.to_description())
    return card


def finish(settings: Settings, attempt: Attempt) -> None:
    """Remove what only this retraining needed, and results that no run has used for long."""
    attempt.remove()
    prune(Path(settings.training.work_path))


def summary(settings: Settings, data: Data, run: Run, results: Results) -> Retrained:
    """The result of a retraining that has just ended."""
    verdict, features = results.verdict, results.features
    advised = advice(results.baselines, results.evaluated.report.weighted_f1)
    return Retrained(
        run_id=run.id,
        model_version=verdict.version,
        weighted_f1=results.evaluated.report.weighted_f1,
        champion_weighted_f1=verdict.champion_weighted_f1,
        baselines={each.kind: each.to_dict() for each in results.baselines},
        promoted=verdict.promoted,
        outcome=verdict.outcome,
        reason=verdict.reason,
        warnings=[*_told(data, results), *verdict.warnings, *filter(None, [advised])],
        rows=_rows(data),
        features={
            "computed": features.computed if features else 0,
            "reused": features.reused if features else 0,
        },
        stages=dict(run.seconds),
        config_digest=settings.digest(),
        data_digest=data.digest,
        evidence=verdict.evidence,
    )


def _told(data: Data, results: Results) -> list[str]:
    """Sentences on the data, in the order of the steps."""
    tokens = results.tokens
    of_tokens = [*tokens.warnings(), *data.indistinct(tokens)] if tokens else []
    checked = [report.warnings() for report in (results.validated, results.pieces) if report]
    return [*data.notes, *chain(*checked), *of_tokens]


def _rows(data: Data) -> dict[str, int]:
    return {split: data.counts[split] for split in ("train", "validation", "test")}
