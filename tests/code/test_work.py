"""Two runs on the same work wait for each other, and each sees its own table whole."""

import threading
from contextlib import contextmanager

import pandas as pd
import pytest

from jabert.config import load_settings
from jabert.encoder import TokenIds, TokenizedTexts
from jabert.errors import JabertError
from jabert.experiments import retraining
from jabert.experiments.work import Work


def table(labels, split="train"):
    rows = {"text": [f"文{i}" for i in range(len(labels))], "label": labels, "split": split}
    return pd.DataFrame(rows).assign(file="texts.csv", line=range(2, len(labels) + 2))


def test_a_second_run_waits_and_is_not_robbed_of_its_table_by_the_first(tmp_path):
    work = Work(tmp_path / "work" / "abc")
    first, second = work.stage_table(table(["a"])), work.stage_table(table(["b", "b"]))
    seen, holding, waiting = [], threading.Event(), threading.Event()

    def other():
        holding.wait(10)
        waiting.set()
        with Work(work.path).exclusive(second):
            seen.append(len(work.read_table()))
            work.remove()

    thread = threading.Thread(target=other)
    thread.start()
    with work.exclusive(first):
        holding.set()
        assert waiting.wait(10)
        thread.join(0.5)
        assert thread.is_alive() and seen == [], "it must wait"
        assert len(work.read_table()) == 1
        work.remove()
    thread.join(10)
    assert seen == [2]
    assert [path.name for path in (tmp_path / "work").iterdir()] in ([], ["abc.lock"])


def test_whoever_stops_waiting_leaves_no_table(tmp_path, monkeypatch):
    work = Work(tmp_path / "work" / "abc")

    @contextmanager
    def interrupt(*_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("jabert.experiments.work.exclusive", interrupt)
    with pytest.raises(KeyboardInterrupt), work.exclusive(work.stage_table(table(["a"]))):
        pass

    assert list((tmp_path / "work").iterdir()) == []


def test_the_work_is_another_with_other_rules_for_the_data_and_the_same_with_another_pretraining(
    tmp_path, toy_encoder, toy_table
):
    suite = tmp_path / "own.json"
    suite.write_text('{"expectations": []}', encoding="utf-8")

    def work(*more):
        given = [f"data.path={toy_table}", f"encoder.path={toy_encoder}", f"training.work_path={tmp_path}"]
        return retraining.read(load_settings(None, [*given, f"validation.suite={suite}", *more])).work

    before = work()
    assert work("pretraining.steps=7", "corpus.licence=CC0") == before
    assert work("training.seed=7") != before
    suite.write_text('{"expectations": [ ]}', encoding="utf-8")
    assert work() != before


def test_work_that_a_run_has_taken_over_is_not_removed_by_the_way(tmp_path):
    work = Work(tmp_path / "abc")
    with work.exclusive(work.stage_table(table(["a"]))):
        assert work.take_over("run-1") is None
        assert work.take_over("run-2") == "run-1"
        work.remove_unless_taken()
        assert work.read_table()["label"].tolist() == ["a"]


def test_a_label_that_no_training_row_has_is_named_with_its_row(tmp_path):
    work = Work(tmp_path / "abc")
    rows = table(["a", "b"]).assign(split=["train", "test"])
    ids = TokenIds.of([[4, 5], [4, 5]])
    with work.exclusive(work.stage_table(rows)):
        work.write_tokens(TokenizedTexts(ids, *[pd.Series([2, 2], dtype="int32").to_numpy()] * 3))
        with pytest.raises(JabertError, match=r"texts\.csv line 3: no training row has the label 'b'"):
            work.labelled_rows()
