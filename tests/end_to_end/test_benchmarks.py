"""The benchmarks, run as a user runs them, on toy data: they measure what they claim to."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(benchmark, *arguments):
    """The results that a benchmark writes, and what it prints."""
    words = [sys.executable, str(BENCHMARKS / benchmark), *map(str, arguments), "--out", "results"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (written,) = Path("results").iterdir()
    return json.loads(written.read_text(encoding="utf-8")), done.stdout


@pytest.mark.parametrize("only", ["article", "jabert, exact"])
def test_a_contender_is_timed_beside_the_reference_and_gives_its_vectors(toy_table, toy_encoder, only):
    counts = ["--texts", 16, "--slow-texts", 2, "--passes", 1]
    result, printed = run("forward.py", toy_table, toy_encoder, *counts, "--only", only)
    assert result["texts"] == 16
    assert len(result["ways"]) == 2
    for row in result["ways"]:
        assert row["ms"] > 0
        assert row["peak_bytes"] > 1e8
        assert row["smallest_cosine"] > 0.99999
        assert row["way"] in printed


def test_featurization_is_measured_cold_unchanged_and_changed(toy_table, toy_encoder):
    result, printed = run("features.py", toy_table, toy_encoder, "--runs", 1, "--copies", 2)
    computed = {name: (state["computed"], state["reused"]) for name, state in result["states"].items()}
    assert computed == {"cold": (160, 0), "unchanged": (0, 160), "1 % changed": (2, 158)}
    assert [copied["computed"] for copied in result["memory"]] == [320]
    (store,) = (row for row in result["formats"] if row["format"].startswith("jabert's store"))
    assert store["write_mb_per_second"] > 0
    assert "1 % changed" in printed


def test_methods_are_measured_on_the_same_test_rows(toy_table, toy_encoder):
    asked = ["--methods", "majority", "tfidf", "--splits", "sentence", "--seeds", 3, 4, "--recipe", "sample"]
    rows, printed = run("quality.py", toy_table, toy_encoder, *asked, "--set", "data.test_rows=40")
    assert [(row["method"], row["seed"], row["test_rows"]) for row in rows] == [
        ("majority", 3, 40),
        ("tfidf", 3, 40),
        ("majority", 4, 40),
        ("tfidf", 4, 40),
    ]
    found = [row["weighted_f1"] for row in rows if row["method"] == "tfidf"]
    assert min(found) > 0.9, "the toy's topics are told by their words"
    assert f"| tfidf | 0 | {sum(found) / 2:.3f}, " in printed


def test_epochs_of_three_bi_lstms_and_the_reading_of_batches_are_timed(toy_table, toy_encoder):
    result, printed = run("bi_lstm.py", toy_table, toy_encoder, "--rows", 8, "--epochs", 1)
    assert result["rows"] == 8
    assert {name: len(seconds) for name, seconds in result["epochs"].items()} == {
        "article": 1,
        "keras": 1,
        "jabert": 1,
    }
    assert min(result["reading"].values()) > 0
    assert "an epoch of 8 rows" in printed and "read from the store and padded" in printed


def test_ways_to_fine_tune_are_compared_on_the_same_batches(toy_table, toy_encoder):
    sizes = ["--rows", 48, "--steps", 12, "--batch", 8, "--validation-rows", 16, "--recipe", "sample"]
    wanted = ["--all-positions", "--picture", "losses.png"]
    result, printed = run("fine_tuning.py", toy_table, toy_encoder, *sizes, *wanted)
    runs = {each["name"]: each for each in result["runs"]}
    assert {len(each["losses"]) for each in runs.values()} == {12}
    assert runs["base"]["losses"][0] == pytest.approx(math.log(4), abs=1e-4), "it says nothing at first"
    assert runs["softmax layer fitted first"]["losses"][0] < 1
    assert runs["1e-05"]["loss"] > runs["4e-04"]["loss"]
    assert result["masked_positions"]["gradient_difference"] < 1e-2
    alike = result["likeness"]
    assert alike["to all positions"] > alike["no padding"], "what they share drowns what they say"
    assert Path("losses.png").read_bytes().startswith(b"\x89PNG")
    assert all(f"{each['val_weighted_f1']:.3f}" in printed for each in runs.values())
