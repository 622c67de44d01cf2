"""Digests of settings, by which earlier results are found: a release must not change those of yesterday."""

from types import SimpleNamespace

import pytest
import toy_method
from pydantic import Field

from jabert.config import Settings, TrainingSettings, decisive, load_settings
from jabert.experiments.keys import attempt_key, attempt_key_0_1
from jabert.files import write_json

ENCODER = SimpleNamespace(fingerprint="0" * 64)

# Recipe, overrides, digest of the settings, key of the retraining. They may change only with an intended
# change of a recipe; a new setting, or another default of an old one, leaves them as they are.
FIRST = ["method.dropout=0", "training.averaging=0", "data.split_version=1"]
"""First defaults of settings whose defaults are others today."""

STORED = [
    ("", FIRST, "e6f713faf71b61a7155702157118729db72c8b7689cf5bd1a81e2ec3cf9524cb", "f87521ca4dc6983d"),
    ("sample", [], "4354b3b842db7681cca13d87cf36743537e23d9a6eb1cbecc18a724b7c002968", "232d93f8053727d2"),
    ("knbc", [], "5211a82f9742f67c614ffd5c45b5789b587bf0bbdbfa47d0859883007748ffab", "3a4306d58ac04ef5"),
    ("seed", [], "543b79338aa402ae0962b4d22d5282293d093a26cd7caab45153ed112e4f0ed7", "db8a667d322017a0"),
    (
        "jabert-mini",
        FIRST,
        "d38c5fcbd7721906334c292db5f6896e203cd2ab3f1ddb30b3746b99a00f9aff",
        "f87521ca4dc6983d",
    ),
    (
        "mean-pooling",
        [*FIRST[1:], "method.c=0.02", "method.classifier=logistic"],
        "af254b0ba04e8779bbce131076ea2b02129ae88df5a54bc4854dd7c487b56d0c",
        "362634a9ed8a181c",
    ),
    (
        "tfidf",
        [*FIRST[1:], "method.classifier=logistic", "method.longest=4", "method.c=30"],
        "b1be328043720474833b44b88507cd5897bbbbff6176ad670011642af40cfe4d",
        "da504cdd8c183b0a",
    ),
    (
        "knbc",
        ["method.kind=mean-pooling", "method.c=0.02", "method.classifier=logistic", "training.seed=3"],
        "b9b8847b58d8a8f66adb6c06df718b224a8077a85cb6fa6d582b66d8d24407e4",
        "8c3174fc1c1e8973",
    ),
    (
        "",
        ["method.units=64", "method.dropout=0.2", *FIRST[1:]],
        "4c3a522a166c8d204c5abf371a041c936ebde4acb628f1f163b88a53755fc88f",
        "c61f2559d06c8753",
    ),
    (
        "",
        ["classifier.units=64", "classifier.dropout=0.2", *FIRST[1:]],
        "4c3a522a166c8d204c5abf371a041c936ebde4acb628f1f163b88a53755fc88f",
        "c61f2559d06c8753",
    ),
    (
        "knbc",
        ["promotion.min_gain=0.01", "promotion.require_significance=true", "package.max_texts=500"],
        "e8be7a1727045a900ebd2e94aed95bd234d3ca21eb21bba2ff59704b09e11824",
        "1107cd9b89282d3f",
    ),
    (
        "sample",
        ["training.watch=test", "training.monitor=val_loss", "training.averaging=0.5", "training.seed=4"],
        "d5a1e3f588af428f3a5fbfa22e83ef170eae3f4ba45b2feac3846ab869d89db4",
        "f0484b993c6a41f8",
    ),
    (
        "sample",
        ["encoder.max_tokens=32", "encoder.precision=float32", "features.dtype=float32"],
        "a8ee8beeaafb3cdc331c28f301e7b396fcc7b3acf7014b6585b584a8cb3c60cd",
        "be328118c1a9b99d",
    ),
    (
        "",
        ["data.labels=['グルメ', '京都']", "data.split=sentence", "data.test_rows=40", *FIRST],
        "c7b18c98e71c925bc8e8327e9a63d0f5d6f22ce920b3714c8275fc61f2befd8d",
        "63c45042718b129e",
    ),
]


def own_suites(folder):
    """Suites whose content this test knows: that of jabert's may change, and then the keys change with it."""
    for name in ("texts", "pieces"):
        (folder / f"{name}.json").write_text('{"expectations": []}', encoding="utf-8")
    return [f"validation.suite={folder}/texts.json", f"validation.pieces_suite={folder}/pieces.json"]


def key(settings, encoder=ENCODER, data_digest="1" * 64):
    return attempt_key(settings, data_digest, encoder)


@pytest.mark.parametrize(("recipe", "overrides", "digest", "attempt"), STORED)
def test_digests_are_those_of_yesterday(tmp_path, recipe, overrides, digest, attempt):
    settings = load_settings(recipe, [*overrides, *own_suites(tmp_path)])
    encoder = None if settings.method.kind == "tfidf" else ENCODER
    assert (settings.digest(), key(settings, encoder)) == (digest, attempt)


def test_the_settings_of_no_recipe_that_are_not_changed_are_an_empty_digest():
    settings = load_settings(None, FIRST)
    assert decisive(settings, set(type(settings).model_fields) - {"tracking"}) == {}
    changed = decisive(
        load_settings(None, ["method.kind=bi-lstm"]), set(type(settings).model_fields) - {"tracking"}
    )
    assert changed == {"method.dropout": 0.3, "training.averaging": 0.95, "data.split_version": 2}


class NewSetting(TrainingSettings):
    momentum: float = 0.9


class NewDefault(TrainingSettings):
    patience: int = Field(7, json_schema_extra={"neutral": 5})


def test_a_setting_that_a_release_adds_changes_no_digest_until_it_is_set():
    class Newer(Settings):
        training: NewSetting = NewSetting()

    assert Newer().digest() == Settings().digest()
    assert Newer(training=NewSetting(momentum=0.8)).digest() != Settings().digest()


def test_a_default_that_a_release_changes_enters_the_digest_and_the_first_one_does_not():
    class Newer(Settings):
        training: NewDefault = NewDefault()

    assert Newer().digest() != Settings().digest()
    assert Newer(training=NewDefault(patience=5)).digest() == Settings().digest()
    same = Settings(training=TrainingSettings(patience=7))
    assert Newer().digest() == same.digest(), "whoever set it before had the same"


@pytest.mark.parametrize(
    "changed",
    [
        "data.seed=1",
        "encoder.max_tokens=9",
        "features.dtype=float32",
        "method.units=3",
        "training.seed=3",
        "promotion.min_gain=0.1",
        "package.max_texts=3",
    ],
)
def test_a_retraining_is_another_when_a_setting_changes_that_decides_it(changed):
    assert key(load_settings("sample", [changed])) != key(load_settings("sample"))


@pytest.mark.parametrize(
    "changed",
    [
        "data.path=elsewhere.csv",
        "encoder.device=cpu",
        "training.work_path=elsewhere",
        "tracking.model_name=other",
        "serving.max_texts=3",
        "pretraining.steps=3",
        "corpus.licence=CC0",
    ],
)
def test_a_retraining_is_the_same_whatever_else_changes(changed):
    assert key(load_settings("sample", [changed])) == key(load_settings("sample"))


def test_a_retraining_is_another_with_other_data_or_another_encoder_or_method(monkeypatch, toy_table):
    settings = load_settings("sample")
    keys = {key(settings), key(settings, data_digest="2" * 64)}
    keys.add(key(settings, SimpleNamespace(fingerprint="3" * 64)))
    toy_method.install(monkeypatch)
    keys.add(key(load_settings("sample", ["method.kind=toy"]), None))
    assert len(keys) == 4


@pytest.mark.parametrize("changed", ["training.epochs=3", "training.seed=3", "features.dtype=float32"])
def test_what_a_method_does_not_read_is_not_in_its_key(monkeypatch, toy_table, changed):
    toy_method.install(monkeypatch)
    plain, other = toy_method.settings_of(toy_table), toy_method.settings_of(toy_table, changed)
    assert key(other, None) == key(plain, None)


@pytest.mark.parametrize("changed", ["features.layers=2", "method.pooling=attention"])
def test_jabert_0_1_judged_nothing_with_a_setting_that_it_did_not_have(changed):
    assert attempt_key_0_1(load_settings("sample", ["method.kind=bi-lstm"]), "1" * 64, ENCODER)
    other = load_settings("sample", ["method.kind=bi-lstm", changed])
    assert attempt_key_0_1(other, "1" * 64, ENCODER) is None


def test_the_rules_of_a_suite_are_in_the_key_and_neither_its_folder_nor_its_wording(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = (load_settings("sample", own_suites(tmp_path / name)) for name in ("a", "b"))
    before = key(here)
    assert key(there) == before
    rule = {"type": "expect_column_to_exist", "kwargs": {"column": "text"}, "description": "There are texts."}
    write_json(tmp_path / "a" / "texts.json", {"expectations": [rule]})
    assert key(here) != before
    write_json(tmp_path / "b" / "texts.json", {"expectations": [{**rule, "description": "Texts are there."}]})
    assert key(there) == key(here)
