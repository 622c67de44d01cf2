"""Hooks of MkDocs: README.md is the first page of the site, and links to files beside docs/ are left out."""

import re
from pathlib import Path
from posixpath import normpath
from typing import Any

from mkdocs.structure.files import File, Files

CHECKOUT = Path(__file__).parents[1]


def on_files(files: Files, config: Any) -> Files:
    """Add the README as `index.md`."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Leave only the words of links to files that are not part of the site."""
    here = Path(page.file.src_uri).parent

    def kept(found: re.Match[str]) -> str:
        target = found[2].partition("#")[0]
        if not target or "://" in target or files.get_file_from_path(normpath(here / target)):
            return found[0]
        return found[1]

    return re.sub(r"(?<!!)\[([^]]*)\]\(([^)\s]+)\)", kept, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:  # noqa: ARG001
    """Give the dialog of the search a name, which Material 9 leaves out and a screen reader needs."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')
