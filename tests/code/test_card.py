"""The model card: what stands in it, as Markdown, as a page and as the description of a version."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_card import explained_of, report_of, toy_facts

from jabert.evaluation import Calibration, evaluate
from jabert.methods import Description
from jabert.report import plots
from jabert.report.card import CONFUSION_MATRIX, make_card
from jabert.report.pages import evaluation_page, evidence_of

HEADINGS = [
    "Result",
    "Classes",
    "Gate",
    "Calibration",
    "Limits",
    "How to load",
    "Confusion matrix",
    "Slices",
    "Most confident mistakes",
    "Data",
    "Validation",
    "Protocol",
    "Encoder",
    "Environment",
]
HOSTILE = "縦|棒\n# 改行 <script>alert(1)</script> `code` ![x](y) & *強調*"
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "blockquote", "ul", "li", "div"),
    *("table", "thead", "tbody", "tr", "th", "td", "pre", "code", "img", "strong"),
}


class Page(HTMLParser):
    """Tags, rows of tables and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.images, self.texts, self.cells = [], [], [], []
        self.feed(page)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        if tag == "tr":
            self.cells.append(0)
        if tag in ("td", "th"):
            self.cells[-1] += 1

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def facts_of(toy_encoder):
    """Facts about a toy version; what is given replaces its own."""

    def make(
        recipe="",
        overrides=(),
        texts=("一", "二", "三", "四"),
        labels=("グルメ", "京都"),
        calibration=None,
        **changes,
    ):
        return replace(
            toy_facts(toy_encoder, recipe, overrides, texts, labels, calibration=calibration), **changes
        )

    return make


@pytest.fixture(scope="session")
def picture(tmp_path_factory):
    rows = pd.DataFrame({"text": ["a"], "label": ["京都"]})
    path = tmp_path_factory.mktemp("picture") / "confusion_matrix.png"
    return plots.save(plots.confusion_matrix(evaluate(rows, np.ones((1, 1)), ["京都"])), path)


def headings(markdown):
    return re.findall(r"^## (.*)$", markdown, re.MULTILINE)


def section(markdown, heading):
    return markdown.partition(f"\n## {heading}\n\n")[2].partition("\n\n## ")[0]


def test_every_section_is_there_with_its_facts(facts_of):
    calibration = Calibration(40, 1.5, 0.6)
    overrides = ["package.min_precision=0.9"]
    markdown = make_card(facts_of("knbc", overrides, calibration=calibration)).to_markdown()

    assert headings(markdown) == HEADINGS
    assert markdown.startswith(
        "# Model card of jabert, version 3\n\nPuts a Japanese text into one of 2 classes: グルメ, 京都."
    )
    for heading, facts in {
        "Result": [
            "| weighted F1 | 0.333 |",
            "resampling 1 groups",
            "chose nothing",
            "Always answering グルメ",
            "| tfidf | 0.250 | 0.083 | -0.010 to +0.200 |",
            "| majority | 0.125 | 0.208 | +0.100 to +0.300 |",
            "**The model is not better than tfidf beyond chance",
        ],
        "Classes": ["| グルメ | 0.500 | 1.000 | 0.667 | 2 |"],
        "Gate": [
            "**Promoted**: better",
            "champion 2",
            "+0.0500",
            "-0.0100 to +0.1100",
            "5 texts",
            "Warning: ",
        ],
        "Calibration": [
            "Temperature 1.500, fitted on 40 validation rows",
            "0.400 before, 0.312 as it answers",
            "below 0.600 gets no label",
            "for a precision of 0.9. Of the test rows 100.0% are answered, 50.0% of them rightly",
        ],
        "Limits": [
            "A text that belongs to none",
            "frozen",
            "4 of 4 test rows compared, none was left out",
            "not that of the split",
        ],
        "How to load": [
            "load_model('models:/jabert/3')",
            "mlflow models serve",
            "jabert predict",
            "sqlite:///",
        ],
        "Confusion matrix": [CONFUSION_MATRIX],
        "Slices": ["at most 10 characters"],
        "Most confident mistakes": ["| 二 | 京都 | グルメ | 0.812 | g |"],
        "Data": ["https://host/texts.csv", "3 rows dropped", "| test | 4 | 1 |", "| 京都 | 0 | 2 | 2 |"],
        "Validation": ["labelled_texts passed", "pieces passed"],
        "Protocol": [
            "no group",
            "validation rows chose the epoch",
            "epoch 2 of 3",
            "356 units",
            "config.toml",
        ],
        "Encoder": [
            "| name | toy |",
            "| layers | 2, hidden size 16 |",
            "licence | not stated",
            "lower-cased",
        ],
        "Environment": [
            "openvino, bfloat16",
            "| LSTM | float32 |",
            "| GPU | none |",
            "3.12.1",
            "Linux, 2 cores",
            "numpy 2.4.1",
            "abcdef",
        ],
    }.items():
        for fact in facts:
            assert fact in section(markdown, heading), (heading, fact)
    assert "trained by recipe knbc on 2 texts" in markdown
    assert "Sample:" not in markdown


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("head", "64 tokens; of a longer one the beginning, the rest is cut off"),
        ("tail", "64 tokens; of a longer one the end, the rest is cut off"),
        ("head-tail", "64 tokens; of a longer one the beginning and end, the rest is cut off"),
        ("windows", "64 tokens; of a longer one up to 8 overlapping windows of so many, the rest is cut off"),
    ],
)
def test_what_becomes_of_a_long_text_is_said(facts_of, kept, said):
    card = make_card(facts_of("knbc", [f"data.long_texts={kept}"]))
    assert said in section(card.to_markdown(), "Encoder")


def test_a_method_without_an_encoder_has_the_same_sections(facts_of):
    method = Description("Word counts", layers=[], limits=["It ignores word order."])
    without = {"baselines": [], "encoder": None, "lower_case": None, "max_tokens": None, "features": None}
    card = make_card(facts_of(method=method, learned_from=["train", "validation"], **without))
    markdown = card.to_markdown()
    assert headings(markdown) == HEADINGS
    assert "Word counts, trained on 4 texts" in markdown
    assert "tfidf" not in section(markdown, "Result")
    assert "- It ignores word order." in section(markdown, "Limits")
    assert section(markdown, "Encoder") == "None: this method uses no encoder."
    assert "Probabilities are the classifier's own." in section(markdown, "Calibration")
    assert "no label" not in section(markdown, "Calibration")
    assert "Every text gets one of the classes" in section(markdown, "Limits")
    assert "token vectors" not in section(markdown, "Environment")


def test_what_makes_figures_too_good_is_said(facts_of):
    seed = [
        "training.watch=test",
        "data.strip_topic_tag=false",
        "data.format=knbc",
        "data.drop_duplicates=false",
    ]
    markdown = make_card(facts_of(overrides=seed, split_by="sentence")).to_markdown()

    assert "**They chose the epoch" in section(markdown, "Result")
    assert "The test rows chose the epoch" in section(markdown, "Limits")
    assert "tags were kept" in section(markdown, "Protocol")
    assert "may be in two splits" in section(markdown, "Protocol")
    assert "3 rows kept" in section(markdown, "Data")


@pytest.mark.parametrize("words", [{"recipe": "sample"}, {"overrides": ["data.path=sample"]}])
def test_the_sample_measures_nothing(facts_of, words):
    card = make_card(facts_of(**words))
    for text in (card.to_markdown(), card.to_description()):
        assert "**Sample: no figure here is a measure of quality.**" in text


def test_a_first_version_and_rows_left_out(facts_of):
    first = {
        "version": "1",
        "outcome": "promoted",
        "reason": "there was no champion",
        "weighted_f1": 0.3,
        "compared_rows": 3,
    }
    markdown = make_card(facts_of(verdict=first)).to_markdown()
    assert "gain" not in section(markdown, "Gate")
    assert "3 of 4 test rows compared, 1 that" in section(markdown, "Limits")


def test_the_page_needs_nothing_else(facts_of, picture):
    page = make_card(facts_of()).to_html(picture)

    found = Page(page)
    assert found.tags.count("h2") == len(HEADINGS)
    (image,) = found.images
    assert image.startswith("data:image/png;base64,iVBOR")
    assert not re.search(r'\b(?:src|href)="(?!data:)|@import|url\((?!data:)', page)
    assert set(found.tags) <= ALLOWED
    assert "jabert, version 3" in found.text


def test_hostile_texts_labels_and_notes_stay_texts(facts_of, picture):
    card = make_card(
        facts_of(
            texts=[HOSTILE, HOSTILE + "2", "三", "四"],
            labels=["a|b\n- <b>", "`c` [d](e)"],
            source=HOSTILE,
            environment={"machine": HOSTILE, "python": "", "jabert": HOSTILE},
        )
    )
    check_harmless(card, picture)
    assert "<script>alert(1)</script> `code`" in Page(card.to_html(picture)).text


def check_harmless(card, picture):
    assert headings(card.to_markdown()) == HEADINGS
    found = Page(card.to_html(picture))
    assert set(found.tags) <= ALLOWED
    assert found.tags.count("h1") == 1 and found.tags.count("h2") == len(HEADINGS)
    assert len(found.images) == 1
    assert set(found.cells) <= {2, 3, 4, 5}
    assert len(card.to_description()) <= 5000


@settings(max_examples=60)
@given(st.lists(st.text(), min_size=4, max_size=4), st.text(min_size=1), st.text())
def test_no_text_label_or_note_breaks_the_card(toy_encoder, picture, texts, label, note):
    facts = toy_facts(toy_encoder, "", [], texts, ["京都", label + "?"])
    noted = facts.settings.model_copy(update={"note": note})
    check_harmless(make_card(replace(facts, settings=noted, source=label)), picture)


def test_the_description_is_the_brief_part_and_says_where_the_rest_is(facts_of):
    description = make_card(facts_of()).to_description()
    assert headings(description) == [
        "Result",
        "Classes",
        "Gate",
        "Calibration",
        "Limits",
        "How to load",
        "Data",
        "Protocol",
        "Encoder",
    ]
    assert "![" not in description
    assert description.endswith("`card/card.html` among the artifacts of run 0123456789abcdef.")


def test_what_is_too_long_for_the_description_is_left_out_whole(facts_of):
    many = [f"長い名前のクラス{i:04}" for i in range(400)]
    rows = pd.DataFrame({"text": many, "label": many, "split": "test"})
    report = evaluate(rows, np.eye(len(many)), many)
    card = make_card(facts_of(report=report))
    assert "and 380 more" in card.to_markdown()
    assert "Classes" not in headings(card.to_description())
    assert "Encoder" in headings(card.to_description())
    assert len(card.to_description()) <= 5000


def test_the_way_to_load_it_runs_as_python_and_hides_the_password(facts_of):
    uri = "tracking.uri=postgresql://me:secret@host/mlflow"
    markdown = make_card(facts_of(overrides=[uri, 'tracking.model_name=a"b'])).to_markdown()
    code = re.search(r"```python\n(.*?)\n```", markdown, re.DOTALL).group(1)
    compile(code, "card", "exec")
    assert 'models:/a"b/3' in code
    assert "--set tracking.model_name='a\"b'  # by the champion" in markdown
    assert "secret" not in markdown


def test_the_report_page_has_all_of_it_and_asks_nobody(facts_of):
    from jabert.evaluation.comparison import Flip

    flips = [Flip("飛んだ", "京都", "京都", "グルメ", "wrong")]
    page = report_of(facts_of(), ["3 rows were dropped"], flips)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "default-src 'none'" in page
    font = base64.b64decode(re.search(r"data:font/woff;base64,([^)]+)", page)[1])
    known = TTFont(io.BytesIO(font)).getBestCmap()
    assert {ord(character) for character in "飛京都"} <= set(known) and len(known) < 500
    heads = re.findall(r"<h2>([^<]+)</h2>", page)
    assert heads[:4] == ["Classes", "Confusion matrix", "Mistakes", "Against the champion"]
    assert {"Calibration", "Learning curves", "Data", "Settings", "How to load"} <= set(heads)
    assert set(re.findall(r'href="#([^"]+)"', page)) == set(re.findall(r'<section id="([^"]+)"', page))
    for said in ("3 rows were dropped", "飛んだ", "2 of 4 test rows", "may be chance", "data.path"):
        assert said in page, said
    assert page.index("Promoted: better") < page.index("<h2>"), "the verdict comes first"


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({}, []),
        ({"judged_before": 0}, []),
        ({"gain_low": -0.06, "gain_high": 0.06}, ["may be chance"]),
        ({"gain_low": 0.001, "gain_high": 0.06}, ["is more than chance"]),
        ({"gain_low": -0.2, "gain_high": -0.1}, ["is more than chance"]),
        (
            {"gain_low": 0.003, "gain_high": 0.003, "judged_before": 1},
            ["may be chance", "1 other version was"],
        ),
        ({"judged_before": 1200}, ["1,200 other versions were judged on these test rows before"]),
    ],
)
def test_the_evidence_says_whether_a_gain_is_more_than_chance(verdict, said):
    counts = {"gain": 0.003, "compared_rows": 149, "became_right": 7, "became_wrong": 6}
    found = evidence_of(verdict | counts if "gain_low" in verdict else verdict)
    assert len(found) == len(said) and all(
        part in sentence for part, sentence in zip(said, found, strict=True)
    )


def test_the_report_page_explains_mistakes_piece_by_piece(facts_of):
    pieces = [("京都", True, -0.2), ("の", True, 0.0), ("ラーメン", True, 0.4), ("㋿", False, None)]
    page = report_of(facts_of(), [], explained=[explained_of(*pieces, similar="お寺" * 99)])
    article = re.search(r"<article>(.*?)</article>", page, re.DOTALL)[1]
    spans = re.findall(
        r'<span class="([^"]+)" style="--strength: ([\d.]+)" title="([^"]*)">([^<]+)<', article
    )
    assert spans == [
        ("piece against", "0.30", "-0.200", "京都"),
        ("piece for", "0.00", "+0.000", "の"),
        ("piece for", "0.60", "+0.400", "ラーメン"),
        ("piece for unknown", "0.00", " unknown", "㋿"),
    ]
    for said in ("<b>グルメ</b> with probability 0.900", "for: ラーメン +0.400", "against: 京都 -0.200"):
        assert said in article
    assert "お寺" * 60 + "<" in article, "similar texts are cut"
    assert set(re.findall(r'href="#([^"]+)"', page)) == set(re.findall(r'<section id="([^"]+)"', page))
    assert "<article>" not in report_of(facts_of(), [])


def test_the_markdown_report_names_the_pieces_and_the_likest_text(facts_of):
    pieces = [("京都", True, -0.2), ("の", True, 0.0), ("ラー|メン", True, 0.4), ("㋿", False, None)]
    report = facts_of().report
    page = evaluation_page(report, explained=[explained_of(*pieces), explained_of(("駅", True, 0.1))])
    rows = page.partition("## Surest mistakes, explained")[2].splitlines()[4:]
    assert rows == [
        "| 京都のラー\\|メン㋿ | 京都 | グルメ | 0.900 | ラー\\|メン +0.400 | 京都 -0.200 | お寺 | 京都 |",
        "| 駅 | 京都 | グルメ | 0.900 | 駅 +0.100 |  | お寺 | 京都 |",
    ]
    assert "explained" not in evaluation_page(report)


def test_nothing_hostile_runs_in_the_report_page(facts_of):
    facts = facts_of(texts=[f"{HOSTILE}{n}" for n in range(4)], labels=("</script><b>", HOSTILE))
    mistake = explained_of((HOSTILE, False, 0.1), ('"><script>', True, -0.1), label=HOSTILE, similar=HOSTILE)
    page = report_of(facts, [HOSTILE], explained=[mistake])
    plain = report_of(facts_of(), ["harmless"])
    assert page.count("<script") == plain.count("<script") == 1
    assert "<b></" not in page and "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
