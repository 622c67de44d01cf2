"""The leak guard: which test rows a model has seen, in whatever form."""

import json

import numpy as np
import pandas as pd
import pytest

from jabert.registry.leaks import (
    TrainingDigests,
    is_comparable,
    read_training_digests,
    seen_rows,
    write_training_digests,
)

TABLE = pd.DataFrame(
    {
        "text": ["京都へ", "ＡＢＣ", "電話", "試合", "試合"],
        "label": ["a", "b", "a", "b", "b"],
        "group": ["1", "1", None, "2", "3"],
        "split": ["train", "validation", "train", "test", "test"],
    }
)


def seen(digests, *texts, groups=None):
    rows = pd.DataFrame({"text": list(texts)})
    return seen_rows(digests, rows if groups is None else rows.assign(group=groups)).tolist()


def test_rows_that_taught_or_chose_are_seen_and_test_rows_are_not(tmp_path):
    digests = read_training_digests(write_training_digests(TABLE, "sentence", tmp_path / "digests.json"))
    assert seen(digests, *TABLE["text"]) == [True, True, True, False, False]
    assert (len(digests.rows), digests.groups, digests.by_form) == (3, frozenset(), True)


def test_a_text_is_found_in_another_form(tmp_path):
    digests = read_training_digests(write_training_digests(TABLE, "sentence", tmp_path / "digests.json"))
    assert seen(digests, "ABC", "Ａ\u200bＢＣ", "AB") == [True, True, False]
    assert seen(TrainingDigests(digests.rows, frozenset()), "ABC", "ＡＢＣ") == [True, False], "as it stands"


def test_groups_count_where_the_split_was_by_group(tmp_path):
    digests = read_training_digests(write_training_digests(TABLE, "group", tmp_path / "digests.json"))
    assert seen(digests, "new", "new", "new", "電話", groups=["1", "2", None, "2"]) == [
        True,
        False,
        False,
        True,
    ]
    assert seen(digests, "new", "電話") == [False, True]
    alone = read_training_digests(write_training_digests(TABLE, "sentence", tmp_path / "alone.json"))
    assert seen(alone, "new", groups=["1"]) == [False]
    without = TABLE.drop(columns="group")
    alone = read_training_digests(write_training_digests(without, "group", tmp_path / "without.json"))
    assert alone.groups == frozenset()


def test_no_rows_are_no_error():
    for digests in (None, TrainingDigests(frozenset("a"), frozenset("b"))):
        found = seen_rows(digests, TABLE[:0])
        assert (found.dtype, len(found)) == (np.bool_, 0)


def test_without_digests_all_is_new():
    found = seen_rows(None, TABLE)
    assert found.dtype == np.bool_
    assert found.tolist() == [False] * 5


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"rows": 1, "groups": []}', b"\xff"])
def test_damage_is_an_error(tmp_path, damage):
    (tmp_path / "digests.json").write_bytes(damage)
    with pytest.raises(ValueError, match="validation error"):
        read_training_digests(tmp_path / "digests.json")


def test_digests_of_earlier_versions_are_read(tmp_path):
    written = write_training_digests(TABLE, "sentence", tmp_path / "digests.json")
    earlier = json.loads(written.read_text())
    del earlier["by_form"]
    written.write_text(json.dumps(earlier))
    assert read_training_digests(written).by_form is False


@pytest.mark.parametrize(
    ("unseen", "rows", "enough"),
    [
        (0, 0, False),
        (0, 10, False),
        (1, 2, True),
        (1, 3, False),
        (50, 100, True),
        (49, 100, False),
        (199, 400, False),
        (200, 400, True),
        (200, 100_000, True),
        (199, 100_000, False),
    ],
)
def test_two_hundred_new_rows_or_half_of_them_are_enough(unseen, rows, enough):
    assert is_comparable(unseen, rows) is enough
