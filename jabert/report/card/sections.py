"""The facts of a model card and its sections, each as Markdown with all texts escaped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd

from jabert.config import DataSettings, Settings, TrackingSettings
from jabert.dataset import table_digest
from jabert.dataset.readers import format_of
from jabert.encoder import EncoderFolder
from jabert.evaluation import Baseline, EvaluationReport
from jabert.features import Featurized
from jabert.markdown import as_sentence, code, escaped, table
from jabert.methods import Description
from jabert.report.pages import baseline_table, evidence_of

_SHOWN_LABELS = 20
_SPLITS = ("train", "validation", "test")
_SPLIT_BY = {
    "group": "Split by group: no group (article, thread, author) is in two splits.",
    "sentence": "Split by sentence: texts of one origin (article, thread, author) may be in two splits.",
    "given": "The data give the split of each text.",
}
_EXAMPLE = "紅葉の京都を一日歩いた。"


@dataclass(frozen=True)
class Facts:
    """What the card of a version is written from.

    Attributes:
        version: of the registered model.
        run_id: of the run that judged the version.
        date: of the card, ISO 8601.
        settings: of the run.
        source: of the texts.
        split_by: `given`, `sentence` or `group`.
        counts: numbers of rows, as in `Corpus`.
        table: the texts with their splits.
        learned_from: the splits that the classifier learned from.
        test_chose: whether the test rows chose the epoch.
        validation: the finding of each suite of expectations, as Markdown.
        encoder: the encoder folder, None for a method without an encoder.
        lower_case: whether the texts were lower-cased, None for a method without an encoder.
        max_tokens: longest text in token ids, None for a method without an encoder.
        features: what the featurization did, None for a method without token vectors.
        method: description of the classifier by its method.
        report: the evaluation on the test rows.
        baselines: simple methods on the same rows; none where they were not measured.
        verdict: of the gate, as from `Verdict.facts`.
        environment: as from `tracking.provenance`.
        validation_pages: where Great Expectations' page of each suite is among the artifacts.
    """

    version: str
    run_id: str
    date: str
    settings: Settings
    source: str
    split_by: str
    counts: Mapping[str, int]
    table: pd.DataFrame
    learned_from: Sequence[str]
    test_chose: bool
    validation: Sequence[str]
    encoder: EncoderFolder | None
    lower_case: bool | None
    max_tokens: int | None
    features: Featurized | None
    method: Description
    report: EvaluationReport
    baselines: Sequence[Baseline]
    verdict: Mapping[str, Any]
    environment: Mapping[str, str]
    validation_pages: Mapping[str, str] = field(default_factory=dict)


def lead(facts: Facts) -> str:
    """Purpose and origin of the version in a few sentences."""
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
    """The table of scores, what they were measured on, and what simple methods score on the same rows."""
    report = facts.report
    largest = max(report.per_class, key=lambda score: score.support)
    share = largest.support / report.rows
    always = 2 * share**2 / (1 + share)  # its F1, 2 share / (1 + share), weighted; the other classes have 0
    chosen = "**They chose the epoch, so these figures are too good.**"
    role = chosen if facts.test_chose else "They had no part in training and chose nothing."
    measured = (
        f"Measured on {report.rows:,} test rows with the registered model itself, from text. {role} "
        f"Always answering {escaped(largest.label)}, the largest class of these rows, would have weighted F1 "
        f"{always:.3f}."
    )
    beside = [baseline_table(report, facts.baselines)] if facts.baselines else []
    return "\n\n".join([measured, scores, *beside])


def gate(facts: Facts) -> str:
    """What was decided about the version, and on what evidence."""
    verdict = facts.verdict
    parts = [f"**{verdict['outcome'].capitalize()}**: {escaped(verdict['reason'])}."]
    if "gain" in verdict:
        gain, low, high = (verdict[name] for name in ("gain", "gain_low", "gain_high"))
        compared = {
            "compared with": f"champion {verdict['champion']}",
            "on": f"the same {verdict['compared_rows']:,} test rows",
            "weighted F1": f"{verdict['weighted_f1']:.4f} against {verdict['champion_weighted_f1']:.4f}",
            "gain": f"{gain:+.4f} (95 % interval {low:+.4f} to {high:+.4f})",
            "changed": f"{verdict['became_right']:,} texts became right, {verdict['became_wrong']:,} wrong",
        }
        parts.append(_pairs(compared))
    if evidence := evidence_of(verdict):
        parts.append(_bullets(map(as_sentence, evidence)))
    if warnings := verdict.get("warnings"):
        parts.append(_bullets(f"Warning: {escaped(warning)}." for warning in warnings))
    now = "Decided when the version was registered; `jabert models` shows which version is the champion now."
    return "\n\n".join([*parts, now])


def calibration(facts: Facts) -> str:
    """How far the probabilities can be trusted, and which texts get no answer."""
    report, applied = facts.report, facts.report.calibration
    sentences = [
        f"Temperature {applied.temperature:.3f}, fitted on {applied.rows:,} validation rows that had taught "
        "nothing: probabilities are scaled with it, and no label changes."
        if applied.temperature != 1
        else "Probabilities are the classifier's own.",
        f"Expected calibration error on the test rows: {report.ece_uncalibrated:.3f} before, "
        f"{report.ece:.3f} as it answers.",
    ]
    if answered := report.answered:
        sentences.append(
            f"A text whose highest probability is below {answered.threshold:.3f} gets no label; this was "
            f"chosen on the same rows for a precision of {facts.settings.package.min_precision}. Of the test "
            f"rows {answered.share:.1%} are answered, {answered.accuracy:.1%} of them rightly. The parameter "
            "`threshold` of a request replaces it; with 0 every text gets a label."
        )
    return _bullets([*sentences, applied.note] if applied.note else sentences)


def limits(facts: Facts) -> str:
    """What the figures do not say."""
    report = facts.report
    sentences = [
        "A text that belongs to none of the classes gets one of them all the same, if it scores enough."
        if report.answered
        else "Every text gets one of the classes, even one that belongs to none of them.",
        *facts.method.limits,
        f"The interval reflects the random choice of these test rows (it resamples {report.resampled}), not "
        "that of the split or the seed, and says nothing about texts from other sources.",
    ]
    if context := report.calibration.context:
        sentences.append(
            f"It looks at up to {context.texts} texts before and after a text in the same group. Where none "
            f"are given, it judges the text alone: weighted F1 {report.weighted_f1_alone:.4f} on these rows."
        )
    if facts.test_chose:
        sentences.append("The test rows chose the epoch; the interval does not account for that.")
    left_out = report.rows - facts.verdict["compared_rows"]
    found = f"{left_out:,} that a version learned from were left out" if left_out else "none was left out"
    guard = f"Leak guard: {report.rows - left_out:,} of {report.rows:,} test rows compared, {found}."
    return _bullets([*sentences, guard])


def how_to_load(facts: Facts) -> str:
    """Code to copy: in Python, and on the command line."""
    name, store = facts.settings.tracking.model_name, str(facts.settings.tracking.uri)
    uri = f"models:/{name}/{facts.version}"
    option = "" if name == TrackingSettings().model_name else f" --set tracking.model_name={quote(name)}"
    beside = "# columns before and after, lists of texts, may stand beside text\n"
    python = (
        "import mlflow, pandas as pd\n\n"
        f"mlflow.set_tracking_uri({store!r})\n"
        f"model = mlflow.pyfunc.load_model({uri!r})\n"
        "# returns one row for each text, with the columns label, score and probabilities\n"
        f"{beside if facts.report.calibration.context else ''}"
        f'model.predict(pd.DataFrame({{"text": ["{_EXAMPLE}"]}}))'
    )
    shell = (
        f"$ export MLFLOW_TRACKING_URI={quote(store)}\n"
        f"$ mlflow models serve --env-manager local -m {quote(uri)}\n"
        f'$ jabert predict "{_EXAMPLE}"{option}  # by the champion, whichever version that is'
    )
    return f"{code(python, 'python')}\n\n{code(shell, 'console')}"


def data(facts: Facts) -> str:
    """Where the texts come from, which rows were dropped, and how the rest is split."""
    counts, rows = facts.counts, facts.table
    fate = "dropped" if facts.settings.data.drop_duplicates else "kept"
    classes = pd.crosstab(rows["label"], rows["split"]).reindex(columns=_SPLITS, fill_value=0)
    origin = {
        "source": facts.source,
        "digest": table_digest(rows),
        "rows read": f"{counts['rows_read']:,}",
        "nothing but a topic tag": f"{counts['tag_only']:,} rows dropped" if counts["tag_only"] else None,
        "exact duplicates": f"{counts['duplicates']:,} rows {fate}",
        "under two labels": f"{counts['conflicting_rows']:,} rows of {counts['conflicting_texts']:,} texts "
        f"{fate}",
    }
    by_split = []
    for name in _SPLITS:
        part = rows[rows["split"] == name]
        groups = part["group"].nunique() if "group" in part else None
        by_split.append((name, f"{len(part):,}", groups, table_digest(part)[:16]))
    by_class = [(label, *map("{:,}".format, counted)) for label, *counted in classes.itertuples()]
    split_table = table(["split", "rows", "groups", "digest"], by_split)
    return "\n\n".join([_pairs(origin), split_table, table(["class", *_SPLITS], by_class)])


def protocol(facts: Facts) -> str:
    """How the data were split and the classifier was fitted."""
    data = facts.settings.data
    sentences = [_SPLIT_BY[facts.split_by]]
    if facts.split_by != "given":
        test = f"{data.test_rows} test rows" if data.test_rows else f"test share {data.test_share}"
        sentences.append(
            f"Drawn with seed {data.seed}: {test}, and validation share {data.validation_share} of the rest."
        )
    if format_of(data) == "knbc":
        kept = "kept: **each article's first sentence names its class**"
        sentences.append(f"KNBC's topic tags were {'removed' if data.strip_topic_tag else kept}.")
    if "validation" in facts.learned_from:
        sentences.append("The classifier learned from the validation rows too, for it chose nothing on them.")
    repeat = "`config.toml` among the artifacts of the run is a recipe that repeats the run."
    return _bullets([*sentences, *facts.method.protocol, repeat])


def encoder(facts: Facts) -> str:
    """Name, origin, licence and sizes of the encoder, and how texts are prepared for it."""
    folder = facts.encoder
    if folder is None:
        return "None: this method uses no encoder."
    config = folder.config
    return _pairs(
        {
            "name": folder.path.name,
            "fingerprint": folder.fingerprint,
            "licence": folder.settings.get("licence", "not stated in an encoder.toml"),
            "origin": folder.settings.get("origin", "not stated in an encoder.toml"),
            "layers": f"{config.num_hidden_layers}, hidden size {config.hidden_size}",
            "vocabulary": f"{config.vocab_size:,} pieces, {'lower-cased' if facts.lower_case else 'cased'}",
            "longest text": f"{facts.max_tokens:,} tokens; {_of_longer_ones(facts.settings.data)}",
        }
    )


def _of_longer_ones(data: DataSettings) -> str:
    if data.long_texts == "windows":
        return f"of a longer one up to {data.windows:,} overlapping windows of so many, the rest is cut off"
    kept = {"head": "beginning", "tail": "end", "head-tail": "beginning and end"}[data.long_texts]
    return f"of a longer one the {kept}, the rest is cut off"


def environment(facts: Facts) -> str:
    """Precision, machine and versions."""
    features, recorded, dtype = facts.features, facts.environment, facts.settings.features.dtype
    libraries = [f"{name[8:]} {version}" for name, version in recorded.items() if name.startswith("library.")]
    vectors = features and f"{features.engine}, {features.precision}, stored as {dtype}"
    return _pairs(
        {
            "token vectors": vectors,
            **facts.method.environment,
            "machine": recorded["machine"],
            "Python": recorded["python"],
            "jabert": recorded["jabert"],
            "commit": recorded.get("mlflow.source.git.commit", "not known, jabert is installed"),
            "libraries": ", ".join(libraries),
        }
    )


def _pairs(values: Mapping[str, Any]) -> str:
    pairs = [(name, value) for name, value in values.items() if value is not None]
    return table(["", ""], pairs, longest=None)


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
