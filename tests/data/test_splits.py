"""Splits: stable, honest, by class, and refused where the settings ask for what cannot be."""

import unicodedata
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.config import DataSettings
from jabert.dataset import read_corpus
from jabert.dataset.splits import resolve_split, shuffled, splits_of
from jabert.errors import JabertError
from jabert.texts import in_reading_form

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
SHARES = st.floats(0, 0.9)


def table(texts, groups=None, splits=None):
    columns = {"text": texts, "label": ["a"] * len(texts), "group": groups, "split": splits}
    rows = pd.DataFrame({k: pd.Series(v, dtype="str") for k, v in columns.items() if v is not None})
    return rows.assign(file="data.csv", line=range(2, len(texts) + 2))


def splits(rows, **settings):
    return splits_of(rows, DataSettings(**settings)).tolist()


def first_splits(rows, **settings):
    """Those of version 1, where each unit is drawn by itself."""
    return splits(rows, split_version=1, **settings)


@given(st.lists(WORDS, min_size=1), st.lists(WORDS), st.integers(0, 2**40), SHARES, SHARES)
def test_rows_added_behind_move_no_sentence(texts, more, seed, test_share, validation_share):
    settings = {"seed": seed, "test_share": test_share, "validation_share": validation_share}
    before = first_splits(table(texts), **settings)
    assert first_splits(table(texts + more), **settings)[: len(texts)] == before


@given(
    st.lists(WORDS, min_size=1, unique=True), st.lists(WORDS, min_size=1, unique=True), st.integers(0, 2**40)
)
def test_rows_added_anywhere_move_no_distinct_sentence(texts, more, seed):
    together = sorted({*texts, *more})
    split = dict(zip(together, first_splits(table(together), seed=seed, test_share=0.4), strict=True))
    assert first_splits(table(texts), seed=seed, test_share=0.4) == [split[text] for text in texts]


@given(st.lists(st.tuples(WORDS, WORDS.filter(bool)), min_size=1), st.randoms(), st.integers(0, 2**40))
def test_the_order_of_rows_is_irrelevant(pairs, random, seed):
    shuffled = random.sample(pairs, len(pairs))
    for split in ("sentence", "group"):
        first, second = (
            Counter(
                zip(
                    (text if split == "sentence" else group for text, group in rows),
                    splits(table(*zip(*rows, strict=True)), split=split, seed=seed, test_share=0.4),
                    strict=True,
                )
            )
            for rows in (pairs, shuffled)
        )
        assert first == second


@given(
    st.lists(st.tuples(WORDS, st.integers(0, 9).map(str)), min_size=1), st.integers(0, 2**40), SHARES, SHARES
)
def test_no_group_is_in_two_splits_and_none_ever_moves(pairs, seed, test_share, validation_share):
    settings = {"seed": seed, "test_share": test_share, "validation_share": validation_share}
    rows = table(*zip(*pairs, strict=True))
    split = rows.assign(split=first_splits(rows, **settings)).groupby("group")["split"].agg(set)
    for group, drawn in split.items():
        assert drawn == set(first_splits(table(["ほかの文"], [group]), **settings))


def test_shares_are_about_right_on_many_groups():
    groups = [f"記事{n}" for n in range(5000)]
    share = Counter(splits(table(groups, groups), test_share=0.2, validation_share=0.25))
    assert share["test"] / 5000 == pytest.approx(0.2, abs=0.02)
    assert share["validation"] / 5000 == pytest.approx(0.2, abs=0.02)  # a quarter of what is left


def test_another_seed_is_another_split():
    texts = [f"文{n}" for n in range(200)]
    assert splits(table(texts), seed=1) != splits(table(texts), seed=2)


def test_texts_and_groups_of_the_same_name_are_drawn_apart():
    names = [f"{n}" for n in range(200)]
    assert splits(table(names), split="sentence") != splits(table(names, names), split="group")


def test_validation_takes_nothing_from_test():
    texts = [f"文{n}" for n in range(500)]
    with_validation = splits(table(texts), test_share=0.3, validation_share=0.9)
    without = splits(table(texts), test_share=0.3, validation_share=0)
    assert set(without) == {"train", "test"}
    assert [split == "test" for split in with_validation] == [split == "test" for split in without]


def test_the_split_is_the_same_for_ever():
    """A changed digest would move rows of data that has been split before."""
    texts = ["誕生日割りなど", "うまい", "😀", "", "うまい", "京都", "サッカー"]
    shares = {"test_share": 0.3, "validation_share": 0.5}
    assert " ".join(first_splits(table(texts), **shares)) == (
        "train train validation validation test train train"
    )
    assert " ".join(first_splits(table(texts, list("abcdefg")), **shares)) == (
        "train test train train validation validation test"
    )


def test_copies_of_a_text_are_drawn_one_by_one():
    drawn = first_splits(table(["同じ"] * 200), test_share=0.5)
    assert 60 < drawn.count("test") < 140
    assert len(set(splits(table(["同じ"] * 200), test_share=0.5))) == 1, "not in version 2"


@given(st.lists(WORDS, min_size=2, unique_by=in_reading_form), st.data())
def test_an_exact_number_of_test_rows(texts, data):
    wanted = data.draw(st.integers(1, len(texts) - 1))
    assert splits(table(texts), test_rows=wanted).count("test") == wanted


def test_exact_test_rows_contain_those_of_a_smaller_number():
    texts = [f"文{n}" for n in range(50)]
    few, many = (np.array(splits(table(texts), test_rows=n)) == "test" for n in (7, 20))
    assert (few <= many).all()


@pytest.mark.parametrize("wanted", [3, 4])
def test_test_rows_must_leave_a_row(wanted):
    with pytest.raises(JabertError, match=rf"data\.test_rows is {wanted}, but there are 3 rows"):
        splits(table(["a", "b", "c"]), test_rows=wanted)


@pytest.mark.parametrize("rows", [table(["a", "b"], ["g", "h"]), table(["a", "b"], splits=["train", "test"])])
def test_test_rows_is_for_sentence_splits_only(rows):
    with pytest.raises(JabertError, match=r"data\.test_rows needs data\.split = 'sentence'"):
        splits(rows, test_rows=1)


def test_auto_prefers_given_to_group_to_sentence():
    def resolved(rows):
        return resolve_split(rows, DataSettings())

    assert resolved(table(["a"], ["g"], ["train"])) == "given"
    assert resolved(table(["a"], ["g"])) == "group"
    assert resolved(table(["a"])) == "sentence"


def test_given_splits_are_kept_when_they_name_validation_rows():
    given_splits = ["train", "validation", "test"] * 20
    rows = table([f"{n}" for n in range(60)], splits=given_splits)
    assert splits(rows, validation_share=0.5) == given_splits


@pytest.mark.parametrize("groups", [None, [f"g{n // 10}" for n in range(300)]])
def test_given_train_rows_yield_validation_rows_by_digest(groups):
    given_splits = ["train", "train", "test"] * 100
    rows = table([f"{n % 150}" for n in range(300)], groups, given_splits)
    drawn = pd.Series(splits(rows, validation_share=0.4))
    assert (drawn.eq("test") == rows["split"].eq("test")).all()
    assert 20 < drawn.eq("validation").sum() < 160
    unit = rows["group"] if groups else rows["text"]
    assert drawn[drawn != "test"].groupby(unit).nunique().max() == 1
    assert splits(rows, validation_share=0) == given_splits


@pytest.mark.parametrize(("value", "named"), [("dev", "'dev'"), (None, "nothing")])
def test_a_given_split_of_another_name_is_refused_by_line(value, named):
    with pytest.raises(JabertError, match=rf"data\.csv, line 3: the split is {named}"):
        splits(table(["a", "b"], splits=["train", value]))


def test_given_needs_splits():
    with pytest.raises(JabertError, match=r"data\.split is 'given', but"):
        splits(table(["a"]), split="given")


def test_group_needs_groups():
    with pytest.raises(JabertError, match=r"data\.split is 'group'.*data\.group_column"):
        splits(table(["a"]), split="group")


def test_a_row_without_group_is_refused_by_line():
    with pytest.raises(JabertError, match=r"data\.csv, line 4: the row has no group"):
        splits(table(["a", "b", "c"], ["g", "h", None]))


def test_blank_and_null_texts_are_given_a_split_for_validation_to_refuse():
    assert len(splits(table(["", None, "a", None]), split="sentence")) == 4


@pytest.mark.shared
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_article_of_knbc_is_in_two_splits(shared, seed):
    corpus = read_corpus(DataSettings(path=str(shared / "data/knbc"), seed=seed))
    assert corpus.split_by == "group"
    assert corpus.table.groupby("group")["split"].nunique().max() == 1
    assert set(corpus.table["split"]) == {"train", "validation", "test"}


@pytest.mark.shared
def test_the_articles_own_sizes(shared):
    settings = DataSettings(
        path=str(shared / "data/knbc"),
        split="sentence",
        test_rows=419,
        strip_topic_tag=False,
        drop_duplicates=False,
    )
    counts = read_corpus(settings).counts
    assert counts["train"] + counts["validation"] == 3767
    assert counts["test"] == 419


def test_rows_of_a_sentence_split_lose_the_order_of_their_classes():
    rows = table([f"{topic}{i}" for topic in "ab" for i in range(100)])
    mixed = shuffled(rows, DataSettings(split="sentence"))
    assert sorted(mixed["text"]) == sorted(rows["text"])
    assert 30 < sum(text.startswith("a") for text in mixed["text"][:100]) < 70
    assert shuffled(rows, DataSettings(split="sentence")).equals(mixed)
    assert not shuffled(rows, DataSettings(split="sentence", seed=1)).equals(mixed)


def test_rows_of_other_splits_keep_their_order():
    rows = table(["b", "a", "c"], groups=["1", "2", "3"])
    assert shuffled(rows, DataSettings(split="group")).equals(rows)


# Version 2: by class


def classes(sizes, prefix="", groups=None):
    """A table with so many texts of each class; with groups, so many texts each."""
    rows = [(f"{prefix}{label}の文{n}", label, n) for label, size in sizes.items() for n in range(size)]
    texts, labels, numbers = zip(*rows, strict=True)
    names = groups and [f"{prefix}{label}{n // groups}" for label, n in zip(labels, numbers, strict=True)]
    return table(texts, names).assign(label=list(labels))


def shares_of(rows, **settings):
    """The rows of each split by class."""
    return pd.crosstab(rows["label"], pd.Series(splits(rows, **settings))).to_dict("index")


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(4, 60), min_size=2),
    st.integers(0, 2**40),
    st.floats(0.05, 0.3),
    st.floats(0.05, 0.3),
)
def test_each_split_has_its_share_of_each_class(sizes, seed, test_share, validation_share):
    rows = classes(sizes)
    found = shares_of(rows, seed=seed, test_share=test_share, validation_share=validation_share)
    for label, size in sizes.items():
        test, validation = (found[label].get(split, 0) for split in ("test", "validation"))
        assert max(1, int(size * test_share / 2)) <= test <= max(1, size * test_share * 1.5)
        rest = size - test
        assert max(1, int(rest * validation_share / 2)) <= validation <= max(1, rest * validation_share * 1.5)
        assert found[label]["train"] >= 2


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_classes_of_ten_texts_are_divided(seed):
    found = shares_of(classes({f"{n:02}": 10 for n in range(100)}), seed=seed)
    assert list(found.values()) == [{"test": 1, "validation": 1, "train": 8}] * 100


def test_a_class_of_few_texts_has_training_rows_before_all():
    found = [shares_of(classes({"多": 100, "少": size}))["少"] for size in (1, 2, 3)]
    assert [each["train"] for each in found] == [1, 1, 1]
    assert found[2] == {"test": 1, "validation": 1, "train": 1}


@given(st.randoms(), st.integers(0, 2**40))
def test_the_order_of_rows_is_irrelevant_to_classes_too(random, seed):
    rows = classes({"a": 30, "b": 7, "c": 4, "d": 3})
    mixed = rows.sample(frac=1, random_state=random.randrange(2**30))
    again = splits_of(mixed, DataSettings(seed=seed))
    assert splits_of(rows, DataSettings(seed=seed)).equals(again.reindex(rows.index))


@pytest.mark.parametrize("seed", range(5))
def test_growth_moves_no_text_of_a_large_class_and_few_of_small_ones(seed):
    sizes = {"大": 500, "中": 200, **{f"小{n}": 12 for n in range(20)}}
    rows = classes(sizes)
    more = pd.concat([rows, classes({label: size // 4 for label, size in sizes.items()}, "新しい")])
    before = pd.Series(splits(rows, seed=seed))
    moved = before.ne(pd.Series(splits(more.reset_index(drop=True), seed=seed))[: len(rows)])
    small = rows["label"].str.startswith("小")
    assert not moved[~small].any()
    assert moved[small].mean() < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_groups_are_divided_by_class_and_never_torn(seed):
    sizes = {"京都": 91 * 10, "スポーツ": 22 * 10, "グルメ": 4 * 10}
    rows = classes(sizes, groups=10)
    found = rows.assign(split=splits(rows, seed=seed))
    assert found.groupby("group")["split"].nunique().max() == 1
    assert set(found.groupby("label")["split"].nunique()) == {3}
    groups = found.drop_duplicates("group").query("label == 'スポーツ'")["split"].value_counts()
    assert 1 <= groups["test"] <= 3
    assert 1 <= groups["validation"] <= 3


@given(
    st.lists(st.tuples(WORDS.filter(bool), st.integers(0, 5).map(str), st.sampled_from("abc")), min_size=1),
    st.integers(0, 99),
)
def test_groups_of_several_labels_stay_whole(found, seed):
    texts, groups, labels = zip(*found, strict=True)
    rows = table(texts, groups).assign(label=labels)
    drawn = rows.assign(split=splits(rows, seed=seed))
    assert drawn.groupby("group")["split"].nunique().max() == 1


WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})


@given(st.lists(WORDS, min_size=1), st.integers(0, 2**40), SHARES)
def test_twins_are_in_one_split(texts, seed, share):
    twins = [
        *(unicodedata.normalize("NFD", text) for text in texts),
        *(text.translate(WIDE) for text in texts),
        *(f"\u200b{text}\ufe0f " for text in texts),
    ]
    found = splits(table([*texts, *twins]), seed=seed, test_share=share, validation_share=share)
    assert found[len(texts) :] == found[: len(texts)] * 3


def test_an_exact_number_of_test_rows_is_of_all_classes():
    found = shares_of(classes({"a": 100, "b": 40, "c": 10}), test_rows=15)
    assert [found[label]["test"] for label in "abc"] == [10, 4, 1]


def test_an_exact_number_of_test_rows_divides_no_copies():
    with pytest.raises(JabertError, match=r"data\.test_rows = 3 would divide.*data\.drop_duplicates = true"):
        splits(table(["同じ"] * 8), test_rows=3)
    assert Counter(splits(table(["同じ"] * 2 + ["a", "b", "c"]), test_rows=3))["test"] == 3


def test_twins_are_dropped_as_duplicates_and_said(tmp_path):
    path = tmp_path / "twins.csv"
    lines = ["text,label", "ＡＢＣを買う,a", "ABCを買う,a", "カ\u3099ス,b", "ガス,a", "別の文,b", "別の文,b"]
    path.write_text("\n".join(lines), encoding="utf-8")
    corpus = read_corpus(DataSettings(path=str(path)))
    counts = {name: corpus.counts[name] for name in ("duplicates", "twins", "conflicting_texts")}
    assert counts == {"duplicates": 2, "twins": 1, "conflicting_texts": 1}
    assert set(corpus.table["text"]) == {"ＡＢＣを買う", "別の文"}
    assert corpus.conflicts["text"].tolist() == ["カ\u3099ス", "ガス"]
    told = " ".join(corpus.notes)
    assert (
        "2 rows repeat an earlier text, 1 of them in another width or composition, and were left out" in told
    )
    assert "2 rows have one of 1 texts under two or more labels" in told
    before = read_corpus(DataSettings(path=str(path), split_version=1))
    assert (before.counts["rows"], before.counts["twins"]) == (5, 0)


@pytest.mark.shared
@pytest.mark.parametrize("seed", range(3))
def test_knbc_and_many_classes_need_no_recipe(shared, seed):
    for path in ("data/knbc", "cases/many_classes.csv"):
        table = read_corpus(DataSettings(path=str(shared / path), seed=seed)).table
        assert set(table.groupby("label")["split"].nunique()) == {3}


@pytest.mark.shared
def test_no_twin_of_the_known_ones_is_in_two_splits(shared):
    path = str(shared / "cases/width_twins.csv")
    for more in ({}, {"drop_duplicates": False}):
        table = read_corpus(DataSettings(path=path, **more)).table
        assert table.groupby(table["text"].map(in_reading_form))["split"].nunique().max() == 1
    assert "in two splits in another width" in " ".join(
        read_corpus(DataSettings(path=path, split_version=1)).notes
    )
