"""`jabert init`: a recipe for a table that nobody has described."""

import json

import pandas as pd
import pytest
import toy

from jabert.cli import main
from jabert.config import load_settings
from jabert.dataset import read_corpus
from jabert.dataset.suggesting import suggest_recipe
from jabert.errors import JabertError


@pytest.fixture
def table(tmp_path):
    """Write a table of toy rows under other names of columns; gives its path."""

    def write(name="reviews.csv", encoding="utf-8", **more):
        rows = toy.toy_rows()
        rows = rows.rename(columns={"text": "ご意見", "label": "分類", "group": "記事"}).assign(
            番号=range(len(rows)), 都市="東京", **more
        )
        path = tmp_path / name
        if name.endswith(".jsonl"):
            path.write_text(rows.to_json(orient="records", lines=True, force_ascii=False), encoding="utf-8")
        elif name.endswith(".parquet"):
            rows.assign(いつ=pd.Timestamp("2026-01-01")).to_parquet(path)
        else:
            rows.to_csv(path, index=False, encoding=encoding)
        return path

    return write


@pytest.fixture
def init(capsys):
    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(["init", *map(str, words)])
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl", "reviews.parquet"])
def test_a_recipe_finds_columns_classes_and_groups_and_can_be_used(table, init, tmp_path, name):
    path, recipe = table(name, encoding="cp932"), tmp_path / "recipes" / "mine.toml"
    recipe.parent.mkdir()
    code, out, err = init(path, "--out", recipe)
    assert (code, err) == (0, "")
    assert out.endswith(f"jabert validate --recipe {recipe}\n")
    data = load_settings(recipe).data
    assert (data.path, data.text_column, data.label_column) == (str(path), "ご意見", "分類")
    assert data.group_column == "記事"
    text = recipe.read_text(encoding="utf-8")
    assert f'path = "../{name}"' in text
    assert "4 classes" in text and "京都 40" in text
    assert "# not read: 番号, 都市" in text
    corpus = read_corpus(data)
    assert f"{corpus.counts['test']:,} rows, which choose nothing" in text
    assert init(path, "--out", recipe)[2] == f"jabert: {recipe} is there already; name another file\n"


def test_without_a_file_the_recipe_is_printed_and_paths_are_of_here(table, init, tmp_path, monkeypatch):
    path = table()
    monkeypatch.chdir(tmp_path)
    code, out, _ = init(path)
    assert code == 0 and 'path = "reviews.csv"' in out and "jabert retrain --recipe recipe.toml" in out
    (tmp_path / "recipe.toml").write_text(out, encoding="utf-8")
    assert load_settings("recipe.toml").method.kind == "tfidf"


def test_a_split_that_the_table_says_is_taken(table, tmp_path):
    path = table(side=["train"] * 100 + ["dev"] * 30 + ["test"] * 30)
    text = suggest_recipe(str(path), "r.toml")
    assert 'split_column = "side" # train, dev, test' in text and "test_share" not in text
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    assert read_corpus(load_settings(tmp_path / "r.toml").data).split_by == "given"


def test_small_classes_are_pointed_at_and_shares_suit_the_size(tmp_path):
    rows = [(f"文{n}の例", "a" if n % 2 else "b") for n in range(60)] + [("珍しい", "c"), ("まれな", "c")]
    path = tmp_path / "t.csv"
    pd.DataFrame(rows, columns=["t", "l"]).to_csv(path, index=False)
    text = suggest_recipe(str(path), "r.toml")
    assert "1 have fewer than 10 texts" in text
    assert "test_share = 0.2 " in text


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"text": ["あ", "い", "う"], "id": ["1", "2", "3"]}, "no column looks like labels"),
        ({"text": ["あ", "あ"]}, "no column holds texts that differ"),
    ],
)
def test_a_table_without_labels_or_texts_is_refused(tmp_path, rows, sentence):
    path = tmp_path / "t.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    with pytest.raises(JabertError, match=sentence):
        suggest_recipe(str(path), "r.toml")


def test_what_stands_in_a_table_cannot_leave_its_comment(tmp_path):
    hostile = 'x"\n[promotion]\nfloor = 0\x1b[2J'
    rows = {'te"xt\n': [f"文{n}" * 20 for n in range(40)], "label": ["a", hostile] * 20, hostile: ["y"] * 40}
    path = tmp_path / "t.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    text = suggest_recipe(str(path), "r.toml")
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    settings = load_settings(tmp_path / "r.toml")
    assert settings.promotion == load_settings().promotion and settings.data.text_column == 'te"xt\n'
    assert "\x1b" not in text


def test_the_settings_are_listed_for_people_and_programs(capsys):
    for words in (["settings", "serving"], ["settings", "serving", "--json"]):
        with pytest.raises(SystemExit):
            main(words)
    shown, listed = capsys.readouterr().out.split("[", 1)
    assert "serving.max_texts" in shown and "data.path" not in shown
    assert {each["setting"].partition(".")[0] for each in json.loads("[" + listed)} == {"serving"}
