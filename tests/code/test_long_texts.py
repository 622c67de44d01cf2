"""Texts that are longer than the encoder takes: what is kept of them, and that all parts agree on it."""

import json
import logging
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import toy
import toy_champion
from hypothesis import given
from hypothesis import strategies as st

import jabert
from jabert import estimates
from jabert.config import DataSettings, EncoderSettings, load_settings
from jabert.encoder import TokenIds, Tokenizer, load_encoder, may_be_long, open_folder
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.keys import attempt_key, attempt_key_0_1, kept_of
from jabert.experiments.packaging import build_package, open_package
from jabert.experiments.recording import record_tokens
from jabert.features import featurize, open_store, row_keys
from jabert.methods import method_of
from jabert.registry import open_registry
from jabert.runtime.text_classifier import windows_of
from jabert.scoring.champion import Champion
from jabert.training.rows import StoredVectors

KEEP = ["head", "tail", "head-tail", "windows"]
CLS, SEP = 4, 5
LONG = ["".join(toy.SENTENCES[start : start + 4]) for start in range(0, 40, 4)]


# What is kept


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 9), st.data())
def test_windows_overlap_and_hold_all_pieces_up_to_their_number(pieces, room, most, data):
    overlap = data.draw(st.integers(0, room - 1))
    text = list(range(pieces))

    windows = windows_of(text, room, "windows", most, overlap)

    assert 1 <= len(windows) <= most
    assert all(len(window) == room for window in windows[:-1]) and len(windows[-1]) <= room
    held = windows[0][:]
    for before, window in pairwise(windows):
        assert window[:overlap] == before[len(before) - overlap :]
        assert len(window) > overlap, "every window adds something"
        held += window[overlap:]
    assert held == text[: len(held)]
    assert held == text or len(windows) == most
    if pieces <= room:
        assert windows == [text]


@given(st.integers(0, 60), st.integers(1, 20), st.sampled_from(["head", "tail", "head-tail"]))
def test_what_is_one_row_has_all_that_fits(pieces, room, keep):
    text = list(range(pieces))
    (kept,) = windows_of(text, room, keep, 5, 0)
    assert len(kept) == min(pieces, room) and kept == sorted(set(kept))
    first = {"head": room, "tail": 0, "head-tail": room - room // 2}[keep]
    if pieces > room:
        assert kept == text[:first] + text[pieces - room + first :]


def tokenizer_of(encoder, keep="windows", windows=8, **settings):
    data = DataSettings(long_texts=keep, windows=windows)
    return Tokenizer(open_folder(encoder), EncoderSettings(**settings), data)


@given(st.text("京都電話のお寺を歩いた。", max_size=80), st.integers(3, 12), st.integers(1, 4))
def test_what_is_cut_is_counted(toy_encoder, text, max_tokens, most):
    for keep in KEEP:
        tokenizer = tokenizer_of(toy_encoder, keep, most, max_tokens=max_tokens)
        found = tokenizer([text])
        whole = tokenizer_of(toy_encoder, max_tokens=64)
        pieces, room = len(tokenizer.encode([text])[0]), max_tokens - 2
        assert found.pieces[0] == pieces + 2 == whole([text]).pieces[0]
        kept = room + (most - 1) * (room - tokenizer.overlap) if keep == "windows" else room
        assert found.cut[0] == max(0, pieces - kept)
        assert found.truncated[0] == (found.cut[0] > 0)


def test_each_window_has_a_frame_and_a_row_of_its_own(toy_encoder):
    tokenizer = tokenizer_of(toy_encoder, max_tokens=12)
    ids = tokenizer([*LONG[:2], "電話"]).ids

    rows = ids.divided(12)

    assert len(ids) == 3 and len(rows) == ids.windows(12).sum() > 3
    assert ids.windows(12)[2] == 1
    assert all((row[0], row[-1]) == (CLS, SEP) and SEP not in row[1:-1] for row in rows)
    assert rows.lengths[: ids.windows(12)[0] - 1].tolist() == [12] * (ids.windows(12)[0] - 1)
    assert np.array_equal(rows.flat, ids.flat)
    pieces = tokenizer.encode(LONG[:1])[0]
    assert tokenizer.overlap == 1
    assert rows[1][1:3].tolist() == pieces[9:11], "the last piece of the window before comes again"


def test_padded_windows_are_as_long_as_the_padding(toy_encoder):
    ids = tokenizer_of(toy_encoder, max_tokens=10, pad_to=12)(LONG).ids
    rows = ids.divided(12)
    assert set(rows.lengths.tolist()) == {12}
    assert all(row[0] == CLS for row in rows)


def test_texts_without_ids_are_no_fewer_rows():
    assert TokenIds.of([[], [1, 2, 3], []]).divided(2).lengths.tolist() == [0, 2, 1, 0]


# From the settings to the registered model


def settings_of(table, encoder, *more):
    return load_settings(
        None,
        [
            *(each for each in toy.quick_settings(table, encoder) if not each.startswith("method.")),
            "encoder.device=cpu",
            "encoder.precision=float32",
            "encoder.max_tokens=12",
            *more,
        ],
    )


@pytest.fixture
def long_table(tmp_path):
    """Texts of four sentences of one topic, so that all are longer than 12 tokens."""
    table = toy.toy_rows().groupby("group", as_index=False)
    table = table.agg(text=("text", "".join), label=("label", "first"))
    path = tmp_path / "long.csv"
    table.to_csv(path, index=False)
    return path


def fitted(settings):
    data = steps.read(settings)
    tokens = steps.tokenize(settings, data)
    steps.featurize(settings, tokens)
    return data, tokens, steps.fit(settings, data, tokens, "test", on_epoch=lambda epoch: None)


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize(
    "method", [["method.kind=mean-pooling"], ["method.units=8", "method.positions=7"]], ids=["mean", "lstm"]
)
def test_what_is_served_is_what_was_learned(long_table, toy_encoder, tmp_path, method, keep):
    settings = settings_of(long_table, toy_encoder, f"data.long_texts={keep}", *method)
    data, tokens, fit = fitted(settings)
    rows = steps.rows_of(settings, data, tokens, ["test"])
    assert rows.ids.lengths.min() > 7

    predicted = method_of(settings).predict(fit.job, rows)

    classifier = open_package(build_package(fit.job, tmp_path / "package"))
    served = classifier.classify(list(rows.texts))
    assert predicted == pytest.approx(served, abs=2e-3), "float16 vectors are stored"
    (member,) = classifier.members
    for text, ids in zip(rows.texts, rows.ids, strict=True):
        assert member.token_ids(text).tolist() == ids.tolist()
    alone = np.concatenate([classifier.classify([text]) for text in rows.texts])
    assert alone == pytest.approx(served, abs=1e-5)


def test_the_end_of_a_very_long_text_is_found_by_the_model(long_table, toy_encoder, tmp_path):
    text = "今日は雨。" * 30_000 + "鴨川のほとりを散歩した。"
    for keep in ("tail", "head-tail"):
        settings = settings_of(long_table, toy_encoder, f"data.long_texts={keep}", "method.kind=mean-pooling")
        *_, fit = fitted(settings)
        (member,) = open_package(build_package(fit.job, tmp_path / keep)).members
        expected = tokenizer_of(toy_encoder, keep, max_tokens=12)([text]).ids[0]
        assert member.token_ids(text).tolist() == expected.tolist()


def test_a_model_made_before_long_texts_had_a_choice_keeps_the_head(long_table, toy_encoder, tmp_path):
    settings = settings_of(long_table, toy_encoder, "data.long_texts=tail", "method.kind=mean-pooling")
    *_, fit = fitted(settings)
    (member,) = open_package(build_package(fit.job, tmp_path / "package")).members
    for name in ("long_texts", "windows", "overlap"):
        del member._habits[name]
    expected = tokenizer_of(toy_encoder, "head", max_tokens=12)(LONG).ids
    assert [member.token_ids(text).tolist() for text in LONG] == [ids.tolist() for ids in expected]


def test_the_vectors_of_a_text_are_those_of_its_windows(long_table, toy_encoder):
    settings = settings_of(long_table, toy_encoder, "data.long_texts=windows", "method.kind=mean-pooling")
    data, tokens, _ = fitted(settings)
    rows = steps.rows_of(settings, data, tokens, ["train"])
    encoder = load_encoder(open_folder(toy_encoder), settings.encoder)

    windows = rows.ids[1:2].divided(12)

    expected = np.concatenate([encoder(TokenIds.of([window])) for window in windows])
    stored = rows.stored_vectors()
    assert len(windows) > 1 and stored.lengths[1] == len(expected)
    np.testing.assert_allclose(stored.read(1), expected, atol=2e-3, rtol=2e-3)
    padded = stored.take(np.array([1, 0])).padded(np.array([1, 0]))
    np.testing.assert_array_equal(padded[1][: len(expected)], stored.read(1))
    (direct,) = jabert.token_vectors(rows.ids[1:2], open_folder(toy_encoder), settings)
    np.testing.assert_allclose(direct, expected, atol=1e-5)


def test_a_shortened_text_has_means_of_its_neighbours(long_table, toy_encoder):
    settings = settings_of(long_table, toy_encoder, "data.long_texts=windows", "method.kind=mean-pooling")
    data, tokens, _ = fitted(settings)
    stored = steps.rows_of(settings, data, tokens, ["train"]).stored_vectors()

    short = stored.shortened(10)

    assert short.lengths.max() <= 10 < stored.lengths.max()
    for number in (int(stored.lengths.argmax()), int(stored.lengths.argmin())):
        vectors = stored.read(number).astype(np.float64)
        size = -(-len(vectors) // 10)
        means = [vectors[start : start + size].mean(axis=0) for start in range(0, len(vectors), size)]
        np.testing.assert_allclose(short.read(number), means, rtol=1e-3, atol=1e-3)
        assert short.lengths[number] == len(means)
    same = stored.shortened(int(stored.lengths.max()))
    np.testing.assert_array_equal(same.read(0), stored.read(0))
    np.testing.assert_array_equal(short.take(np.array([3])).read(0), short.read(3))


def test_a_featurization_counts_texts_and_a_lost_window_is_missed(toy_encoder, tmp_path):
    settings = load_settings(
        None, [f"features.path={tmp_path}/features", "encoder.device=cpu", "encoder.max_tokens=12"]
    )
    folder = open_folder(toy_encoder)
    ids = tokenizer_of(toy_encoder, max_tokens=12)(LONG).ids

    first = featurize(ids[:6], folder, settings)
    then = featurize(ids, folder, settings)

    assert (first.texts, first.computed, first.reused) == (6, 6, 0)
    assert (then.texts, then.computed, then.reused) == (10, 4, 6)
    store = open_store(folder, settings)
    assert len(store) == len(np.unique(row_keys(ids.divided(12)), axis=0))
    assert len(StoredVectors.find(store, ids, 12)) == 10
    other = TokenIds.of([np.append(ids[0], [CLS, 7, 8, SEP])])
    with pytest.raises(JabertError, match=r"lacks \d of \d rows"):
        StoredVectors.find(store, other, 12)


def test_a_table_is_scored_from_the_windows_in_the_store(toy_encoder, tmp_path):
    more = ["encoder.max_tokens=12", "data.long_texts=windows"]
    own = toy_champion.settings_in(tmp_path, toy_encoder, *more)
    version = toy_champion.make_champion(tmp_path, own)
    champion = Champion(open_registry(own), version, own)
    texts, folder = [*LONG, "電話"], open_folder(toy_encoder)
    faults = [None] * len(texts)
    expected = open_registry(own).load_champion().predict(pd.DataFrame({"text": texts}))

    computed, none = champion.answer(champion.prepare(texts, faults), faults, [None] * len(texts))
    ids = Tokenizer(folder, own.encoder, own.data)(texts).ids
    rows = ids.divided(12)
    featurize(ids[:3], folder, own)
    featurize(rows[int(ids.windows(12)[:3].sum()) :][:1], folder, own)  # the first window of the fourth
    champion = Champion(open_registry(own), version, own)
    found, reused = champion.answer(champion.prepare(texts, faults), faults, [None] * len(texts))

    assert (none, reused) == (0, 3), "one whose windows are not all there is computed"
    for answers in (computed, found):
        assert answers["label"].to_pylist() == expected["label"].tolist()
        np.testing.assert_allclose(answers["score"].to_pylist(), expected["score"], atol=1e-4)


@pytest.mark.parametrize(
    ("kept", "windows"), [("head", 1), ("tail", 1), ("head-tail", 1), ("windows", 1), ("windows", 3)]
)
def test_the_registered_model_knows_what_it_cuts(toy_encoder, tmp_path, kept, windows):
    more = ["encoder.max_tokens=12", f"data.long_texts={kept}", f"data.windows={windows}"]
    own = toy_champion.settings_in(tmp_path, toy_encoder, *more)
    model = open_package(toy_champion.make_package(tmp_path, own))
    texts = [("京都のお寺を歩いた。" * 9)[:length] for length in range(1, 80)] + ["電話" * 5000, "㍻" * 5]
    expected = Tokenizer(open_folder(toy_encoder), own.encoder, own.data)(texts).truncated
    assert model.cut(texts) == expected.tolist()
    assert 0 < expected.sum() < len(texts)


# What is told


class Recorded:
    def __init__(self):
        self.found = {}

    def metrics(self, values):
        self.found |= values

    params = metrics


def test_what_was_cut_is_told_everywhere(long_table, toy_encoder, caplog):
    settings = settings_of(long_table, toy_encoder, "data.long_texts=head", "method.kind=mean-pooling")
    data, run = steps.read(settings), Recorded()

    with caplog.at_level(logging.WARNING, "jabert"):
        tokens = steps.tokenize(settings, data)
        record_tokens(data, tokens, run)

    assert tokens.truncated == 40 and tokens.cut == tokens.pieces - 40 * 12 > 0
    assert run.found["pieces/truncated_texts"] == 40
    assert run.found["pieces/cut_share"] == pytest.approx(tokens.cut / tokens.pieces)
    share = f"{tokens.cut / tokens.pieces:.1%} of all pieces"
    assert f"40 of 40 texts are longer than the encoder takes and were cut, by {share}" in caplog.text
    assert f"40 texts cut, by {tokens.cut:,} pieces" in tokens.to_markdown()


def test_texts_that_the_encoder_cannot_tell_apart_are_counted_across_splits(toy_encoder, tmp_path):
    rows = [
        ("SNSの電話", "train"),
        ("snsの電話", "test"),
        ("電話の料金", "validation"),
        ("京都のお寺", "test"),
    ]
    table = pd.DataFrame(rows, columns=["text", "split"]).assign(label=[*"abab"])
    table.to_csv(tmp_path / "split.csv", index=False)
    settings = settings_of(tmp_path / "split.csv", toy_encoder, "method.kind=mean-pooling")
    data = steps.read(settings)
    assert data.indistinct(steps.tokenize(settings, data)) == [
        "1 test texts have the token ids of a training text; to the encoder they are the same"
    ]


def test_in_windows_only_what_lies_beyond_the_last_is_cut(long_table, toy_encoder, caplog):
    all_of_it = settings_of(long_table, toy_encoder, "method.kind=mean-pooling")  # the default
    data = steps.read(all_of_it)
    assert steps.tokenize(all_of_it, data).truncated == 0
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    two = settings_of(long_table, toy_encoder, "data.windows=2", "method.kind=mean-pooling")
    tokens = steps.tokenize(two, data)
    assert tokens.tokenized.cut.tolist() == np.maximum(tokens.tokenized.pieces - 2 - 19, 0).tolist()
    assert tokens.truncated == (tokens.tokenized.cut > 0).sum() > 0


def test_tokens_found_from_before_cuts_were_counted_are_counted(long_table, toy_encoder):
    settings = settings_of(long_table, toy_encoder, "data.long_texts=head", "method.kind=mean-pooling")
    tokens = steps.tokenize(settings, steps.read(settings))
    cut, file = tokens.cut, tokens.folder / "tokens.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["cut"]), file)
    del tokens.__dict__["tokenized"], tokens.__dict__["cut"]
    assert tokens.cut == cut > 0


@pytest.mark.parametrize("keep", KEEP)
def test_keys_are_yesterdays_unless_long_texts_are_not(long_table, toy_table, toy_encoder, keep):
    encoder = open_folder(toy_encoder)

    def keys(table, *more):
        settings = settings_of(table, toy_encoder, "method.kind=mean-pooling", *more)
        data = steps.read(settings)
        kept = kept_of(data.table["text"], settings, encoder)
        attempt = attempt_key(settings, data.digest, encoder, kept)
        return data.key, steps.tokenize(settings, data).key, attempt

    before, now = (keys(long_table, f"data.long_texts={name}") for name in ("head", keep))
    assert now[0] == before[0], "the texts are not read again"
    assert (now[1] == before[1], now[2] == before[2]) == (keep == "head", keep == "head")
    short = ["encoder.max_tokens=64"]
    assert keys(toy_table, *short) == keys(toy_table, *short, f"data.long_texts={keep}", "data.windows=3")


def test_a_text_that_is_long_may_be_long(toy_encoder):
    encoder = open_folder(toy_encoder)
    for text in [*LONG, *toy.SENTENCES, "㌔㍍" * 9, "😀" * 30, "あ い　う" * 5]:
        for most in range(3, 65):
            settings = EncoderSettings(max_tokens=most)
            is_long = tokenizer_of(toy_encoder, "head", max_tokens=most)([text]).truncated[0]
            assert not is_long or may_be_long([text], encoder, settings)
    assert not may_be_long(["電話"], encoder, EncoderSettings(max_tokens=5))


def test_what_0_1_could_not_do_has_no_key_of_it(toy_encoder):
    encoder = open_folder(toy_encoder)
    plain = load_settings("knbc")
    assert attempt_key_0_1(plain, "", encoder)
    assert attempt_key_0_1(plain, "", encoder, ["tail"]) is None
    assert attempt_key_0_1(load_settings("knbc", ["training.max_minutes=5"]), "", encoder) is None


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(estimates, "time", found)
    return found


def test_long_work_is_told_once_when_some_of_it_is_done(clock, caplog):
    caplog.set_level(logging.INFO, "jabert")
    estimate = estimates.Estimate("featurizing 2,900,000 tokens", 2_900_000)
    for now, more in ((50, 40_000), (51, 10_000), (60, 90_000), (70, 100_000)):
        clock.now = now
        estimate.add(more)
    # From the second batch on: 10,000 tokens a second.
    assert caplog.messages == ["featurizing 2,900,000 tokens: about 5 minutes to go"]


def test_short_work_is_not_worth_a_line(clock, caplog):
    caplog.set_level(logging.INFO, "jabert")
    estimate = estimates.Estimate("featurizing 3,000 tokens", 3_000)
    for now in range(12):
        clock.now = now
        estimate.add(200)
    assert not caplog.messages


def test_a_training_ends_when_its_time_is_up_and_says_so(long_table, toy_encoder, caplog):
    caplog.set_level(logging.INFO, "jabert")
    plain = settings_of(long_table, toy_encoder, "method.units=4")
    hasty = settings_of(long_table, toy_encoder, "method.units=4", "training.max_minutes=1e-9")
    patient = settings_of(long_table, toy_encoder, "method.units=4", "training.max_minutes=1000")
    fits = [fitted(settings)[2] for settings in (plain, hasty, patient)]

    assert len({fit.key for fit in fits}) == 3, "it decides the result"
    ended = [(len(fit.fitted.history), fit.fitted.resolved["ended_by"]) for fit in fits]
    assert ended == [(3, "training.epochs"), (1, "training.max_minutes"), (3, "training.epochs")]
    assert "training.max_minutes = 1e-09 ended the training after 1 epochs" in caplog.text
    said = method_of(hasty).describe(fits[1].job, fits[1].fitted).protocol[0]
    assert said.endswith("epoch 1 of 1, after which training.max_minutes ended the training.")


@pytest.mark.parametrize("bad", ["data.long_texts=middle", "data.windows=0", "training.max_minutes=0"])
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(JabertError, match=bad.partition("=")[0]):
        load_settings(None, [bad])


def test_the_habits_are_written_with_the_model(long_table, toy_encoder, tmp_path):
    settings = settings_of(long_table, toy_encoder, "data.long_texts=windows", "method.kind=mean-pooling")
    *_, fit = fitted(settings)
    (folder,) = (path.parent for path in build_package(fit.job, tmp_path / "p").rglob("network.json"))
    habits = json.loads((folder / "network.json").read_text(encoding="utf-8"))
    found = {name: habits[name] for name in ("long_texts", "windows", "overlap", "max_tokens")}
    assert found == {"long_texts": "windows", "windows": 8, "overlap": 1, "max_tokens": 12}
