"""The docs: generated parts are fresh, links lead somewhere, commands and examples are those of the code."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
PAGES = sorted([*CHECKOUT.glob("*.md"), *DOCS.rglob("*.md")])
CODE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXAMPLES = CHECKOUT / "examples"


def name_of(page):
    return page.relative_to(CHECKOUT).as_posix()


def anchors(page):
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_generated_parts_are_fresh():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, text in module.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run: make docs"


def test_the_readme_can_be_read_in_a_few_minutes():
    assert len((CHECKOUT / "README.md").read_bytes()) <= 8 * 1024


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", text):
        target = link[0] or link[1]
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} in {name_of(page)}"
        assert not anchor or anchor in anchors(there), f"{target} in {name_of(page)}"


def test_each_page_can_be_found_from_the_readme():
    """From README by links, in as many steps as it takes."""
    seen, left = set(), [CHECKOUT / "README.md"]
    while left:
        page = left.pop()
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        found = {(page.parent / link).resolve() for link in links if "://" not in link}
        left += [each for each in found if each not in seen and each.exists()]
    assert set(PAGES) <= seen


def commands():
    """Each `$ jabert …` of the documentation, with the page that it stands on."""
    for page in PAGES:
        for _, block in CODE.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("$ jabert "):
                    yield pytest.param(line[2:].split("  #")[0], id=f"{name_of(page)}: {line[2:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_each_command_is_one_that_there_is(line):
    from jabert.cli.commands import app

    command = typer.main.get_command(app)
    context = click.Context(command, info_name="jabert")
    words = shlex.split(line)[1:]
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return  # the group itself, such as `jabert models --json`
        word = words.pop(0)
        command = command.get_command(context, word)
        assert command, f"there is no command {word}"
        context = click.Context(command, info_name=word, parent=context)
    if "--help" not in words:
        command.parse_args(context, words)


@pytest.mark.parametrize("english", ["README.md", "docs/get-started.md"])
def test_the_japanese_page_says_the_same(english):
    """As many headings of each level, the same commands and code, the same figures and links to pages."""
    japanese = {"README.md": "README.ja.md"}.get(english, "docs/ja/get-started.md")
    one, other = ((CHECKOUT / page).read_text(encoding="utf-8") for page in (english, japanese))

    def shape(text):
        plain = CODE.sub("", text)
        code = [re.sub(r"  # .*", "", block) for _, block in CODE.findall(text)]
        levels = [len(each) for each in re.findall(r"^(#+) ", plain, re.MULTILINE)]
        return levels, code, re.findall(r"\b0\.\d{3}\b", plain)

    assert shape(one) == shape(other)


def test_the_site_is_built_and_asks_no_other_host(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path / "site"],
        cwd=CHECKOUT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "get-started.html", "settings.html"} <= {page.name for page in pages}
    for page in pages:
        asked = re.findall(
            r"<(?:script|img|link)[^>]*(?:src|href)=\"?(https?://[^\" >]+)", page.read_text(encoding="utf-8")
        )
        assert not asked, page


def test_the_notebook_runs(tmp_path):
    notebook = json.loads((EXAMPLES / "keras-bert-japanese.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(cells) + "\nassert version == '1', version\n", encoding="utf-8")
    subprocess.run([sys.executable, script], check=True, cwd=tmp_path)
    assert (tmp_path / "confusion_matrix.png").stat().st_size


def test_the_example_of_own_data_runs(toy_table, tmp_path):
    run = subprocess.run(
        [sys.executable, EXAMPLES / "own_data.py", toy_table],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("weighted F1 ") and len(run.stdout.splitlines()) == 5

    run = subprocess.run(
        [sys.executable, EXAMPLES / "own_data.py", "missing.csv"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and "missing.csv" in run.stderr and "Traceback" not in run.stderr
