"""Fills the generated parts of the docs: `python docs/generate.py` (a test holds that they are fresh)."""

from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from jabert.cli.commands import app
from jabert.config import list_settings
from jabert.methods import list_methods

FOLDER = Path(__file__).parent


def settings() -> str:
    """Every setting with its default and meaning."""
    rows = ["| setting | default | |", "| --- | --- | --- |"]
    for each in list_settings():
        kind = f" ({each['kind']})" if each["kind"] else ""
        default = "" if each["default"] in (None, []) else f"`{_shown(each['default']).lower()}`"
        meaning = each["meaning"].replace("|", "\\|")
        rows.append(f"| `{each['setting']}`{kind} | {default} | {meaning} |")
    return "\n".join(rows)


def _shown(default: object) -> str:
    return str(tuple(default) if isinstance(default, list) else default)


def methods() -> str:
    """Every kind of method: what it needs of a text, what it is, what it costs."""
    rows = ["| kind | needs | | cost |", "| --- | --- | --- | --- |"]
    for method in list_methods():
        needs = ", ".join(method["needs"])
        rows.append(f"| `{method['kind']}` | {needs} | {method['summary']} | {method['cost']} |")
    return "\n".join(rows)


def command_line() -> str:
    """What `jabert --help` prints."""
    result = CliRunner().invoke(app, ["--help"], prog_name="jabert", env={"COLUMNS": "80"})
    return f"```console\n$ jabert --help\n{result.output.strip()}\n```"


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("settings.md", settings),
    "methods": ("methods.md", methods),
    "help": ("command-line.md", command_line),
}
"""The page of each generated part, and what makes it."""


def pages() -> dict[Path, str]:
    """Each page that has a generated part, with that part made anew."""
    made: dict[Path, str] = {}
    for name, (page, make) in PARTS.items():
        path = FOLDER / page
        start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        before, _, rest = path.read_text(encoding="utf-8").partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{page} has no part {name!r}")
        made[path] = before + start + make() + end + after
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
