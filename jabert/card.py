"""The model card: what a version is, how good, on what evidence, how it was made and how it is loaded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import pandas as pd

from jabert.classifier import Trained
from jabert.config import Settings, redacted
from jabert.dataset import table_digest
from jabert.dataset.readers import format_of
from jabert.encoder import EncoderFolder
from jabert.evaluation import EvaluationReport
from jabert.features import Featurized
from jabert.markdown import code, escaped, table
from jabert.webpage import webpage

__all__ = ["CONFUSION_MATRIX", "Card", "Facts", "make_card"]

CONFUSION_MATRIX = "../report/confusion_matrix.png"
"""Address of the picture, from the folder of the card among the artifacts of its run."""

_LONGEST_DESCRIPTION = 5000  # characters: the column of MLflow's database
_LABELS = 20
_SPLITS = {
    "group": "Split by group: no group (article, thread, author) stands on two sides.",
    "sentence": "Split by sentence: texts of one origin (article, thread, author) may stand on both sides.",
    "given": "Sides as the data give them.",
}
_EXAMPLE = "紅葉の京都を一日歩いた。"


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    Attributes:
        version: of the registered model.
        run_id: of the run that judged it.
        date: of the card, ISO 8601.
        settings: of the run.
        source: of the texts, without a password.
        split_by: `given`, `sentence` or `group`.
        counts: of rows, as `Corpus` has them.
        table: the split table of texts.
        validation: what the suites found, as Markdown.
        encoder: its folder.
        lower_case: whether the texts were lower-cased.
        max_tokens: longest text, in token ids.
        features: what the featurization did.
        trained: the training.
        training_precision: `float32` or `bfloat16`.
        report: on the test rows.
        verdict: of the gate, as `Verdict.facts` gives it.
        environment: names and versions of what it was made with.
    """

    version: str
    run_id: str
    date: str
    settings: Settings
    source: str
    split_by: str
    counts: Mapping[str, int]
    table: pd.DataFrame
    validation: tuple[str, ...]
    encoder: EncoderFolder
    lower_case: bool
    max_tokens: int
    features: Featurized
    trained: Trained
    training_precision: str
    report: EvaluationReport
    verdict: Mapping[str, Any]
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of the registered model."""
        return self.settings.tracking.model_name

    @property
    def is_sample(self) -> bool:
        """Whether recipe or data are the sample that comes with jabert."""
        return "sample" in (self.settings.recipe, self.settings.data.path)

    @property
    def watched_test(self) -> bool:
        """Whether the test rows chose the epoch."""
        return self.settings.training.watch == "test"


class Section(NamedTuple):
    """A part of the card; the description of a version has room for the brief ones only."""

    heading: str
    body: str
    brief: bool = True

    def __str__(self) -> str:
        return f"## {self.heading}\n\n{self.body}"


@dataclass(frozen=True)
class Card:
    """A finished card."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    run_id: str

    def to_markdown(self) -> str:
        """The whole card; its picture is `CONFUSION_MATRIX`."""
        return "\n\n".join([f"# {escaped(self.title)}", self.lead, *map(str, self.sections)]) + "\n"

    def to_html(self, confusion_matrix: Path) -> str:
        """The whole card as one file, with the picture in it."""
        return webpage(self.to_markdown(), self.title, {CONFUSION_MATRIX: confusion_matrix})

    def to_description(self) -> str:
        """What of it MLflow takes as the description of a version: no picture, at most 5,000 characters."""
        rest = f"The whole card: `card/card.html` among the artifacts of run {self.run_id}."
        parts: list[str] = []
        for part in (self.lead, *(str(section) for section in self.sections if section.brief)):
            if len("\n\n".join([*parts, part, rest])) <= _LONGEST_DESCRIPTION:
                parts.append(part)
        return "\n\n".join([*parts, rest])


def make_card(facts: Facts) -> Card:
    """Write the card of a version that was judged."""
    tables = facts.report.tables()
    mistakes = tables.get("Most confident mistakes", "There is none.")
    picture = f"![Test rows by true and predicted class]({CONFUSION_MATRIX})"
    sections = (
        Section("Result", _result(facts, tables["Evaluation"])),
        Section("Classes", tables["Classes"]),
        Section("Gate", _gate(facts)),
        Section("Limits", _bullets(_limits(facts))),
        Section("How to load", _how_to_load(facts)),
        Section("Confusion matrix", picture, brief=False),
        Section(
            "Slices", tables.get("Slices", "No test row is short, truncated or has unknown pieces."), False
        ),
        Section("Most confident mistakes", mistakes, brief=False),
        Section("Data", _data(facts)),
        Section("Validation", "\n\n".join(facts.validation), brief=False),
        Section("Protocol", _bullets(_protocol(facts))),
        Section("Encoder", _encoder(facts)),
        Section("Environment", _pairs(_environment(facts)), brief=False),
    )
    return Card(f"{facts.name}, version {facts.version}", _lead(facts), sections, facts.run_id)


def _lead(facts: Facts) -> str:
    labels = facts.report.labels
    shown = ", ".join(labels[:_LABELS]) + (f" and {len(labels) - _LABELS:,} more" * (len(labels) > _LABELS))
    recipe = Path(facts.settings.recipe).stem
    parts = [
        f"Puts a Japanese text into one of {len(labels):,} classes: {escaped(shown)}. A Bi-LSTM on the token "
        f"vectors of a frozen BERT, trained {f'by recipe {escaped(recipe)} ' if recipe else ''}"
        f"on {facts.counts['train']:,} texts; {facts.date}, run {facts.run_id}."
    ]
    if facts.is_sample:
        parts.append("> **Sample: no figure here is a measure of quality.**")
    if facts.settings.note:
        parts.append(f"Note of the recipe: {escaped(facts.settings.note)}")
    return "\n\n".join(parts)


def _result(facts: Facts, overall: str) -> str:
    report = facts.report
    largest = max(report.per_class, key=lambda score: score.support)
    share = largest.support / report.rows
    answered = 2 * share**2 / (1 + share)  # F1 of the one class that is ever predicted, by its share
    chosen = "**The test rows chose the epoch, so these figures are too good.**"
    kept = "They had no part in training and chose nothing."
    return (
        f"Measured on {report.rows:,} test rows with the registered model itself, from text. "
        f"{chosen if facts.watched_test else kept} Answering {escaped(largest.label)} always would have "
        f"weighted F1 {answered:.3f}.\n\n{overall}"
    )


def _gate(facts: Facts) -> str:
    verdict = facts.verdict
    parts = [f"**{str(verdict['outcome']).capitalize()}**: {escaped(verdict['reason'])}."]
    if "gain" in verdict:
        compared = {
            "compared with": f"champion {verdict['champion']}, weighted F1 "
            f"{verdict['champion_weighted_f1']:.4f}",
            "on": f"the same {verdict['compared_rows']:,} test rows",
            "gain": f"{verdict['gain']:+.4f} (95 % interval {verdict['gain_low']:+.4f} to "
            f"{verdict['gain_high']:+.4f})",
            "changed sides": f"{verdict['became_right']:,} texts became right, "
            f"{verdict['became_wrong']:,} wrong",
        }
        parts.append(_pairs(compared))
    if warnings := verdict.get("warnings"):
        parts.append(_bullets(f"Warning: {escaped(warning)}." for warning in warnings))
    parts.append(
        "This is what was decided when the version was registered; `jabert models` says what holds now."
    )
    return "\n\n".join(parts)


def _limits(facts: Facts) -> Iterator[str]:
    report, compared = facts.report, facts.verdict["compared_rows"]
    yield "Every text gets one of the classes, also one that belongs to none of them."
    yield "The encoder is frozen: nothing of it was learned from these labels."
    yield (
        f"The interval says how much chance there is in these test rows (it resamples {report.resampled}), "
        "not in the split or the seed, and nothing of texts from elsewhere."
    )
    if facts.watched_test:
        yield "The test rows chose the epoch: the figures are too good, and the interval does not show it."
    if left_out := report.rows - compared:
        yield (
            f"Leak guard: {left_out:,} of {report.rows:,} test rows were left out of the comparison, "
            "because a version learned from them."
        )
    else:
        yield f"Leak guard: none of the {report.rows:,} test rows was learned from by a compared version."


def _how_to_load(facts: Facts) -> str:
    uri = f"models:/{facts.name}/{facts.version}"
    store = redacted(str(facts.settings.tracking.uri))
    python = (
        "import mlflow, pandas as pd\n\n"
        f"mlflow.set_tracking_uri({store!r})\n"
        f"model = mlflow.pyfunc.load_model({uri!r})\n"
        f'model.predict(pd.DataFrame({{"text": ["{_EXAMPLE}"]}}))  # label, score, probabilities'
    )
    shell = (
        f"$ MLFLOW_TRACKING_URI={quote(store)} mlflow models serve --env-manager local -m {quote(uri)}\n"
        f'$ jabert predict "{_EXAMPLE}"  # the champion of the moment'
    )
    return f"{code(python, 'python')}\n\n{code(shell, 'console')}"


def _data(facts: Facts) -> str:
    counts, rows = facts.counts, facts.table
    dropped = "dropped" if facts.settings.data.drop_duplicates else "kept"
    facts_of_data = {
        "source": facts.source,
        "digest": table_digest(rows),
        "rows read": f"{counts['rows_read']:,}",
        "nothing but a topic tag": f"{counts['tag_only']:,} rows dropped" if counts["tag_only"] else None,
        "exact duplicates": f"{counts['duplicates']:,} rows {dropped}",
        "texts under two labels": f"{counts['conflicting_texts']:,}, "
        f"their {counts['conflicting_rows']:,} rows {dropped}",
    }
    sides = [
        (
            side,
            counts[side],
            of["group"].nunique() if "group" in of else None,
            table_digest(of)[:16],
        )
        for side in ("train", "validation", "test")
        for of in [rows[rows["split"] == side]]
    ]
    classes = pd.crosstab(rows["label"], rows["split"]).reindex(
        columns=[side for side, *_ in sides], fill_value=0
    )
    counted = [(label, *map(int, of)) for label, of in zip(classes.index, classes.to_numpy(), strict=True)]
    return "\n\n".join(
        [
            _pairs(facts_of_data),
            table(["side", "rows", "groups", "digest"], sides),
            table(["class", *classes.columns], counted),
        ]
    )


def _protocol(facts: Facts) -> Iterator[str]:
    data, training, classifier = facts.settings.data, facts.settings.training, facts.settings.classifier
    yield _SPLITS[facts.split_by]
    if facts.split_by != "given":
        test = f"{data.test_rows} rows" if data.test_rows else f"a share of {data.test_share}"
        yield f"Test rows: {test}; validation: {data.validation_share} of the rest; seed {data.seed}."
    yield (
        f"The {training.watch} rows chose the epoch, by {training.monitor}: epoch "
        f"{facts.trained.best['epoch']:.0f} of {len(facts.trained.history):,}."
    )
    if format_of(data) == "knbc" and data.strip_topic_tag:
        yield "KNBC's topic tags were removed from the texts."
    elif format_of(data) == "knbc":
        yield "**KNBC's topic tags were kept: each article's first sentence names its class.**"
    yield (
        f"Bi-LSTM of {classifier.units} units in each direction, dropout {classifier.dropout}, batches of "
        f"{training.batch_size}, averaging {training.averaging}, seed {training.seed}."
    )
    yield "`config.toml` among the artifacts of the run is a recipe that repeats it."


def _encoder(facts: Facts) -> str:
    folder, config = facts.encoder, facts.encoder.config
    return _pairs(
        {
            "name": folder.path.name,
            "fingerprint": folder.fingerprint,
            "licence": folder.settings.get("licence", "not stated: it has no encoder.toml that says it"),
            "origin": folder.settings.get("origin", "not stated"),
            "size": f"{config.num_hidden_layers} layers of {config.hidden_size} columns, "
            f"{config.vocab_size:,} pieces",
            "case": "lower-cased" if facts.lower_case else "kept",
            "longest text": f"{facts.max_tokens} tokens, the rest is cut off",
        }
    )


def _environment(facts: Facts) -> dict[str, str]:
    features = facts.features
    return {
        "token vectors": f"engine {features.engine}, {features.precision}, stored as "
        f"{facts.settings.features.dtype}",
        "LSTM": facts.training_precision,
        **facts.environment,
    }


def _pairs(values: Mapping[str, Any]) -> str:
    pairs = [(name, value) for name, value in values.items() if value is not None]
    return table(["", ""], pairs, longest=None)


def _bullets(sentences: Any) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
