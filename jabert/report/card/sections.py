"""The parts of a model card, each as Markdown that no text of the facts can break."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd

from jabert.config import TrackingSettings
from jabert.dataset import table_digest
from jabert.dataset.readers import format_of
from jabert.errors import redacted
from jabert.markdown import code, escaped, table
from jabert.report.card.facts import Facts

__all__ = ["data", "encoder", "environment", "gate", "how_to_load", "lead", "limits", "protocol", "result"]

_SIDES = ("train", "validation", "test")
_SHOWN_LABELS = 20
_SPLITS = {
    "group": "Split by group: no group (article, thread, author) stands on two sides.",
    "sentence": "Split by sentence: texts of one origin (article, thread, author) may stand on both sides.",
    "given": "Sides as the data give them.",
}
_EXAMPLE = "紅葉の京都を一日歩いた。"


def lead(facts: Facts) -> str:
    """Purpose and origin in a few sentences."""
    labels, settings = facts.report.labels, facts.settings
    more = f" and {len(labels) - _SHOWN_LABELS:,} more" if len(labels) > _SHOWN_LABELS else ""
    recipe = f"by recipe {escaped(Path(settings.recipe).stem)} " if settings.recipe else ""
    parts = [
        f"Puts a Japanese text into one of {len(labels):,} classes: "
        f"{escaped(', '.join(labels[:_SHOWN_LABELS]))}{more}. {facts.method.summary}, trained {recipe}on "
        f"{sum(facts.counts[split] for split in facts.learned_from):,} texts; {facts.date}, "
        f"run {facts.run_id}."
    ]
    if "sample" in (settings.recipe, settings.data.path):
        parts.append("> **Sample: no figure here is a measure of quality.**")
    if settings.note:
        parts.append(f"Note of the recipe: {escaped(settings.note)}")
    return "\n\n".join(parts)


def result(facts: Facts, scores: str) -> str:
    """The scores, a table, with what they were measured on and what no model at all would have."""
    report = facts.report
    largest = max(report.per_class, key=lambda score: score.support)
    share = largest.support / report.rows
    always = 2 * share**2 / (1 + share)  # weighted F1 of the one class that is ever predicted
    chosen = "**They chose the epoch, so these figures are too good.**"
    kept = "They had no part in training and chose nothing."
    return (
        f"Measured on {report.rows:,} test rows with the registered model itself, from text. "
        f"{chosen if facts.test_chose else kept} Always answering "
        f"{escaped(largest.label)} would have weighted F1 {always:.3f}.\n\n{scores}"
    )


def gate(facts: Facts) -> str:
    """What was decided about the version, and on what evidence."""
    verdict = facts.verdict
    parts = [f"**{verdict['outcome'].capitalize()}**: {escaped(verdict['reason'])}."]
    if "gain" in verdict:
        gain, low, high = (verdict[name] for name in ("gain", "gain_low", "gain_high"))
        right, wrong = verdict["became_right"], verdict["became_wrong"]
        compared = {
            "compared with": f"champion {verdict['champion']}",
            "on": f"the same {verdict['compared_rows']:,} test rows",
            "weighted F1": f"{verdict['weighted_f1']:.4f} against {verdict['champion_weighted_f1']:.4f}",
            "gain": f"{gain:+.4f} (95 % interval {low:+.4f} to {high:+.4f})",
            "changed sides": f"{right:,} texts became right, {wrong:,} wrong",
        }
        parts.append(_pairs(compared))
    if warnings := verdict.get("warnings"):
        parts.append(_bullets(f"Warning: {escaped(warning)}." for warning in warnings))
    parts.append("This was decided when the version was registered; `jabert models` says what holds now.")
    return "\n\n".join(parts)


def limits(facts: Facts) -> str:
    """What the figures do not say."""
    report = facts.report
    sentences = [
        "Every text gets one of the classes, also one that belongs to none of them.",
        *facts.method.limits,
        f"The interval covers the chance in these test rows (it resamples {report.resampled}), not that of "
        "the split or the seed, and nothing of texts from elsewhere.",
    ]
    if facts.test_chose:
        sentences.append("The test rows chose the epoch; the interval does not show how much that flatters.")
    left_out = report.rows - facts.verdict["compared_rows"]
    found = f"{left_out:,} that a version learned from were left out" if left_out else "none was left out"
    sentences.append(
        f"Leak guard: {report.rows - left_out:,} of {report.rows:,} test rows compared, {found}."
    )
    return _bullets(sentences)


def how_to_load(facts: Facts) -> str:
    """Code that can be copied."""
    name, store = facts.settings.tracking.model_name, redacted(str(facts.settings.tracking.uri))
    uri = f"models:/{name}/{facts.version}"
    option = "" if name == TrackingSettings().model_name else f" --set tracking.model_name={quote(name)}"
    python = (
        "import mlflow, pandas as pd\n\n"
        f"mlflow.set_tracking_uri({store!r})\n"
        f"model = mlflow.pyfunc.load_model({uri!r})\n"
        "# a row a text, with the columns label, score and probabilities\n"
        f'model.predict(pd.DataFrame({{"text": ["{_EXAMPLE}"]}}))'
    )
    shell = (
        f"$ export MLFLOW_TRACKING_URI={quote(store)}\n"
        f"$ mlflow models serve --env-manager local -m {quote(uri)}\n"
        f'$ jabert predict "{_EXAMPLE}"{option}  # by the champion of the moment'
    )
    return f"{code(python, 'python')}\n\n{code(shell, 'console')}"


def data(facts: Facts) -> str:
    """Where the texts come from, what was dropped, how they are divided."""
    counts, rows = facts.counts, facts.table
    fate = "dropped" if facts.settings.data.drop_duplicates else "kept"
    sides = {side: rows[rows["split"] == side] for side in _SIDES}
    classes = pd.crosstab(rows["label"], rows["split"]).reindex(columns=_SIDES, fill_value=0)
    origin = {
        "source": facts.source,
        "digest": table_digest(rows),
        "rows read": f"{counts['rows_read']:,}",
        "nothing but a topic tag": f"{counts['tag_only']:,} rows dropped" if counts["tag_only"] else None,
        "exact duplicates": f"{counts['duplicates']:,} rows {fate}",
        "under two labels": f"{counts['conflicting_rows']:,} rows of {counts['conflicting_texts']:,} texts "
        f"{fate}",
    }
    divided = [
        (side, f"{len(of):,}", of["group"].nunique() if "group" in of else None, table_digest(of)[:16])
        for side, of in sides.items()
    ]
    tables = [
        _pairs(origin),
        table(["side", "rows", "groups", "digest"], divided),
        table(["class", *_SIDES], [(label, *map("{:,}".format, of)) for label, *of in classes.itertuples()]),
    ]
    return "\n\n".join(tables)


def protocol(facts: Facts) -> str:
    """How the figures came about."""
    data = facts.settings.data
    sentences = [_SPLITS[facts.split_by]]
    if facts.split_by != "given":
        test = f"{data.test_rows} test rows" if data.test_rows else f"test share {data.test_share}"
        sentences.append(
            f"Drawn by seed {data.seed}: {test}, of the rest validation {data.validation_share}."
        )
    if format_of(data) == "knbc":
        kept = "kept: **each article's first sentence names its class**"
        sentences.append(f"KNBC's topic tags were {'removed' if data.strip_topic_tag else kept}.")
    sentences += [
        *facts.method.protocol,
        "`config.toml` among the artifacts of the run is a recipe that repeats it.",
    ]
    return _bullets(sentences)


def encoder(facts: Facts) -> str:
    """Which BERT, whose, and how it was fed; a sentence for a method without one."""
    folder = facts.encoder
    if folder is None:
        return "None: this method reads the characters of a text."
    config = folder.config
    return _pairs(
        {
            "name": folder.path.name,
            "fingerprint": folder.fingerprint,
            "licence": folder.settings.get("licence", "not stated in an encoder.toml"),
            "origin": folder.settings.get("origin", "not stated in an encoder.toml"),
            "layers": f"{config.num_hidden_layers}, of {config.hidden_size} columns",
            "vocabulary": f"{config.vocab_size:,} pieces, {'lower-cased' if facts.lower_case else 'cased'}",
            "longest text": f"{facts.max_tokens:,} tokens, the rest is cut off",
        }
    )


def environment(facts: Facts) -> str:
    """Precision, versions, machine."""
    features, recorded = facts.features, facts.environment
    libraries = {
        name.removeprefix("library."): version
        for name, version in recorded.items()
        if name.startswith("library.")
    }
    dtype = facts.settings.features.dtype
    vectors = features and f"{features.engine}, {features.precision}, stored as {dtype}"
    return _pairs(
        {
            "token vectors": vectors,
            **facts.method.environment,
            "machine": recorded["machine"],
            "Python": recorded["python"],
            "jabert": recorded["jabert"],
            "commit": recorded.get("mlflow.source.git.commit", "not known, jabert is installed"),
            "libraries": ", ".join(f"{name} {version}" for name, version in libraries.items()),
        }
    )


def _pairs(values: Mapping[str, Any]) -> str:
    pairs = [(name, value) for name, value in values.items() if value is not None]
    return table(["", ""], pairs, longest=None)


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
