"""Fills the generated parts of README.md: `python docs/readme.py` (a test holds that they are fresh)."""

from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from jabert import config
from jabert.cli.commands import app

README = Path(__file__).parents[1] / "README.md"


def settings() -> str:
    """Every setting with its default and meaning."""
    rows = ["| setting | default | |", "| --- | --- | --- |"]
    for group, holder in config.Settings.model_fields.items():
        fields = getattr(holder.annotation, "model_fields", {})
        for key, field in fields.items():
            default = "" if field.default in (None, ()) else f"`{str(field.default).lower()}`"
            meaning = (field.description or "").replace("|", "\\|")
            rows.append(f"| `{group}.{key}` | {default} | {meaning} |")
    return "\n".join(rows)


def command_line() -> str:
    """What `jabert --help` prints."""
    result = CliRunner().invoke(app, ["--help"], prog_name="jabert", env={"COLUMNS": "80"})
    return f"```console\n$ jabert --help\n{result.output.strip()}\n```"


PARTS: dict[str, Callable[[], str]] = {"settings": settings, "help": command_line}


def filled(text: str) -> str:
    """The text with its generated parts made anew."""
    for name, make in PARTS.items():
        start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        before, _, rest = text.partition(start)
        text = before + start + make() + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
