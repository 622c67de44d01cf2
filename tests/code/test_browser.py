"""What people look at, in a real browser: no error, no other host, all of it drawn, read by everyone."""

import functools
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import toy
from browsing import WAYS, boxes, chromium, cut, drawn, faults, missing_of, view, width_of
from toy_card import explained_of, report_of, toy_facts

from jabert.config import load_settings
from jabert.evaluation import Sweep, Tried
from jabert.evaluation.comparison import Flip
from jabert.evaluation.leaderboard import Failure, FoldScore, make_leaderboard
from jabert.experiments.recording import validation_page
from jabert.report import plots
from jabert.report.card import CONFUSION_MATRIX, make_card
from jabert.report.data_check import data_check_html
from jabert.report.leaderboard import leaderboard_html
from jabert.report.sweep import sweep_html
from jabert.validation import check_texts

CHECKOUT = Path(__file__).resolve().parents[2]
SAID = {
    "report": ("Confusion matrix", "ラーメン", "飛んだ"),
    "card": ("Model card of jabert, version 3", "グルメ"),
    "leaderboard": ("Leaderboard", "majority", "運がない"),
    "sweep": ("Sweep", "logistic", "運がない"),
    "data-check": ("Labels in doubt: 1", "お寺を歩いた"),
    "index": ("Validation Results", "labelled_texts"),
    "result": ("Every class has a test row", "文.csv line 3"),
    "suite": ("Expectation suite", "text_labels"),
}
"""What can be read on each page of jabert's own, and on those of Great Expectations in its form."""

SITE = ("index", "get-started", "settings", "ja/get-started")


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(browser, toy_encoder, tmp_path_factory):
    """The file of each page, by its name, where it lies among the artifacts of a run."""
    folder = tmp_path_factory.mktemp("artifacts")
    validated = check_texts(uneven(), load_settings(), "sentence", folder / "validation/texts")
    docs = validated.folder / "data_docs"
    written = {**of_a_version(toy_encoder, validated, folder), **of_many(folder), "data-check": checked()}
    for name, page in written.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {
        **{name: folder / f"{name}.html" for name in written},
        "index": docs / "index.html",
        "result": validated.page,
        "suite": docs / "expectations/labelled_texts.html",
    }


def uneven():
    """Texts of which not every class is in every split."""
    splits = ["train", "validation", "test", "train"] * 40
    return toy.toy_rows().assign(split=splits, file="文.csv", line=range(2, 162))


def of_a_version(encoder, validated, folder):
    texts = ["京都のお寺を歩いた", "ラーメンを食べた", "とても" * 60, "四"]
    facts = toy_facts(encoder, "", [], texts, ("グルメ", "京都"))
    facts = replace(facts, validation_pages={validated.suite: validation_page(validated, "texts")})
    pieces = [("京都", True, -0.2), ("の", True, 0.0), ("ラーメン", True, 0.4), ("㋿", False, None)]
    flips = [Flip("飛んだ", "京都", "京都", "グルメ", "wrong")]
    picture = plots.save(plots.confusion_matrix(facts.report), folder / CONFUSION_MATRIX)
    return {
        "report": report_of(facts, ["3 rows are left out"], flips, [explained_of(*pieces)]),
        "card": make_card(facts).to_html(picture),
    }


def of_many(folder):
    picture = folder / CONFUSION_MATRIX  # any will do
    fold = FoldScore(40, 0.8, 0.8, 0.8, 1.0, 2.0, 100, seed=0, fold=1)
    folds = {name: [fold, replace(fold, weighted_f1=0.9)] for name in ("tfidf", "majority")}
    counts = dict.fromkeys(folds, np.ones((4, 3, 2), np.int64))
    failure = Failure("word2vec", "seed 0, fold 2: 運がない", (fold,))
    board = make_leaderboard(folds, counts, [failure], folds=2, protocol="40 rows")
    values = {"method.c": 0.1, "method.classifier": "logistic", "method.longest": 2}
    trials = (Tried(0, "complete", values, 0.7, "a"), Tried(1, "failed", values, error="運がない"))
    scales = {"method.c": "log", "method.classifier": "choose", "method.longest": "linear"}
    return {
        "leaderboard": leaderboard_html(board, {"folds.png": picture}),
        "sweep": sweep_html(Sweep(trials, scales, {}, "chosen on 9 rows", None), {"slice.png": picture}),
    }


def checked():
    where = {"file": "文.csv", "line": 3, "label": "京都", "text": "お寺を歩いた" * 9}
    found = dict.fromkeys(("duplicates", "outliers", "overlaps", "groups", "learning_curve"), ())
    doubted = [{**where, "score": 0.9, "likely": "グルメ"}]
    more = {"rows": 500, "gain": 0.01, "low": 0.0, "high": 0.02}
    found |= {"rows": 9, "notes": ["a note"], "more_labels": more, "suspects": doubted}
    return data_check_html(found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SAID)
def test_a_page_is_read_by_everyone_everywhere(pages, browser, name, way):
    address = pages[name].as_uri()
    known = [f"Unsafe attempt to load URL {address} from frame"]  # by what asks for the fonts
    with view(browser, address, way, known) as page:
        text = page.inner_text("body")
        assert [part for part in SAID[name] if part not in text] == []
        shown, missing = drawn(page)
        assert missing == "", "characters that are boxes"
        assert boxes(page) == []
        assert shown or name in ("index", "suite")
        assert width_of(page) <= WAYS[way]["viewport"]["width"]
        if way == "paper":
            assert cut(page) == []
        else:
            assert faults(page) == []


def test_a_box_is_told_from_a_character(pages, browser):
    with view(browser, pages["report"].as_uri()) as page:
        assert missing_of(page, "京\uf8f1") == "\uf8f1"


def test_the_report_leads_to_the_expectations_and_these_to_each_other(pages, browser):
    with view(browser, pages["report"].as_uri()) as page:
        page.click("#validation a")
        assert page.title() == "Validation result: labelled_texts"
        hidden = page.locator("tr:has-text('No text is blank')").first
        assert hidden.is_visible()
        page.check("#failed-only")
        assert not hidden.is_visible() and page.get_by_text("Every class has a test row").is_visible()
        for link, title in (
            ("Data docs", "Data docs"),
            ("UTC", "Validation result: labelled_texts"),
            ("labelled_texts", "Expectation suite: labelled_texts"),
        ):
            page.click(f"a:has-text('{link}')")
            assert page.title() == title


def test_rows_of_the_report_are_sorted_and_chosen(pages, browser):
    with view(browser, pages["report"].as_uri()) as page:
        labels = page.locator("#mistakes tbody tr:visible td:nth-child(2)")
        assert set(labels.all_inner_texts()) == {"京都"}
        page.select_option("#mistakes select >> nth=0", "グルメ")
        assert labels.count() == 0 and page.inner_text("#mistakes [role=status]") == "0 of 2 rows"
        classes = page.locator("#classes tbody tr td:first-child")
        before = classes.all_inner_texts()
        page.click("#classes th button >> nth=1")
        page.click("#classes th button >> nth=1")
        assert classes.all_inner_texts() in (before, before[::-1])
        assert page.get_attribute("#classes th >> nth=1", "aria-sort") == "descending"


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    """The docs as a site, and its address."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder]
    told = {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "default"}
    subprocess.run(words, cwd=CHECKOUT, env={**os.environ, **told}, check=True, capture_output=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SITE)
def test_the_docs_are_read_by_everyone_everywhere(site, browser, name, way):
    with view(browser, f"{site}/{name}.html", way) as page:
        assert "jabert retrain" in page.inner_text("main") or name == "settings"
        assert width_of(page) <= WAYS[way]["viewport"]["width"]
        if way != "paper":
            assert faults(page) == []


def test_the_search_of_the_docs_finds_japanese_and_english(site, browser):
    with view(browser, f"{site}/index.html") as page:
        for word, found in (("rollback", "rollback"), ("学習", "学習")):
            page.get_by_role("textbox", name="Search").fill(word)
            page.locator(".md-search-result__item", has_text=found).first.wait_for()
