"""The generated parts of the README are those of the code: `python docs/readme.py` makes them anew."""

import importlib.util
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_readme_is_fresh():
    spec = importlib.util.spec_from_file_location("readme", CHECKOUT / "docs" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert module.filled(text) == text, "run: python docs/readme.py"


def test_each_picture_of_the_readme_is_there():
    import re

    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)|<img src=\"([^\"]+)\"", text)
    assert pictures
    for markdown, html in pictures:
        assert (CHECKOUT / (markdown or html)).is_file(), markdown or html
