"""How Great Expectations' pages look: each one file that asks no other host for anything and runs no script.

Its own templates load Bootstrap, jQuery and Vega from other hosts. Those here, found by their names before
its own, do without. It imports this module itself, by the name in the configuration of the pages.
"""

from pathlib import Path
from typing import Any

from great_expectations.render.view.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, FileSystemLoader

from jabert.fonts import font_face


class Page(DefaultJinjaPageView):
    """A page of results, of a suite, or the list of both."""

    def __init__(self, **folders: Any) -> None:
        super().__init__(**folders)
        own = FileSystemLoader(Path(__file__).parent)
        self.env.loader = ChoiceLoader([own, *([self.env.loader] if self.env.loader else [])])

    def render(self, document: Any, template: str | None = None, **values: Any) -> str:
        """The page as HTML, with the font of its Japanese characters."""
        page: str = super().render(document, template, **values)  # type: ignore[no-untyped-call]
        return page.replace("</style>", f"{font_face(page)}</style>", 1)
