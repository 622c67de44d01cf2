"""The model card: what a version is, how good it is, on what evidence, how it was made and how to load it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jabert.markdown import escaped
from jabert.report.card import sections
from jabert.report.card.sections import Facts
from jabert.report.card.webpage import webpage
from jabert.report.pages import evaluation_tables

__all__ = ["CONFUSION_MATRIX", "Card", "Facts", "make_card"]

CONFUSION_MATRIX = "../report/confusion_matrix.png"
"""Path of the picture relative to the folder of the card among the artifacts of the run."""

_LONGEST_DESCRIPTION = 5000  # characters, the width of the column in MLflow's database


class Section(NamedTuple):
    """A section of the card; only brief ones go into the description of a version."""

    heading: str
    body: str
    brief: bool = True

    def __str__(self) -> str:
        return f"## {self.heading}\n\n{self.body}"


@dataclass(frozen=True)
class Card:
    """A finished card: title, introduction and sections."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    run_id: str

    def to_markdown(self) -> str:
        """The whole card as Markdown; its picture is at `CONFUSION_MATRIX`."""
        return "\n\n".join([f"# {escaped(self.title)}", self.lead, *map(str, self.sections)]) + "\n"

    def to_html(self, confusion_matrix: Path) -> str:
        """The whole card as one HTML file with the picture, a PNG file, in it."""
        return webpage(self.to_markdown(), self.title, {CONFUSION_MATRIX: confusion_matrix})

    def to_description(self) -> str:
        """The card as the description of a version in MLflow, at most 5,000 characters.

        A section that is not brief, or for which there is no room, is left out.
        """
        rest = f"The whole card: `card/card.html` among the artifacts of run {self.run_id}."
        parts: list[str] = []
        for part in (self.lead, *(str(section) for section in self.sections if section.brief)):
            if len("\n\n".join([*parts, part, rest])) <= _LONGEST_DESCRIPTION:
                parts.append(part)
        return "\n\n".join([*parts, rest])


def make_card(facts: Facts) -> Card:
    """Write the card of a version that the gate has judged."""
    tables = evaluation_tables(facts.report)
    picture = f"![Test rows by true and predicted class]({CONFUSION_MATRIX})"
    no_slice, no_mistake = "No test text is short, was cut, or has unknown pieces.", "None."
    parts = (
        Section("Result", sections.result(facts, tables["Evaluation"])),
        Section("Classes", tables["Classes"]),
        Section("Gate", sections.gate(facts)),
        Section("Calibration", sections.calibration(facts)),
        Section("Limits", sections.limits(facts)),
        Section("How to load", sections.how_to_load(facts)),
        Section("Confusion matrix", picture, brief=False),
        Section("Slices", tables.get("Slices", no_slice), brief=False),
        Section("Most confident mistakes", tables.get("Most confident mistakes", no_mistake), brief=False),
        Section("Data", sections.data(facts)),
        Section("Validation", "\n\n".join(found.strip() for found in facts.validation), brief=False),
        Section("Protocol", sections.protocol(facts)),
        Section("Encoder", sections.encoder(facts)),
        Section("Environment", sections.environment(facts), brief=False),
    )
    title = f"Model card of {facts.settings.tracking.model_name}, version {facts.version}"
    return Card(title, sections.lead(facts), parts, facts.run_id)
