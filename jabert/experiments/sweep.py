"""A sweep: trials of a method's settings, which Optuna proposes, on rows that are not test rows.

The trials lie in a database. A trial that a killed run left is measured again with the same values, and its
fit goes on at the epoch; what is proposed depends on the seed, the trial's number and the trials before, so
a sweep in one process that was killed comes to what it would have come to.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jabert.config import (
    LONG_TEXTS,
    SQLITE,
    Settings,
    SweepSettings,
    decisive,
    is_url,
    revealed,
    with_values,
)
from jabert.errors import JabertError, reason_of
from jabert.evaluation import OnTestRows, Sweep, Tried, weighted_f1
from jabert.evaluation.sweep import Scale, State, interval_of
from jabert.experiments import retraining, steps
from jabert.experiments.folds import fold_tables
from jabert.experiments.measuring import fitted, measure
from jabert.experiments.recording import record_epoch
from jabert.experiments.space import space_of
from jabert.experiments.steps import Data, Split
from jabert.experiments.store import key_of
from jabert.files import exclusive, on_disk
from jabert.methods import Epoch, encoder_of, method_of
from jabert.tracking import Run, get_or_none, tracked_run

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.storages import RDBStorage

BEST = "best.toml"
"""Where the recipe of the best trial is written without another wish."""

_SWEEP = 1  # raised when the same values come to another figure than before
_SCORE = "val_weighted_f1"
_RUN, _ERROR = "run_id", "error"  # what is noted of a trial
_PATIENT_TRIALS = 5  # that no pruner ends, for there is little to compare with
_SECONDS_FOR_THE_LOCK = 60


class PrunedError(JabertError):
    """A trial is not worth to be gone on with; what it has learned stays, for a later one with its values."""


@dataclass(frozen=True)
class Plan:
    """What is to be chosen, and on which rows.

    Attributes:
        settings: of all trials, but for what is chosen.
        sweep: how it is chosen.
        data: all rows.
        tables: the split tables on which a trial is measured: that of the data, or one for each inner fold.
        space: values of each setting to choose, by dotted name.
    """

    settings: Settings
    sweep: SweepSettings
    data: Data
    tables: tuple[Data, ...]
    space: "Mapping[str, BaseDistribution]"

    @property
    def measured_on(self) -> Split:
        """The split of `tables` that choose; the test rows of inner folds are none of the data's."""
        return "test" if self.sweep.folds else "validation"

    @property
    def study(self) -> str:
        """Name of the study: whatever decides the figure of a trial has a part in it."""
        encoder = encoder_of(self.settings)
        groups = ["method", "training", "encoder", "features", *LONG_TEXTS]
        own = decisive(self.settings, groups, without=self.space)
        chosen = {name: repr(of) for name, of in sorted(self.space.items())}
        rows, choosing = self.data.rows_digest, [self.sweep.folds, self.sweep.seed]
        return f"sweep-{key_of(_SWEEP, rows, encoder and encoder.fingerprint, own, chosen, choosing)}"

    @property
    def protocol(self) -> str:
        """A sentence on the rows that choose."""
        if self.sweep.folds:
            return f"chosen on {self.sweep.folds} inner folds of all but the test rows"
        return f"chosen on {self.data.counts['validation']:,} validation rows"

    def recipe(self, values: Mapping[str, Any]) -> Settings:
        """The settings with values of those to choose."""
        return with_values(self.settings, values)


@dataclass(frozen=True)
class Trial:
    """One choice of settings to be measured.

    Attributes:
        plan: of the sweep.
        number: from 0.
        id: in the database.
        values: that were chosen, by dotted name.
    """

    plan: Plan
    number: int
    id: int
    values: Mapping[str, Any]

    @property
    def settings(self) -> Settings:
        """Of the plan; stages look for them."""
        return self.plan.settings

    @property
    def name(self) -> str:
        """Of its run and task."""
        return f"trial {self.number}"


def load(recipe: str, overrides: list[str]) -> Settings:
    """The settings of a sweep, with the splits that a retraining would have; what is to be chosen is checked.

    Raises:
        JabertError: those of `retraining.load`, and of `space_of`.
    """
    settings = retraining.load(recipe, overrides)
    space_of(settings)
    return settings


def make_plan(settings: Settings, data: Data) -> Plan:
    """What is to be chosen, and on which rows.

    Raises:
        JabertError: those of `space_of` and `fold_tables`, or there are no rows to choose on.
    """
    space, sweep = space_of(settings), settings.sweep
    if not sweep.folds and not data.counts["validation"]:
        raise JabertError(
            "there are no validation rows to choose on; data.validation_share = 0.1 makes some, and "
            "sweep.folds = 5 chooses on folds of all but the test rows"
        )
    data = replace(data)  # a copy without the table, which other processes read for themselves
    tables = [data]
    if sweep.folds:
        tables = fold_tables(settings, replace(data), sweep.seed, without_test=True, of="sweep")
    own = with_values(settings, {"training.watch": "validation"})  # the test rows choose nothing
    own = own.model_copy(update={"sweep": SweepSettings()})  # a recipe that leaves nothing to choose
    return Plan(own, sweep, data, tuple(map(replace, tables)), space)


@contextmanager
def open_study(plan: Plan) -> "Iterator[Study]":
    """The study of a plan, new or as an earlier run left it; another process that wants it waits.

    Raises:
        JabertError: the database cannot be opened.
    """
    lock = Path(plan.settings.training.work_path) / f"{plan.study}.lock"
    with exclusive(lock, "another process is at the same sweep; waiting for it"):
        yield _study(plan)


def _study(plan: Plan) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    return optuna.create_study(
        storage=_storage(plan),
        study_name=plan.study,
        pruner=_pruner(plan),
        direction="maximize",
        load_if_exists=True,
    )


def _storage(plan: Plan) -> "RDBStorage":
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    place = plan.sweep.storage or str(Path(plan.settings.training.work_path) / "sweep.db")
    options: dict[str, Any] = {}
    if not is_url(place):
        with on_disk(Path(place)):
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        options = {"connect_args": {"timeout": _SECONDS_FOR_THE_LOCK}}
    try:
        return RDBStorage(revealed(place) if is_url(place) else f"{SQLITE}{place}", engine_kwargs=options)
    except ImportError:
        raise JabertError(f"sweep.storage {place}: pip install 'jabert[postgresql]'") from None
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise JabertError(
            f"sweep.storage {place} cannot be opened ({reason_of(error)}); another can be named"
        ) from error


def _pruner(plan: Plan) -> "BasePruner":
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if plan.sweep.pruner == "off":
        return NopPruner()
    if plan.sweep.pruner == "median":
        return MedianPruner(n_startup_trials=_PATIENT_TRIALS)
    epochs = plan.space.get("training.epochs")
    most = plan.sweep.folds or getattr(epochs, "high", plan.settings.training.epochs)
    return HyperbandPruner(max_resource=most)


def trials_of(plan: Plan, study: "Study") -> Iterator[Trial]:
    """What is to be measured: first what a killed run left, then new trials, each proposed at its turn.

    Trials that failed do not count, so another call tries as many others.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    known = study.get_trials(deepcopy=False)
    begun = [trial for trial in known if trial.state == TrialState.RUNNING]
    whole = [trial for trial in begun if trial.params.keys() == plan.space.keys()]
    for trial in begun:
        if trial not in whole:  # killed while it was proposed
            study.tell(trial.number, state=TrialState.FAIL)
    for trial in whole:
        yield Trial(plan, trial.number, trial._trial_id, trial.params)
    ended = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in known)
    for _ in range(plan.sweep.trials - ended - len(whole)):
        study.sampler = TPESampler(seed=plan.sweep.seed + len(study.get_trials(deepcopy=False)))
        asked = study.ask(dict(plan.space))
        yield Trial(plan, asked.number, asked._trial_id, asked.params)


def measure_trial(trial: Trial, parent: str) -> float | None:
    """Mean weighted F1 on the rows that choose, recorded as an MLflow run; None if the trial was pruned.

    Args:
        trial: what to measure.
        parent: id of the run of the sweep.
    """
    import optuna

    plan, noted = trial.plan, optuna.trial.Trial(_study(trial.plan), trial.id)
    settings = plan.recipe(trial.values)
    tags = {
        "mlflow.parentRunId": parent,
        "mlflow.runName": trial.name,
        "sweep.trial": trial.number,
        "data_digest": plan.data.digest,
    }
    with tracked_run(settings, tags) as run:
        noted.set_user_attr(_RUN, run.id)
        try:
            score = _Judged(trial, settings, noted, run).score()
        except PrunedError:
            run.tags({"sweep.state": "pruned"})
            return None
        run.metrics({"validation/weighted_f1": score})
        run.tags({"sweep.state": "complete"})
        return score


class _Judged:
    """The measuring of a trial, with a pruner that looks on."""

    def __init__(self, trial: Trial, settings: Settings, noted: Any, run: Run) -> None:
        self._plan, self._settings, self._noted, self._run = trial.plan, settings, noted, run
        self._told = set(noted.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def score(self) -> float:
        """Mean weighted F1 over the tables."""
        scores: list[float] = []
        several = len(self._plan.tables) > 1
        for number, table in enumerate(self._plan.tables, 1):
            scores.append(self._score_on(replace(table), watches_epochs=not several))
            if several and number < len(self._plan.tables):
                self._tell(number, sum(scores) / number)
        return sum(scores) / len(scores)

    def _score_on(self, data: Data, *, watches_epochs: bool) -> float:
        settings, split = self._settings, self._plan.measured_on
        on_epoch = self._on_epoch if watches_epochs else lambda _: None
        tokens, fit = fitted(settings, data, split, on_epoch)
        rows = steps.rows_of(settings, data, tokens, [split])
        predicted = method_of(settings).predict(fit.job, rows).argmax(axis=1)
        return weighted_f1(rows.classes, predicted, len(data.labels))

    def _on_epoch(self, epoch: Epoch) -> None:
        record_epoch(epoch, self._settings, self._run)
        if _SCORE in epoch:
            self._tell(int(epoch["epoch"]), epoch[_SCORE])

    def _tell(self, step: int, score: float) -> None:
        """Report a figure on the way, and ask whether it is worth to go on."""
        if step not in self._told:
            self._noted.report(score, step)
        if self._noted.should_prune():
            raise PrunedError(f"pruned after {step}")


def tell(study: "Study", trial: Trial, result: float | Exception | None) -> None:
    """Note how a trial ended: its figure, None if it was pruned, or an error."""
    import optuna
    from optuna.trial import TrialState

    if isinstance(result, Exception):
        sentence = str(result) or type(result).__name__
        optuna.trial.Trial(study, trial.id).set_user_attr(_ERROR, sentence)
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    elif result is None:
        study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
    else:
        study.tell(trial.number, result, skip_if_finished=True)


def adopt(study: "Study", run: Run) -> None:
    """Make the runs of trials that earlier runs of the sweep measured children of this one."""
    for trial in study.get_trials(deepcopy=False):
        own = trial.user_attrs.get(_RUN)
        if own is not None and get_or_none(partial(run.client.get_run, own)) is not None:
            run.client.set_tag(own, "mlflow.parentRunId", run.id)


def tried(study: "Study") -> list[Tried]:
    """All trials that have ended, by their numbers."""
    from optuna.trial import TrialState

    names: dict[TrialState, State] = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    return [
        Tried(
            trial.number,
            names[trial.state],
            trial.params,
            trial.value if trial.state == TrialState.COMPLETE else None,
            trial.user_attrs.get(_RUN),
            trial.user_attrs.get(_ERROR),
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state in names
    ]


def collect(plan: Plan, study: "Study") -> Sweep:
    """The sweep so far, without the figure of its best recipe on test rows.

    Raises:
        JabertError: no trial was completed.
    """
    found = Sweep(tuple(tried(study)), _scales(plan), _importance(study), plan.protocol, None)
    if not found.complete:
        errors = [f"trial {trial.number} failed: {trial.error}" for trial in found.trials if trial.error]
        pruned = "all were pruned; with sweep.pruner = 'off' none is"
        raise JabertError(f"no trial was completed; {errors[-1] if errors else pruned}")
    return found


def _scales(plan: Plan) -> dict[str, Scale]:
    of = {True: "log", False: "linear", None: "choose"}
    return {name: of[getattr(values, "log", None)] for name, values in plan.space.items()}  # type: ignore[misc]


def _importance(study: "Study") -> dict[str, float]:
    """Of each setting (PED-ANOVA), the greatest first; empty where too few trials differ."""
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _PATIENT_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    return get_param_importances(study)


def test_once(plan: Plan, values: Mapping[str, Any], parent: str) -> OnTestRows | None:
    """How good a recipe is on the test rows, recorded as an MLflow run; None without test rows.

    Args:
        plan: of the sweep.
        values: of the best trial.
        parent: id of the run of the sweep.
    """
    if not plan.data.counts["test"]:
        return None
    settings, data = plan.recipe(values), replace(plan.data)
    tags = {"mlflow.parentRunId": parent, "mlflow.runName": "best recipe on test rows"}
    with tracked_run(settings, {**tags, "data_digest": data.digest}) as run:
        found = measure(settings, data)
        scores = {name: getattr(found, name) for name in ("weighted_f1", "macro_f1", "accuracy")}
        run.metrics({f"test/{name}": value for name, value in scores.items()})
    rows = data.table[data.table["split"] == "test"]
    true = pd.Index(data.labels).get_indexer(pd.Index(rows["label"]))
    return OnTestRows(
        found.rows, **scores, interval=interval_of(rows, true, found.predicted, len(data.labels))
    )
