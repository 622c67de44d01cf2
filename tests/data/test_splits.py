"""Splits: stable, honest, and refused where the settings ask for what cannot be."""

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

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
SHARES = st.floats(0, 0.9)


def table(texts, groups=None, splits=None):
    columns = {"text": texts, "label": ["a"] * len(texts), "group": groups, "split": splits}
    rows = pd.DataFrame({k: pd.Series(v, dtype="str") for k, v in columns.items() if v is not None})
    return rows.assign(file="data.csv", line=range(2, len(texts) + 2))


def splits(rows, **settings):
    return splits_of(rows, DataSettings(**settings)).tolist()


@given(st.lists(WORDS, min_size=1), st.lists(WORDS), st.integers(0, 2**40), SHARES, SHARES)
def test_rows_added_behind_move_no_sentence(texts, more, seed, test_share, validation_share):
    settings = {"seed": seed, "test_share": test_share, "validation_share": validation_share}
    before = splits(table(texts), **settings)
    assert splits(table(texts + more), **settings)[: len(texts)] == before


@given(
    st.lists(WORDS, min_size=1, unique=True), st.lists(WORDS, min_size=1, unique=True), st.integers(0, 2**40)
)
def test_rows_added_anywhere_move_no_distinct_sentence(texts, more, seed):
    together = sorted({*texts, *more})
    split = dict(zip(together, splits(table(together), seed=seed, test_share=0.4), strict=True))
    assert splits(table(texts), seed=seed, test_share=0.4) == [split[text] for text in texts]


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
    split = rows.assign(split=splits(rows, **settings)).groupby("group")["split"].agg(set)
    for group, drawn in split.items():
        assert drawn == set(splits(table(["ほかの文"], [group]), **settings))


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
    assert " ".join(splits(table(texts), **shares)) == ("train train validation validation test train train")
    assert " ".join(splits(table(texts, list("abcdefg")), **shares)) == (
        "train test train train validation validation test"
    )


def test_copies_of_a_text_are_drawn_one_by_one():
    drawn = splits(table(["同じ"] * 200), test_share=0.5)
    assert 60 < drawn.count("test") < 140


@given(st.lists(WORDS, min_size=2), st.data())
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
