"""The report of a retraining: one self-contained HTML page, of which the model card is the short form."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from jabert.config import neutral_values
from jabert.evaluation import EvaluationReport
from jabert.evaluation.comparison import Flip
from jabert.evaluation.occlusion import Explained
from jabert.fonts import font_face
from jabert.markdown import as_sentence
from jabert.report import plots
from jabert.report.card import sections
from jabert.report.card.sections import Facts
from jabert.report.card.webpage import STYLE, TABLE_OPEN, encoded, rendered
from jabert.report.pages import SLICES, evidence_of, sides_of
from jabert.safe import printable

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure


_SHOWN = 120  # characters of a similar text
_STRONGEST = 0.6  # of a colour
_ABOUT_PIECES = (
    "<p>A piece is coloured by how much less probable the predicted class is without it: "
    '<span class="piece for" style="--strength: 0.4">for it</span>, '
    '<span class="piece against" style="--strength: 0.4">against it</span>. '
    '<span class="unknown">Dotted</span> pieces are not in the vocabulary. '
    "In long texts neighbouring pieces are taken together.</p>"
)


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        columns: headings.
        rows: cells; numbers are aligned to the right, None is empty.
        sorts: whether a click on a heading sorts the rows.
        filters: numbers of the columns that hold a class, by which rows can be chosen.
        labels: the classes to choose from.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    sorts: bool = True
    filters: Sequence[int] = ()
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """A section of a page.

    Attributes:
        heading: of the section.
        text: HTML in front of the rest.
        tables: behind the text.
        pictures: in Base64, each with a description.
        matrix: of the test rows by true and predicted class.
        explained: mistakes, as the template draws them.
    """

    heading: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[dict[str, str]] = ()
    matrix: dict[str, Any] | None = None
    explained: Sequence[dict[str, Any]] = ()

    @property
    def id(self) -> str:
        """The anchor of the section."""
        return self.heading.lower().replace(" ", "-").replace(",", "")


def report_page(
    facts: Facts,
    predicted: pd.DataFrame,
    history: Sequence[dict[str, float]],
    flips: Sequence[Flip],
    told: Sequence[str],
    *,
    explained: Sequence[Explained] = (),
) -> str:
    """The report as HTML that asks no other host for anything; texts in it are escaped.

    Args:
        facts: those of the model card.
        predicted: columns text, label, predicted and score, and group where there are groups, of the test
            rows.
        history: metrics of each epoch; empty for a method without epochs.
        flips: texts that only the version or only the champion before it classifies correctly.
        told: sentences about the data and the result that the run has said.
        explained: the surest mistakes.
    """
    report, verdict = facts.report, facts.verdict
    low, high = report.weighted_f1_interval
    figures = [
        ("weighted F1", f"{report.weighted_f1:.3f}"),
        ("its 95 % interval", f"{low:.3f} – {high:.3f}"),
        ("accuracy", f"{report.accuracy:.3f}"),
        ("macro F1", f"{report.macro_f1:.3f}"),
        ("test rows", f"{report.rows:,}"),
        *((f"weighted F1 of {each.kind}", f"{each.weighted_f1:.3f}") for each in facts.baselines),
    ]
    parts = [*_of_the_result(facts, predicted, history, flips, explained), *_of_the_making(facts, told)]
    title = f"{facts.settings.tracking.model_name}, version {facts.version}"
    page = _template().render(
        title=title,
        style=STYLE,
        table_open=TABLE_OPEN,
        verdict=verdict_sentence(verdict),
        figures=figures,
        parts=parts,
    )
    return page.replace("</style>", f"{font_face(page)}</style>", 1)


def verdict_sentence(verdict: Any) -> str:
    """What the gate decided, why, and whether a gain is more than chance; of `Verdict.facts`."""
    evidence = map(as_sentence, evidence_of(verdict))
    return " ".join([f"{verdict['outcome'].capitalize()}: {verdict['reason']}.", *evidence])


def _of_the_result(
    facts: Facts,
    predicted: pd.DataFrame,
    history: Sequence[dict[str, float]],
    flips: Sequence[Flip],
    explained: Sequence[Explained],
) -> Iterator[Part]:
    report = facts.report
    classes = [(s.label, s.precision, s.recall, s.f1, s.support) for s in report.per_class]
    yield Part("Classes", tables=[Table(["class", "precision", "recall", "F1", "rows"], classes)])
    yield Part("Confusion matrix", matrix=_matrix(report))
    wrong = predicted[predicted["predicted"] != predicted["label"]].sort_values("score", ascending=False)
    groups = wrong["group"].fillna("") if "group" in wrong else [""] * len(wrong)
    rows = list(
        zip(
            wrong["text"],
            wrong["label"],
            wrong["predicted"],
            wrong["score"].astype(float),
            groups,
            strict=True,
        )
    )
    columns = ["text", "label", "predicted", "probability", "group"]
    mistakes = Table(columns, rows, filters=(1, 2), labels=report.labels)
    yield Part(
        "Mistakes", f"<p>{len(rows):,} of {report.rows:,} test rows, the surest first.</p>", [mistakes]
    )
    if explained:
        yield Part(
            "Surest mistakes, explained",
            _ABOUT_PIECES,
            explained=[_shown_mistake(each) for each in explained],
        )
    if flips:
        lines = [(f.text, f.label, f.champion, f.challenger, f.became) for f in flips]
        columns = ["text", "label", "champion", "this version", "became"]
        yield Part("Against the champion", tables=[Table(columns, lines, filters=(1,), labels=report.labels)])
    if report.slices:
        slices = [(SLICES[name], s.weighted_f1, s.accuracy, s.rows) for name, s in report.slices.items()]
        yield Part("Slices", tables=[Table(["texts", "weighted F1", "accuracy", "rows"], slices)])
    reliable = _picture(plots.reliability(report), "How often it is right when it is how sure")
    covered = _picture(plots.coverage(report), "What is right of what is answered, by a threshold")
    yield Part("Calibration", rendered(sections.calibration(facts), {}), pictures=[reliable, covered])
    if history:
        watched = f"{facts.settings.training.watch} rows"
        curves = plots.learning_curves(pd.DataFrame(history), watched)
        yield Part("Learning curves", pictures=[_picture(curves, "Loss, accuracy and weighted F1 by epoch")])


def _shown_mistake(mistake: Explained) -> dict[str, Any]:
    """A mistake as the template draws it; the piece with the largest effect has the strongest colour."""
    effects = [piece.effect for piece in mistake.pieces if piece.effect is not None]
    largest = max(map(abs, effects), default=0.0) or 1.0
    pieces = [
        {
            "text": printable(piece.text),
            "effect": "" if piece.effect is None else f"{piece.effect:+.3f}",
            "known": piece.known,
            "side": "against" if (piece.effect or 0) < 0 else "for",
            "strength": f"{_STRONGEST * abs(piece.effect or 0) / largest:.2f}",
        }
        for piece in mistake.pieces
    ]
    similar = [(each.text[:_SHOWN], each.label, each.likeness) for each in mistake.similar]
    columns = ["texts that it learned from, the most similar first", "label", "likeness"]
    return {
        "label": mistake.label,
        "predicted": mistake.predicted,
        "score": f"{mistake.score:.3f}",
        "pieces": pieces,
        "said": [f"{side}: {pieces}" for side, pieces in sides_of(mistake).items()],
        "similar": Table(columns, similar, sorts=False),
    }


def _of_the_making(facts: Facts, told: Sequence[str]) -> Iterator[Part]:
    from markupsafe import escape

    said = "".join(f"<li>{escape(printable(sentence))}</li>" for sentence in told)
    yield Part("Data", (f"<ul>{said}</ul>" if said else "") + rendered(sections.data(facts), {}))
    usual = neutral_values(facts.settings.method.kind)
    own = [
        (name, str(value), str(usual.get(name, "")))
        for name, value in facts.settings.flat().items()
        if value is not None and _comparable(value) != usual.get(name)
    ]
    yield Part("Settings", tables=[Table(["setting", "this run", "usual"], own, sorts=False)])
    found = "\n\n".join(part.strip() for part in facts.validation)
    yield Part("Validation", rendered(found, {}) + _linked(facts.validation_pages))
    for heading, text in (
        ("Protocol", sections.protocol(facts)),
        ("Encoder", sections.encoder(facts)),
        ("Limits", sections.limits(facts)),
        ("How to load", sections.how_to_load(facts)),
        ("Environment", sections.environment(facts)),
    ):
        yield Part(heading, rendered(text, {}))


def _linked(pages: Mapping[str, str]) -> str:
    """Links to Great Expectations' pages, which lie beside the report."""
    from markupsafe import Markup

    link = Markup('<a href="{}">{}</a>')
    links = [link.format(quote(path), printable(suite)) for suite, path in pages.items()]
    told = Markup("<p>Each expectation, in the folder of this page: {}</p>")
    return str(told.format(Markup(", ").join(links))) if links else ""


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _matrix(report: EvaluationReport) -> dict[str, Any]:
    rows = []
    for label, counts in zip(report.labels, report.confusion, strict=True):
        total = max(1, sum(counts))
        cells = [
            {"count": f"{count:,}", "share": f"{count / total:.0%}", "strength": f"{0.6 * count / total:.2f}"}
            for count in counts
        ]
        rows.append({"label": label, "cells": cells})
    return {"labels": report.labels, "rows": rows}


def _picture(figure: "Figure", description: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        return {"data": encoded(plots.save(figure, Path(folder) / "picture.png")), "alt": description}


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["shown"] = _shown
    return environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return (
        f"{cell:.3f}"
        if isinstance(cell, float)
        else f"{cell:,}"
        if isinstance(cell, int)
        else printable(str(cell))
    )
