"""The packaged suites on small tables, each with one thing wrong, and suites of a user's own."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from jabert.config import Settings, load_settings
from jabert.errors import JabertError
from jabert.validation import Finding, ValidationReport, check_pieces, check_texts, find_suite

SUITES = Path(__file__).resolve().parents[2] / "expectations"
SPLITS = {"train": 12, "validation": 6, "test": 6}


def good_table(labels: tuple[str, ...] = ("グルメ", "京都")) -> pd.DataFrame:
    """Rows enough in every split: no expectation has anything to say."""
    rows = [
        {"text": f"{label}について{split}の{n}番目の文", "label": label, "split": split}
        for label in labels
        for split, count in SPLITS.items()
        for n in range(count)
    ]
    table = pd.DataFrame(rows).astype("str")
    table["group"] = table["label"] + table["split"]
    return table.assign(file="文.csv", line=range(2, len(table) + 2))


def good_pieces() -> pd.DataFrame:
    table = good_table().drop(columns=["label", "group"])
    return table.assign(pieces=12, unknown=0, truncated=False)


def changed(table: pd.DataFrame, row: int, **values: object) -> pd.DataFrame:
    table = table.copy()
    for column, value in values.items():
        table.loc[row, column] = value
    return table


def settings_of(suite: str, *more: str) -> Settings:
    return load_settings(overrides=[f"validation.suite={suite}", *more])


def check(
    table: pd.DataFrame, folder: Path, suite: str = "labelled_texts", split_by: str = "group"
) -> ValidationReport:
    return check_texts(table, settings_of(suite), split_by, folder)


def only_finding(report: ValidationReport, severity: str) -> Finding:
    (finding,) = (finding for finding in report.findings if finding.severity == severity)
    return finding


def own_suite(tmp_path: Path, *expectations: object) -> str:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"expectations": expectations}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("suite", ["labelled_texts", "seed"])
def test_good_texts_have_no_findings(tmp_path: Path, suite: str) -> None:
    report = check(good_table(), tmp_path, suite)
    assert report.findings == ()
    assert report.success
    assert report.evaluated == len(json.loads(find_suite(suite).read_bytes())["expectations"])
    report.raise_if_critical()


def test_emoji_widths_controls_and_very_long_texts_are_good_input(tmp_path: Path) -> None:
    table = good_table()
    for row, text in enumerate(["😀", "ｱｲｳ ＡＢＣ", "制御\x07文字\x00", "長" * 100_000, "'引用'|縦棒"]):
        table = changed(table, row, text=text)
    report = check(table, tmp_path)
    assert report.success
    assert only_finding(report, "warning").column == "characters"
    assert (tmp_path / "result.json").stat().st_size < 100_000


@pytest.mark.parametrize(
    ("values", "expectation", "column", "place"),
    [
        ({"text": None}, "expect_column_values_to_not_be_null", "text", "no text (グルメ)"),
        ({"label": None}, "expect_column_values_to_not_be_null", "label", "の2番目の文' (no label)"),
        ({"text": ""}, "expect_column_values_to_be_between", "visible_characters", "'' (グルメ)"),
        ({"text": "\u3164"}, "expect_column_values_to_be_between", "visible_characters", "(グルメ)"),
        (
            {"text": " \u3000\t\u200b"},
            "expect_column_values_to_be_between",
            "visible_characters",
            r"' \u3000",
        ),
    ],
)
def test_missing_and_blank_values_are_critical(
    tmp_path: Path, values: dict[str, object], expectation: str, column: str, place: str
) -> None:
    report = check(changed(good_table(), 2, **values), tmp_path)
    finding = only_finding(report, "critical")
    assert (finding.expectation, finding.column, finding.rows) == (expectation, column, 1)
    with pytest.raises(JabertError) as error:
        report.raise_if_critical()
    message = str(error.value)
    assert expectation in message
    assert "文.csv line 4: " in message
    assert place in message
    assert "\n" not in message


@pytest.mark.parametrize("blank", ["\u3000", "\u200b", "\t"])
def test_a_blank_label_is_critical(tmp_path: Path, blank: str) -> None:
    table = good_table()
    report = check(table.assign(label=table["label"].replace("グルメ", blank)), tmp_path)
    (finding,) = (each for each in report.findings if each.column == "visible_label_characters")
    assert (finding.severity, finding.rows) == ("critical", 24)


@pytest.mark.parametrize("other", ["グルメ ", "ｸﾞﾙﾒ", unicodedata.normalize("NFD", "グルメ")])
def test_a_label_in_two_spellings_is_a_warning(tmp_path: Path, other: str) -> None:
    table = good_table()
    half = (table["label"] == "グルメ") & (table.groupby(["label", "split"]).cumcount() % 2 == 0)
    report = check(table.assign(label=table["label"].where(~half, other)), tmp_path)
    assert report.success
    (finding,) = (each for each in report.findings if each.column == "label_spellings")
    assert (finding.severity, finding.rows) == ("warning", 24)


@pytest.mark.parametrize("label", ["京\x1b]52;c;\x07都", "京\t都", "京都\x9b", "\x7f京都"])
def test_a_label_with_a_control_character_is_critical(tmp_path: Path, label: str) -> None:
    report = check(good_table(("グルメ", label)), tmp_path)
    finding = only_finding(report, "critical")
    assert (finding.column, finding.rows) == ("label_controls", 24)
    with pytest.raises(JabertError, match="No label holds a control character"):
        report.raise_if_critical()


@pytest.mark.parametrize(
    ("label", "column"),
    [("京\n都", "label_lines"), ("京\u2028都", "label_lines"), ("京" * 201, "label_characters")],
)
def test_a_label_of_lines_or_of_many_characters_is_a_warning(tmp_path: Path, label: str, column: str) -> None:
    report = check(good_table(("グルメ", label)), tmp_path)
    assert [finding.column for finding in report.findings] == [column]
    assert report.success and only_finding(report, "warning").rows == 24


def test_texts_that_are_numbers_are_critical(tmp_path: Path) -> None:
    report = check(good_table().assign(text=range(48)), tmp_path)
    finding = only_finding(report, "critical")
    assert (finding.expectation, finding.column) == ("expect_column_values_to_be_of_type", "text")
    assert finding.observed == "int64"


def test_a_test_label_unseen_in_training_is_critical(tmp_path: Path) -> None:
    table = good_table()
    row = table.index[table["split"] == "test"][0]
    report = check(changed(table, row, label="スポーツ"), tmp_path)
    first = report.findings[0]
    assert (first.expectation, first.column) == ("expect_column_values_to_be_in_set", "label")
    with pytest.raises(JabertError, match=rf"文\.csv line {row + 2}: .*\(スポーツ\)"):
        report.raise_if_critical()


def test_labels_are_held_to_the_declared_ones(tmp_path: Path) -> None:
    settings = settings_of("labelled_texts", 'data.labels=["グルメ", "旅"]')
    findings = check_texts(good_table(), settings, "group", tmp_path).findings
    assert [(finding.severity, finding.expectation, finding.rows) for finding in findings] == [
        ("critical", "expect_column_values_to_be_in_set", 24),
        ("warning", "expect_column_distinct_values_to_contain_set", 0),
    ]
    assert findings[0].examples[0].endswith("(京都)")
    assert findings[1].observed == "none of 旅"


def test_one_class_only_is_critical(tmp_path: Path) -> None:
    report = check(good_table(labels=("京都",)), tmp_path)
    finding = only_finding(report, "critical")
    assert finding.expectation == "expect_column_unique_value_count_to_be_between"
    assert (finding.column, finding.observed, finding.rows) == ("label", "1", 0)
    with pytest.raises(JabertError, match=r"at least two classes.*, found 1"):
        report.raise_if_critical()


def test_a_class_with_a_single_row_is_critical(tmp_path: Path) -> None:
    report = check(changed(good_table(), 3, label="スポーツ"), tmp_path)
    assert report.findings[0].column == "class_rows_train"
    with pytest.raises(JabertError, match=r"at least two training rows.*文\.csv line 5: .*\(スポーツ\)"):
        report.raise_if_critical()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_class_absent_from_a_split_is_critical(tmp_path: Path, split: str) -> None:
    table = good_table()
    table = table[~((table["label"] == "京都") & (table["split"] == split))]
    finding = only_finding(check(table, tmp_path), "critical")
    assert (finding.column, finding.rows) == (f"class_rows_{split}", 18)


def test_a_split_without_rows_is_critical_unless_it_is_not_needed(tmp_path: Path) -> None:
    table = good_table().query("split != 'validation'")
    finding = only_finding(check(table, tmp_path / "needed"), "critical")
    assert (finding.column, finding.observed) == ("split", "none of validation")
    settings = settings_of("seed", "training.watch=test")
    assert check_texts(table, settings, "sentence", tmp_path / "not").findings == ()


def test_an_empty_table_is_critical(tmp_path: Path) -> None:
    assert not check(good_table().head(0), tmp_path).success


def test_few_rows_and_small_classes_are_reported_but_do_not_stop(tmp_path: Path) -> None:
    small = good_table(("スポーツ",)).groupby("split").head(2)
    report = check(pd.concat([good_table(tuple("京都市左岸区東西南北")), small]), tmp_path)
    report.raise_if_critical()
    assert [(finding.severity, finding.column, finding.rows) for finding in report.findings] == [
        ("warning", "class_rows_train", 6),
        ("warning", "class_rows_validation", 6),
        ("warning", "class_rows_test", 6),
        ("info", "class_share", 6),
    ]


def test_one_class_with_nearly_all_rows_is_a_warning(tmp_path: Path) -> None:
    many = pd.concat([good_table(("京都",))] * 12, ignore_index=True)
    many = many.assign(text=many["text"] + many.index.astype("str"))
    report = check(pd.concat([many, good_table(("グルメ",))]), tmp_path)
    assert report.success
    assert (only_finding(report, "warning").column, only_finding(report, "warning").rows) == (
        "class_share",
        288,
    )


def test_a_text_in_two_splits_is_critical_but_a_warning_in_the_seed_suite(tmp_path: Path) -> None:
    table = good_table()
    table = changed(table, 12, text=table.loc[0, "text"])
    strict, seed = check(table, tmp_path / "a"), check(table, tmp_path / "b", "seed", "sentence")
    assert only_finding(strict, "critical").column == "text_sides"
    assert only_finding(seed, "warning").column == "text_sides"
    assert only_finding(seed, "warning").rows == 2
    assert seed.success


def test_a_group_in_two_splits_is_critical_only_where_the_split_is_by_group(tmp_path: Path) -> None:
    table = changed(good_table(), 12, group=good_table().loc[0, "group"])
    by_group = check(table, tmp_path / "a", split_by="group")
    by_sentence = check(table, tmp_path / "b", split_by="sentence")
    seed = check(table, tmp_path / "c", "seed", "sentence")
    assert only_finding(by_group, "critical").column == "group_sides"
    assert by_sentence.findings == ()
    assert by_sentence.evaluated == by_group.evaluated - 1
    assert only_finding(seed, "warning").column == "group_sides"


def test_groups_may_be_absent(tmp_path: Path) -> None:
    assert check(good_table().drop(columns="group"), tmp_path).findings == ()


def test_a_text_under_two_labels_and_a_topic_tag_are_warnings(tmp_path: Path) -> None:
    table = changed(good_table(), 0, text="［グルメ］うどんを食べた")
    table = changed(table, 1, text="誕生日割りなど")
    table = changed(table, 24, text="誕生日割りなど")
    report = check(table, tmp_path)
    assert [(finding.severity, finding.column) for finding in report.findings] == [
        ("warning", "text_labels"),
        ("warning", "excerpt"),
    ]
    assert report.findings[1].examples == ("文.csv line 2: '［グルメ］うどんを食べた' (グルメ)",)


def test_pages_and_json_are_written_also_when_the_data_fail_and_when_run_again(tmp_path: Path) -> None:
    bad = changed(good_table(), 2, text="\u3000")
    for table in (bad, good_table(), bad):
        report = check(table, tmp_path / "run")
        recorded = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
        assert (recorded["success"], recorded["evaluated"]) == (report.success, report.evaluated)
        assert len(recorded["findings"]) == len(report.findings)
        assert (tmp_path / "run" / "data_docs" / "index.html").is_file()
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert len(pages) == 3  # those of earlier runs are gone
    assert "文.csv line 4" in pages[report.page]
    assert not [path for path, page in pages.items() if str(tmp_path) in page or "file://" in page]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_the_pages_run_nothing_ask_nobody_and_lead_to_each_other(tmp_path: Path) -> None:
    weights = {"values": ["京都", "グルメ"], "weights": [0.9, 0.1]}
    kwargs = {"column": "label", "partition_object": weights, "threshold": 0.1}
    drawn = {"type": "expect_column_kl_divergence_to_be_less_than", "kwargs": kwargs, "severity": "warning"}
    suite = tmp_path / "own.suite.json"
    suite.write_text(json.dumps({"expectations": [drawn]}), encoding="utf-8")
    report = check(good_table(("京都", "グルメ")), tmp_path / "run", str(suite))
    docs = tmp_path / "run" / "data_docs"
    pages = {path: path.read_text(encoding="utf-8") for path in docs.rglob("*") if path.is_file()}
    assert len(pages) == 3 and report.page in pages
    for path, page in pages.items():
        assert "<script" not in page and "http" not in page.replace("http-equiv", "")
        assert "content=\"default-src 'none'" in page
        links = [link for link in re.findall(r'href="([^"#]+)"', page) if not link.startswith("data:")]
        assert links, path
        for link in links:
            assert (path.parent / unquote(link)).resolve() in pages, (path, link)
    assert re.search(r"<td>京都</td><td>0.9</td>", pages[report.page]), "a picture as its numbers"


def test_html_in_a_text_is_shown_not_run(tmp_path: Path) -> None:
    report = check(changed(good_table(), 2, text="［旅］<script>1 & '2'</script>"), tmp_path)
    assert report.findings[0].examples == ("文.csv line 4: \"［旅］<script>1 & '2'</script>\" (グルメ)",)
    page = report.page.read_text(encoding="utf-8")
    assert "<script>1" not in page
    assert "&lt;script&gt;1 &amp; " in page


def test_result_json_stays_small_when_every_row_fails(tmp_path: Path) -> None:
    tables = [good_table().assign(text=f"［旅］{n}", line=n) for n in range(100)]
    report = check(pd.concat(tables), tmp_path)
    finding = next(finding for finding in report.findings if finding.column == "excerpt")
    assert (finding.rows, len(finding.examples)) == (4800, 5)
    assert (tmp_path / "result.json").stat().st_size < 100_000


def test_nothing_is_shown_and_nothing_written_elsewhere(tmp_path: Path) -> None:
    good_table().to_parquet(tmp_path / "table.parquet")
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    code = (
        "import pandas as pd; from pathlib import Path; from jabert.config import Settings;"
        "from jabert.validation import check_texts;"
        f"folder = Path({str(tmp_path)!r});"
        "check_texts(pd.read_parquet(folder / 'table.parquet'), Settings(), 'group', folder / 'report')"
    )
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(SUITES.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "here", env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")
    assert list((tmp_path / "home").iterdir()) == list((tmp_path / "here").iterdir()) == []
    assert (tmp_path / "report" / "data_docs" / "index.html").is_file()


def test_packaged_suites_hold_no_ids_and_a_run_leaves_them_alone(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in SUITES.iterdir() if path.is_file()}
    assert [path.stem for path in sorted(before) if path.suffix == ".json"] == [
        "labelled_texts",
        "pieces",
        "seed",
    ]
    for name in ("labelled_texts", "seed"):
        check(good_table(), tmp_path / name, name)
    check_pieces(good_pieces(), Settings(), tmp_path / "pieces")
    assert {path: path.read_bytes() for path in SUITES.iterdir() if path.is_file()} == before
    for path in before:
        if path.suffix == ".json":
            suite = json.loads(path.read_bytes())
            assert not [entry for entry in [suite, *suite["expectations"]] if "id" in entry]
            assert all(entry["description"] and entry["severity"] for entry in suite["expectations"])


def test_the_suite_of_the_article_differs_in_what_is_only_warned_about() -> None:
    """Leaks are warned about, that of groups in every way to split; all else is as in `labelled_texts`."""
    usual, article = (
        {
            (entry["type"], entry["kwargs"]["column"], entry["description"]): entry
            for entry in json.loads((SUITES / f"{name}.json").read_bytes())["expectations"]
        }
        for name in ("labelled_texts", "seed")
    )
    assert list(article) == list(usual)
    different = {key[1]: (usual[key], entry) for key, entry in article.items() if entry != usual[key]}
    assert sorted(different) == ["group_sides", "text_sides"]
    for before, after in different.values():
        assert (before["severity"], after["severity"]) == ("critical", "warning")
        assert {**before, "severity": "warning", "meta": {}} == {"meta": {}, **after}
    assert [before.get("meta") for before, _ in different.values()] == [None, {"when": "group"}]


def test_the_page_is_named_even_if_another_process_has_removed_it(tmp_path: Path) -> None:
    report = ValidationReport(tmp_path / "own.json", True, 0, (), tmp_path)
    assert report.page == tmp_path / "data_docs" / "index.html"


def test_the_readme_names_every_column_and_parameter_of_the_suites() -> None:
    readme = (SUITES / "README.md").read_text(encoding="utf-8")
    for path in SUITES.glob("*.json"):
        for entry in json.loads(path.read_bytes())["expectations"]:
            values = entry["kwargs"].get("value_set")
            names = [entry["kwargs"]["column"], *(values.values() if isinstance(values, dict) else [])]
            assert not [name for name in names if f"`{name}`" not in readme]


def test_good_pieces_have_no_findings(tmp_path: Path) -> None:
    assert check_pieces(good_pieces(), Settings(), tmp_path).findings == ()


@pytest.mark.parametrize(
    ("texts", "unknown", "severities"),
    [(4, 1, []), (5, 1, ["warning"]), (48, 2, ["warning"]), (48, 3, ["critical", "warning"])],
)
def test_the_rate_of_unknown_pieces_decides(
    tmp_path: Path, texts: int, unknown: int, severities: list[str]
) -> None:
    """Of 48 texts with ten ordinary pieces each, `texts` have `unknown` unknown ones."""
    pieces = good_pieces()
    pieces = pieces.assign(unknown=unknown * (pieces.index < texts))
    findings = check_pieces(pieces, Settings(), tmp_path).findings
    assert [(finding.severity, finding.column) for finding in findings] == [
        (severity, "unknown_rate") for severity in severities
    ]
    for finding in findings:
        assert float(finding.observed) == pytest.approx(texts * unknown / 480)


def test_cut_texts_are_counted_and_more_than_a_few_are_a_warning(tmp_path: Path) -> None:
    pieces = pd.concat([good_pieces()] * 3, ignore_index=True)
    one = check_pieces(changed(pieces, 5, truncated=True), Settings(), tmp_path)
    assert [(f.severity, f.column, f.rows) for f in one.findings] == [("info", "truncated", 1)]
    assert one.findings[0].examples[0].startswith("文.csv line 7: '")
    more = check_pieces(pieces.assign(truncated=pieces.index % 10 == 0), Settings(), tmp_path)
    assert [(f.severity, f.rows) for f in more.findings] == [("warning", 15), ("info", 15)]


def test_texts_without_a_known_piece_are_reported(tmp_path: Path) -> None:
    pieces = changed(changed(good_pieces(), 0, pieces=2), 1, pieces=3, unknown=1)
    report = check_pieces(pieces, Settings(), tmp_path)
    assert {(f.severity, f.column, f.rows) for f in report.findings} >= {
        ("warning", "pieces", 1),
        ("info", "unknown_share", 1),
    }


def test_markdown_is_a_line_and_a_table_that_no_text_can_break(tmp_path: Path) -> None:
    table = changed(good_table(), 0, text="縦棒|と\n改行", split="test")
    table = changed(table, 1, text="縦棒|と\n改行", label="京都")
    lines = check(table, tmp_path).to_markdown().splitlines()
    assert lines[0] == "Suite labelled_texts failed: 3 of 27 expectations not met, 2 critical."
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == len(lines) - 2
    assert {row.replace("\\|", "").count("|") for row in rows} == {8}
    fine = check(good_table(), tmp_path).to_markdown()
    assert fine == "Suite labelled_texts passed: all 27 expectations are met.\n"


def test_a_suite_of_ones_own_with_ids_runs_by_path(tmp_path: Path) -> None:
    suite = own_suite(
        tmp_path,
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "characters", "min_value": 99},
         "severity": "info", "id": "0c2f5d4e-0000-4000-8000-000000000000"},
    )  # fmt: skip
    before = Path(suite).read_bytes()
    report = check(good_table(), tmp_path / "report", suite)
    assert (report.suite, report.success, report.evaluated) == ("own", True, 1)
    assert report.findings[0].meaning == "expect column values to be between"
    assert Path(suite).read_bytes() == before


@pytest.mark.parametrize(
    ("expectation", "sentence"),
    [
        ({"type": "expect_colum_to_exist"},
         "expect_colum_to_exist is not an expectation; the nearest is 'expect_column_to_exist'"),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "txt"}},
         "expect_column_values_to_not_be_null names the unknown column 'txt'; the nearest is 'text'"),
        ({"type": "expect_column_values_to_be_in_set",
          "kwargs": {"column": "label", "value_set": {"$PARAMETER": "lables"}}},
         "unknown parameter 'lables'; the nearest is 'labels'"),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}, "severity": "error"},
         "expect_column_values_to_not_be_null: Invalid severity 'error'"),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"colum": "text"}},
         "expect_column_values_to_not_be_null: column: field required; colum: extra"),
        ({"type": "expect_column_to_exist", "kwargs": {"column": "text"}, "meta": {"when": "groups"}},
         "expect_column_to_exist has the unknown 'when' 'groups'; the nearest is 'group'"),
        ({"type": "expect_column_values_to_match_regex", "kwargs": {"column": "text", "regex": "("}},
         "expect_column_values_to_match_regex could not be evaluated: .*"),
        ({"type": "expect_column_mean_to_be_between", "kwargs": {"column": "label", "max_value": 1}},
         "expect_column_mean_to_be_between could not be evaluated: .*"),
        ({"kwargs": {}}, "has no list 'expectations', each with a 'type'"),
        ("expect_column_to_exist", "has no list 'expectations', each with a 'type'"),
    ],
)  # fmt: skip
def test_a_suite_that_cannot_be_run_is_refused_in_one_sentence(
    tmp_path: Path, expectation: object, sentence: str
) -> None:
    suite = own_suite(tmp_path, expectation)
    with pytest.raises(JabertError, match=sentence) as error:
        check(good_table(), tmp_path / "report", suite)
    assert suite in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "cannot be read as JSON: .*line 1 column 2"),
        (b"\x80", "cannot be read as JSON"),
        (b"[]", "has no list 'expectations'"),
        (b"{}", "has no list 'expectations'"),
        (b'{"expectations": 3}', "has no list 'expectations'"),
    ],
)
def test_a_file_that_is_not_a_suite_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(content)
    with pytest.raises(JabertError, match=rf"own\.json {fault}"):
        check(good_table(), tmp_path / "report", str(path))


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(JabertError, match=r"'labeled_text' is neither a file .* nearest is 'labelled_texts'"):
        find_suite("labeled_text")
    assert find_suite("pieces").name == "pieces.json"
    with pytest.raises(JabertError, match="~nobody-here/x: there is no such home folder"):
        find_suite("~nobody-here/x")


# Conditions on rows


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ('col("label")=="グルメ"', 24),
        ("col(\"label\") != '京都'", 24),
        ('col("label") == "it\'s"', 0),
        ('col("characters") < -1.5e1', 0),
        ('col("group").notnull()', 48),
    ],
)
def test_a_condition_in_words_chooses_rows_in_any_script(tmp_path: Path, condition: str, rows: int) -> None:
    never = {"column": "characters", "min_value": 1000, "row_condition": condition}
    entry = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {**never, "condition_parser": "great_expectations"},
    }
    found = check(good_table(), tmp_path, own_suite(tmp_path, entry)).findings
    assert sum(finding.rows for finding in found) == rows


def test_a_condition_of_pandas_chooses_rows(tmp_path: Path) -> None:
    kwargs = {"column": "characters", "min_value": 1000, "row_condition": "label == 'グルメ' and line > 4"}
    entry = {"type": "expect_column_values_to_be_between", "kwargs": {**kwargs, "condition_parser": "pandas"}}
    assert only_finding(check(good_table(), tmp_path, own_suite(tmp_path, entry)), "critical").rows == 21


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        (
            'label="グルメ"',
            r"row_condition 'label=.*cannot be read; forms that work are 'col\(\"label\"\) == ",
        ),
        ('col("label") == グルメ', "cannot be read; forms that work"),
        ('col("ラベル") == "グルメ"', "unknown column 'ラベル'; "),
    ],
)
def test_a_condition_that_cannot_be_read_names_the_suite_and_what_can(
    tmp_path: Path, condition: str, fault: str
) -> None:
    kwargs = {"column": "text", "row_condition": condition, "condition_parser": "great_expectations"}
    suite = own_suite(tmp_path, {"type": "expect_column_values_to_not_be_null", "kwargs": kwargs})
    with pytest.raises(JabertError, match=fault) as refused:
        check(good_table(), tmp_path, suite)
    assert f"validation suite {suite}: " in str(refused.value)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["suite_row_condition", "suite_row_condition_pandas"])
def test_the_known_suites_with_a_condition_work(shared: Path, tmp_path: Path, name: str) -> None:
    report = check(good_table(), tmp_path, str(shared / f"cases/{name}.json"))
    assert (report.success, report.evaluated) == (True, 2)


# What can be done about a class that a split lacks


@pytest.mark.parametrize(
    ("split_by", "settings", "remedy"),
    [
        ("given", [], "give rows of each class another split in the column 'split'"),
        ("group", [], "three splits need three groups of a class, but 'グルメ' has 2: add some"),
        ("sentence", [], "try larger shares .data.test_share, data.validation_share., another data.seed, or"),
        ("sentence", ["data.split_version=1"], "try data.split_version = 2, larger shares"),
    ],
)
def test_a_class_that_a_split_lacks_is_refused_with_the_remedy(
    tmp_path: Path, split_by: str, settings: list[str], remedy: str
) -> None:
    table = good_table()
    table = table[(table["label"] != "グルメ") | (table["split"] != "test")]
    report = check_texts(table, settings_of("labelled_texts", *settings), split_by, tmp_path)
    with pytest.raises(JabertError, match=remedy):
        report.raise_if_critical()


def test_twins_in_two_splits_are_critical_in_version_2_of_the_splits(tmp_path: Path) -> None:
    table = changed(good_table(), 0, text="ＡＢＣを買う")
    table = changed(table, table.index[table["split"] == "test"][0], text="ABCを買う")
    assert not check(table, tmp_path).success
    first = settings_of("labelled_texts", "data.split_version=1")
    assert check_texts(table, first, "group", tmp_path).success


def test_warnings_are_short_sentences(tmp_path: Path) -> None:
    report = check(changed(good_table(), 0, label="グルメ "), tmp_path)
    (told,) = [warning for warning in report.warnings() if "spellings" in warning]
    assert told.startswith("not met: No label has several spellings")
    assert told.endswith(": 24 rows, the first 文.csv line 2: 'グルメについてtrainの0番目の文' (グルメ )")


def test_long_texts_and_labels_are_shortened_wherever_a_row_is_named(tmp_path: Path) -> None:
    table = changed(good_table(), 0, text="長" * 1_000_000, label="名" * 9_000)
    report = check(table, tmp_path)
    assert len(report.findings) > 1
    assert max(len(example) for finding in report.findings for example in finding.examples) < 300
    report = check(changed(good_table(), 0, text="長" * 1_000_000), tmp_path)
    assert report.success and "none of them critical" in report.outcome
