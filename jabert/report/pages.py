"""Evaluations and comparisons as Markdown pages; texts in them are escaped and shortened."""

from collections.abc import Mapping, Sequence
from typing import Any

from jabert.evaluation import SHORT_TEXT, Baseline, Comparison, EvaluationReport, advice
from jabert.evaluation.occlusion import Explained
from jabert.markdown import as_sentence, escaped, table
from jabert.safe import printable

_SHOWN_FLIPS = 20
_NAMED = 3  # pieces for and against
_SCORES = {
    "weighted F1": "weighted_f1",
    "macro F1": "macro_f1",
    "accuracy": "accuracy",
    "log loss": "log_loss",
    "expected calibration error": "ece",
}
SLICES = {
    "short": f"at most {SHORT_TEXT} characters",
    "unknown": "with unknown pieces",
    "truncated": "cut to the longest input",
}


def evaluation_page(
    report: EvaluationReport, baselines: Sequence[Baseline] = (), explained: Sequence[Explained] = ()
) -> str:
    """The report as a page, with the baselines on the same rows and the surest mistakes explained."""
    (title, overall), *others = evaluation_tables(report).items()
    if baselines:
        others.insert(0, ("Baselines", baseline_table(report, baselines)))
    if explained:
        others.append(("Surest mistakes, explained", _explanations(explained)))
    sections = [f"## {heading}\n\n{content}" for heading, content in others]
    return "\n\n".join([f"# {title}", overall, *sections]) + "\n"


def evaluation_tables(report: EvaluationReport) -> dict[str, str]:
    """The parts of the report as tables, by their headings; a part without rows is left out."""
    low, high = report.weighted_f1_interval
    overall = [(shown, getattr(report, name)) for shown, name in {**_SCORES, "rows": "rows"}.items()]
    overall.insert(1, (f"its 95 % interval, resampling {report.resampled}", f"{low:.3f} to {high:.3f}"))
    classes = [(s.label, s.precision, s.recall, s.f1, s.support) for s in report.per_class]
    covered = [(each.threshold, each.share, each.accuracy) for each in report.coverage]
    slices = [(SLICES[name], s.weighted_f1, s.accuracy, s.rows) for name, s in report.slices.items()]
    wrong = [(m.text, m.label, m.predicted, m.probability, m.group) for m in report.mistakes]
    parts: dict[str, tuple[list[str], list[Any]]] = {
        "Evaluation": (["", "test rows"], overall),
        "Calibration": _calibration(report),
        "Coverage": (["answered if the probability is at least", "share of rows", "accuracy"], covered),
        "Classes": (["class", "precision", "recall", "F1", "rows"], classes),
        "Slices": (["texts", "weighted F1", "accuracy", "rows"], slices),
        "Confusion matrix": _confusion(report),
        "Most confident mistakes": (["text", "label", "predicted", "probability", "group"], wrong),
    }
    return {heading: table(columns, rows) for heading, (columns, rows) in parts.items() if rows}


def baseline_table(report: EvaluationReport, baselines: Sequence[Baseline]) -> str:
    """The model and simple methods beside each other, and what to try if the model is not better."""
    rows = [
        (of.kind, of.weighted_f1, of.gain, f"{of.gain_low:+.3f} to {of.gain_high:+.3f}") for of in baselines
    ]
    columns = ["", "weighted F1", "gain of the model", "its 95 % interval"]
    shown = table(columns, [("this model", report.weighted_f1, None, None), *rows])
    advised = advice(baselines, report.weighted_f1)
    return f"{shown}\n\n**{escaped(as_sentence(advised))}**" if advised else shown


def sides_of(mistake: Explained) -> dict[str, str]:
    """The pieces that spoke most for and against the predicted class; a side without any is left out."""
    by_effect = sorted(((piece.effect, piece.text) for piece in mistake.pieces if piece.effect), reverse=True)
    sides = {
        "for": [each for each in by_effect[:_NAMED] if each[0] > 0],
        "against": [each for each in by_effect[::-1][:_NAMED] if each[0] < 0],
    }
    return {
        side: ", ".join(f"{printable(text)} {effect:+.3f}" for effect, text in named)
        for side, named in sides.items()
        if named
    }


def _explanations(explained: Sequence[Explained]) -> str:
    columns = ["text", "label", "predicted", "probability", "for it", "against it"]
    rows = []
    for each in explained:
        sides, likest = sides_of(each), next(iter(each.similar), None)
        learned = (likest.text, likest.label) if likest else (None, None)
        said = (sides.get("for"), sides.get("against"))
        rows.append((each.text, each.label, each.predicted, each.score, *said, *learned))
    return table([*columns, "the learned text most like it", "its label"], rows)


def evidence_of(verdict: Mapping[str, Any]) -> list[str]:
    """Whether a gain is more than chance, and how many versions were judged on the same rows before.

    Args:
        verdict: of the gate, as from `Verdict.facts`.

    Returns:
        Sentences without a full stop; none where there was no comparison.
    """
    sentences = []
    if "gain" in verdict:
        gain, low, high = (verdict[name] for name in ("gain", "gain_low", "gain_high"))
        is_chance = low <= 0 <= high or low == high  # of a single group the interval has no width
        rows, right, wrong = (verdict[name] for name in ("compared_rows", "became_right", "became_wrong"))
        sentences.append(
            f"the gain of {gain:+.4f} {'may be' if is_chance else 'is more than'} chance (95 % interval "
            f"{low:+.4f} to {high:+.4f}; of {rows:,} texts {right:,} became right and {wrong:,} wrong)"
        )
    if count := verdict.get("judged_before"):
        were = "other version was" if count == 1 else "other versions were"
        sentences.append(
            f"{count:,} {were} judged on these test rows before; with each the best of them is likelier to "
            "be the best by chance"
        )
    return sentences


def comparison_page(comparison: Comparison) -> str:
    """The comparison as a page; of the texts that became right or wrong, the first 20 each."""
    champion, challenger = comparison.champion, comparison.challenger
    low, high = comparison.gain_interval
    became = {kind: [flip for flip in comparison.flips if flip.became == kind] for kind in ("right", "wrong")}
    pairs = [(shown, getattr(champion, name), getattr(challenger, name)) for shown, name in _SCORES.items()]
    overall = [(shown, old, new, new - old) for shown, old, new in pairs]
    classes = [
        (old.label, old.f1, new.f1, new.f1 - old.f1, old.support)
        for old, new in zip(champion.per_class, challenger.per_class, strict=True)
    ]
    parts = [
        "# Champion and challenger",
        f"On the same {champion.rows:,} rows. The gain's 95 % interval, resampling {champion.resampled}: "
        f"{low:+.3f} to {high:+.3f}. {len(became['right']):,} texts became right, "
        f"{len(became['wrong']):,} wrong.",
        table(["", "champion", "challenger", "gain"], overall),
        "## Classes",
        table(["F1 of", "champion", "challenger", "gain", "rows"], classes),
        "## Confusion matrix of the champion",
        table(*_confusion(champion)),
        "## Confusion matrix of the challenger",
        table(*_confusion(challenger)),
    ]
    for kind, flips in became.items():
        if flips:
            lines = [(flip.text, flip.label, flip.champion, flip.challenger) for flip in flips[:_SHOWN_FLIPS]]
            parts.append(f"## Became {kind}: {len(flips):,}")
            parts.append(table(["text", "label", "champion", "challenger"], lines))
    return "\n\n".join(parts) + "\n"


def _calibration(report: EvaluationReport) -> tuple[list[str], list[Any]]:
    """Columns and rows of the table of what the model does to probabilities, and what comes of it."""
    applied, answered = report.calibration, report.answered
    rows: list[Any] = [
        ("rows that it was fitted on", applied.rows),
        ("temperature", applied.temperature),
        ("expected calibration error before", report.ece_uncalibrated),
        ("expected calibration error", report.ece),
        ("answered if the probability is at least", "every text" if answered is None else answered.threshold),
    ]
    if applied.context:
        rows.append(("weighted F1 without neighbours", report.weighted_f1_alone))
    if answered:
        rows += [("share answered", answered.share), ("accuracy of the answers", answered.accuracy)]
    return ["", "test rows"], rows


def _confusion(report: EvaluationReport) -> tuple[list[str], list[Any]]:
    """Columns and rows of the table of the confusion matrix."""
    counts = [(label, *row) for label, row in zip(report.labels, report.confusion, strict=True)]
    return ["true ＼ predicted", *report.labels], counts
