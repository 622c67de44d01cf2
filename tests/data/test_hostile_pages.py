"""Hostile labels and texts on pages: they are shown; nothing of them is run, fetched or followed."""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from jabert.config import load_settings
from jabert.evaluation import evaluate
from jabert.report.card.webpage import webpage
from jabert.report.pages import evaluation_page
from jabert.safe import has_controls
from jabert.validation import check_texts

SPLITS = {"train": 6, "validation": 6, "test": 6}


def hostile(address):
    """Labels and texts that would run a script, ask a server or lead away."""
    return [
        f"<img src={address}/img onerror=\"document.title='RUN'\">",
        f"<script src={address}/script></script><script>document.title='RUN'</script>",
        f"</td></table><iframe src={address}/frame></iframe>",
        f"<svg onload=\"document.title='RUN'\"><image href='{address}/svg'/></svg>",
        f"![x]({address}/md) [y](javascript:document.title='RUN')",
        f"<meta http-equiv=refresh content='0;url={address}/meta'>",
        f"<link rel=stylesheet href={address}/css><style>@import '{address}/style';</style>",
        "$styling {{ 7*7 }} ${7*7} $template",
        f"\x1b]8;;{address}/\x07x\u202e\x9b",
        f"\"'><a href={address}/a ping={address}/ping>x</a>",
    ]


class Page(HTMLParser):
    """What of a page would ask the address, run a script, or lead to the address."""

    def __init__(self, page, address):
        super().__init__()
        self.found, self._address, self._in_script = [], address, False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._in_script = tag in ("script", "style")
        for name, value in attrs:
            if name.startswith("on") and "RUN" in (value or ""):
                self.found.append((tag, name, value))
            if name in ("src", "href", "data", "ping", "content", "srcset", "action") and any(
                sign in (value or "") for sign in (self._address, "javascript:")
            ):
                self.found.append((tag, name, value))

    def handle_endtag(self, tag):
        self._in_script = False

    def handle_data(self, data):
        if self._in_script and (self._address in data or "RUN" in data):
            self.found.append(("script", data))


@pytest.fixture
def asked():
    """A server, and the paths that it is asked for."""
    paths = []

    class Noted(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Noted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


@pytest.fixture
def pages(asked, tmp_path):
    """Every kind of page with hostile labels and texts in it, and the address that they name."""
    address, words = asked[0], hostile(asked[0])
    rows = pd.DataFrame({"text": words * 2, "label": words * 2, "group": words * 2})
    report = evaluate(rows, np.eye(len(words))[[1, 0, *range(2, len(words))] * 2], words)
    markdown = evaluation_page(report)
    found = {
        "card": webpage(markdown, words[0], {}),
        "report": MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown),
        **validation_pages(words, tmp_path),
    }
    assert not has_controls(markdown) and not has_controls(found["card"])
    written = []
    for name, page in found.items():
        written.append(tmp_path / f"{name}.html")
        written[-1].write_text(page, encoding="utf-8")
    return address, written


def validation_pages(words, folder):
    table = pd.DataFrame(
        [
            {"text": f"{word}{split}{n}", "label": word, "split": split, "group": f"{word}{split}"}
            for word in words
            for split, count in SPLITS.items()
            for n in range(count)
        ]
    ).assign(file="文<b>.csv", line=range(2, 2 + len(words) * 18))
    about = [
        ("expect_column_values_to_be_in_set", {"column": "label", "value_set": ["x", *words[:2]]}),
        ("expect_column_values_to_not_match_regex", {"column": "text", "regex": ".*"}),
        ("expect_column_distinct_values_to_contain_set", {"column": "label", "value_set": ["none", *words]}),
        ("expect_column_most_common_value_to_be_in_set", {"column": "label", "value_set": [words[1]]}),
        ("expect_column_distinct_values_to_equal_set", {"column": "group", "value_set": [words[0]]}),
        ("expect_column_values_to_be_unique", {"column": "label"}),
    ]
    entries = [{"type": kind, "kwargs": kwargs, "severity": "warning"} for kind, kwargs in about]
    (folder / "own.json").write_text(json.dumps({"expectations": entries}), encoding="utf-8")
    found = {}
    for name in ("labelled_texts", str(folder / "own.json")):
        report = check_texts(
            table, load_settings(None, [f"validation.suite={name}"]), "group", folder / "out"
        )
        markdown = report.to_markdown()
        assert not has_controls(markdown)
        found[f"validation-{Path(name).stem}"] = report.page.read_text(encoding="utf-8")
        found[f"index-{Path(name).stem}"] = (folder / "out/data_docs/index.html").read_text(encoding="utf-8")
        found[f"findings-{Path(name).stem}"] = MarkdownIt("commonmark", {"html": True}).render(markdown)
    return found


def test_no_page_runs_or_asks_what_a_label_says(pages):
    address, written = pages
    for path in written:
        page = path.read_text(encoding="utf-8")
        assert address in page or path.stem.startswith(("index", "findings")), path
        assert not Page(page, address).found, path


def test_a_browser_runs_and_asks_nothing(pages, asked, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("Debian's chromium is not installed")
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"]
    words += [
        f"--user-data-dir={tmp_path}/profile",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    words += ["--no-first-run", "--disable-background-networking", "--virtual-time-budget=3000"]
    show = functools.partial(subprocess.run, capture_output=True, text=True, timeout=120, check=True)
    proof = tmp_path / "proof.html"
    proof.write_text(f"<script>document.title='RUN'</script><img src={asked[0]}/proof>", encoding="utf-8")
    assert "<title>RUN</title>" in show([*words, proof.as_uri()]).stdout
    assert asked[1] == ["/proof"], "the browser runs scripts and asks servers"
    for path in pages[1]:
        assert "<title>RUN" not in show([*words, path.as_uri()]).stdout, path
        assert asked[1] == ["/proof"], path
