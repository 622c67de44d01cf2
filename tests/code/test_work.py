"""Two runs on the same work wait for each other, and neither takes from the other what it reads."""

import json
import threading
from contextlib import contextmanager

import pandas as pd
import pytest

from jabert.config import load_settings
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.keys import attempt_key
from jabert.methods import encoder_of
from jabert.tracking import Attempt


def test_a_second_run_waits_and_is_not_robbed_of_its_folder_by_the_first(tmp_path):
    attempt = Attempt(tmp_path / "work" / "abc")
    seen, holding, waiting = [], threading.Event(), threading.Event()

    def other():
        holding.wait(10)
        waiting.set()
        with Attempt(attempt.path).exclusive():
            seen.append(sorted(path.name for path in attempt.path.iterdir()))
            attempt.remove()

    thread = threading.Thread(target=other)
    thread.start()
    with attempt.exclusive():
        holding.set()
        assert waiting.wait(10)
        thread.join(0.5)
        assert thread.is_alive() and seen == [], "it must wait"
        attempt.resume("run-1")
        attempt.remove()
    thread.join(10)
    assert seen == [[]], "it has a folder, and nothing of the first run in it"
    assert [path.name for path in (tmp_path / "work").iterdir()] in ([], ["abc.lock"])


def test_whoever_stops_waiting_leaves_nothing(tmp_path, monkeypatch):
    attempt = Attempt(tmp_path / "abc")

    @contextmanager
    def interrupt(*_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("jabert.tracking.attempt.exclusive", interrupt)
    with pytest.raises(KeyboardInterrupt), attempt.exclusive():
        pass

    assert list(tmp_path.iterdir()) == []


def test_the_work_is_another_with_other_rules_for_the_data_and_the_same_with_another_pretraining(
    tmp_path, toy_encoder, toy_table
):
    suite = tmp_path / "own.json"
    suite.write_text('{"expectations": []}', encoding="utf-8")

    def work(*more):
        given = [f"data.path={toy_table}", f"encoder.path={toy_encoder}", f"training.work_path={tmp_path}"]
        settings = load_settings(None, [*given, f"validation.suite={suite}", *more])
        return attempt_key(settings, steps.read(settings).digest, encoder_of(settings))

    before = work()
    assert work("pretraining.steps=7", "corpus.licence=CC0") == before
    assert work("training.seed=7") != before
    rule = {"type": "expect_column_to_exist", "kwargs": {"column": "text"}, "description": "There are texts."}
    suite.write_text(json.dumps({"expectations": [rule]}), encoding="utf-8")
    assert work() != before


def test_a_run_learns_which_run_was_at_the_same_work_before_and_loses_nothing_of_it(tmp_path):
    attempt = Attempt(tmp_path / "abc")
    with attempt.exclusive():
        assert attempt.resume("run-1") is None
        (attempt.path / "logged.json").write_text('"uri"', encoding="utf-8")
        assert attempt.resume("run-2") == "run-1"
        assert (attempt.path / "logged.json").exists()


def test_a_label_that_no_training_row_has_is_named_with_its_row(tmp_path, toy_encoder):
    splits = ["train", "test", "train"]
    rows = pd.DataFrame({"text": ["文0", "文1", "文2"], "label": ["a", "b", "c"], "split": splits})
    rows.assign(file="texts.csv", line=[2, 3, 4]).to_parquet(tmp_path / "table.parquet")
    data = steps.Data(tmp_path, "key", "", "", "", "texts.csv", "given", {}, "")
    own = [f"encoder.path={toy_encoder}", "training.watch=test", "method.kind=bi-lstm"]
    settings = load_settings(None, own)
    with pytest.raises(JabertError, match=r"texts\.csv, line 3: no training row has the label 'b'"):
        steps.fit(settings, data, None, "test", on_epoch=lambda _: None)
