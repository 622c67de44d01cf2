import errno
import io
import json
import threading
import time
from dataclasses import asdict

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from jabert import features
from jabert.config import EncoderSettings, FeaturesSettings, Settings
from jabert.encoder import TokenIds, Tokenizer, load_encoder, open_folder
from jabert.errors import JabertError
from jabert.estimates import estimating
from jabert.features import featurize, open_store, row_keys
from jabert.features.verification import verify

TEXTS = toy.SENTENCES[:12]


def settings_of(path, dtype="float16", layers=1, **encoder):
    return Settings(
        encoder=EncoderSettings(**{"device": "cpu", "precision": "float32"} | encoder),
        features=FeaturesSettings(path=str(path), dtype=dtype, layers=layers),
    )


@pytest.fixture
def folder(toy_encoder):
    return open_folder(toy_encoder)


def vectors_of(store, ids):
    (index,) = store.find(row_keys([ids]))
    return store.vectors(index)


def ids_of(folder, texts, **encoder):
    return Tokenizer(folder, EncoderSettings(**encoder))(texts).ids


_LOADED = {}


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    """Loading and tracing a toy takes a second or two, so tests share what they load."""

    def load(folder, settings, layers):
        key = (folder.fingerprint, settings.engine, settings.precision, settings.pad_to, layers)
        if key not in _LOADED:
            _LOADED[key] = load_encoder(folder, settings, layers)
        return _LOADED[key]

    monkeypatch.setattr(features, "load_encoder", load)


@pytest.fixture
def no_encoder(monkeypatch):
    """Loading the encoder is an error from here on."""

    def refuse(*arguments):
        raise AssertionError("the encoder was loaded")

    return lambda: monkeypatch.setattr(features, "load_encoder", refuse)


# What is computed


def test_every_row_is_computed_once_and_the_second_call_needs_no_encoder(folder, tmp_path, no_encoder):
    settings = settings_of(tmp_path / "store")
    ids = ids_of(folder, TEXTS)
    first = featurize(ids, folder, settings)
    assert (first.texts, first.computed, first.reused) == (12, 12, 0)
    assert first.tokens == sum(map(len, ids))
    assert first.setup_seconds > 0
    no_encoder()
    second = featurize(ids, folder, settings)
    assert (second.computed, second.reused) == (0, 12)
    assert second.setup_seconds < 0.1
    assert second.device == first.device == "/CPU:0"  # a run's parameter, which a second try may not change


def test_the_stored_vectors_are_those_of_the_encoder(folder, tmp_path):
    settings = settings_of(tmp_path / "store", dtype="float32", token_budget=64)
    ids = ids_of(folder, TEXTS)
    featurize(ids, folder, settings)
    store = open_store(folder, settings)
    assert len(store) == len(TEXTS)
    encoder = load_encoder(folder, settings.encoder)
    for row in ids:
        vectors = vectors_of(store, row)
        assert vectors.shape == (len(row), 16)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, encoder(TokenIds.of([row])), atol=1e-5, rtol=0)


def test_half_precision_on_disk_changes_a_number_by_at_most_5e_4_of_itself(folder, tmp_path):
    ids = ids_of(folder, toy.SENTENCES)
    for dtype in ("float16", "float32"):
        featurize(ids, folder, settings_of(tmp_path / "store", dtype=dtype))
    half, single = (
        open_store(folder, settings_of(tmp_path / "store", dtype=dtype)) for dtype in ("float16", "float32")
    )
    for row in ids:
        exact = vectors_of(single, row)
        stored = vectors_of(half, row)
        assert stored.dtype == np.float16
        np.testing.assert_allclose(
            stored, exact, rtol=2**-11, atol=2**-24
        )  # 4.9e-4: half a unit in the last place


def test_equal_texts_of_one_call_are_computed_once(folder, tmp_path):
    ids = ids_of(folder, [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0]])
    done = featurize(ids, folder, settings_of(tmp_path / "store"))
    assert (done.texts, done.computed, done.reused) == (4, 2, 2)


def test_a_changed_text_computes_only_itself(folder, tmp_path):
    settings = settings_of(tmp_path / "store")
    featurize(ids_of(folder, TEXTS), folder, settings)
    done = featurize(ids_of(folder, [*TEXTS[:-1], "別の話をした。"]), folder, settings)
    assert (done.computed, done.reused) == (1, 11)


def test_texts_of_equal_ids_share_a_row(folder, tmp_path):
    settings = settings_of(tmp_path / "store")
    featurize(ids_of(folder, ["ｶﾚｰの味"]), folder, settings)
    assert featurize(ids_of(folder, ["カレーの味"]), folder, settings).computed == 0


def test_no_texts_need_no_encoder_and_no_folder(folder, tmp_path, no_encoder):
    no_encoder()
    done = featurize(TokenIds.of([]), folder, settings_of(tmp_path / "store"))
    assert (done.texts, done.tokens, done.computed, done.reused) == (0, 0, 0, 0)
    assert not (tmp_path / "store").exists()


def test_progress_goes_to_the_number_of_missing_rows(folder, tmp_path):
    settings = settings_of(tmp_path / "store", token_budget=64)
    featurize(ids_of(folder, TEXTS[:4]), folder, settings)
    calls = []
    featurize(ids_of(folder, TEXTS), folder, settings, lambda done, total: calls.append((done, total)))
    assert [total for _, total in calls] == [8] * len(calls)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert calls[-1] == (8, 8)
    assert len(calls) > 1


def test_the_record_is_ready_for_json(folder, tmp_path):
    done = featurize(ids_of(folder, TEXTS), folder, settings_of(tmp_path / "store"))
    record = done.to_dict()
    assert record["tokens_per_second"] == pytest.approx(done.tokens / done.seconds, rel=0.01)
    assert {name: record[name] for name in asdict(done)} == asdict(done)
    assert (record["engine"], record["precision"], record["device"]) == ("openvino", "float32", "/CPU:0")


def test_layers_stand_side_by_side_and_the_size_of_their_store_is_told_before(folder, tmp_path, caplog):
    ids = ids_of(folder, TEXTS)
    one, two = (settings_of(tmp_path / "store", dtype="float32", layers=count) for count in (1, 2))
    with caplog.at_level("INFO", "jabert"):
        featurize(ids, folder, one)
        featurize(ids, folder, two)
        featurize(ids, folder, two)  # nothing is missing
    store = open_store(folder, two)
    told = len(ids.flat) * 2 * 16 * 4 / 1e6
    assert caplog.messages == [
        f"token vectors: about {told / 2:.1f} MB in {open_store(folder, one).path}",
        f"token vectors of 2 layers: about {told:.1f} MB in {store.path}",
    ]
    for row in ids:
        last = vectors_of(open_store(folder, one), row)
        assert vectors_of(store, row).shape == (len(row), 32)
        np.testing.assert_allclose(vectors_of(store, row)[:, 16:], last, atol=1e-5, rtol=0)


def test_vectors_that_are_too_many_are_refused_before_the_encoder_is_loaded(folder, tmp_path, no_encoder):
    ids, settings = ids_of(folder, TEXTS), settings_of(tmp_path)
    few = settings.model_copy(update={"features": settings.features.model_copy(update={"max_bytes": 5000})})
    size = len(ids.flat) * folder.config.hidden_size * 2 / 1e6
    sentence = rf"would take {size:.1f} MB in .*, more than features\.max_bytes = 5,000: raise it, or"
    with pytest.raises(JabertError, match=sentence):
        featurize(ids, folder, few)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_terminal_gets_a_bar_with_the_rate_and_others_none(monkeypatch):
    for is_terminal, quiet in ((True, False), (True, True), (False, False)):
        stream = io.StringIO()
        stream.isatty = lambda is_terminal=is_terminal: is_terminal
        monkeypatch.setattr("sys.stderr", stream)
        with estimating("featurizing", 1000, "tokens", quiet=quiet) as estimate:
            for _ in range(5):
                estimate.add(100)
                time.sleep(0.11)
        shown = stream.getvalue()
        assert ("featurizing" in shown and "tokens/s" in shown) is (is_terminal and not quiet)


def test_what_is_stored_counts_no_more(folder, tmp_path):
    ids, settings = ids_of(folder, TEXTS), settings_of(tmp_path)
    featurize(ids, folder, settings)
    few = settings.model_copy(update={"features": settings.features.model_copy(update={"max_bytes": 1})})
    assert featurize(ids, folder, few).computed == 0


def test_one_layer_has_the_partition_of_yesterday_and_more_say_so(folder, tmp_path):
    one, two = (open_store(folder, settings_of(tmp_path, layers=count)) for count in (1, 2))
    assert "layers" not in one.origin and one.origin["hidden_size"] == "16"
    assert (two.origin["layers"], two.origin["hidden_size"]) == ("2", "32")
    assert one.path != two.path


def test_more_layers_than_the_encoder_has_are_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(JabertError, match=r"features\.layers = 3, but .* has 2 layers; set 2 or fewer$"):
        featurize(ids_of(folder, TEXTS), folder, settings_of(tmp_path / "store", layers=3))
    assert not (tmp_path / "store").exists()


def test_stored_vectors_of_several_layers_are_verified(folder, tmp_path):
    settings = settings_of(tmp_path / "store", layers=2)
    featurize(ids_of(folder, TEXTS), folder, settings)
    verified = verify(folder, settings)
    assert verified.ok and verified.checked == len(TEXTS)


# What is never reused


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float32"},
        {"pad_to": 32},
        {"engine": "tensorflow", "precision": "bfloat16"},
        {"max_tokens": 5},
        {"layers": 2},
    ],
)
def test_vectors_of_other_settings_are_not_reused(folder, tmp_path, change):
    featurize(ids_of(folder, TEXTS), folder, settings_of(tmp_path / "store"))
    limits = {name: change[name] for name in ("pad_to", "max_tokens") if name in change}
    changed = ids_of(folder, TEXTS, **limits)
    done = featurize(changed, folder, settings_of(tmp_path / "store", **change))
    assert done.computed == len({ids.tobytes() for ids in changed})


def test_vectors_of_another_checkpoint_are_not_reused(toy_encoder, folder, tmp_path):
    settings = settings_of(tmp_path / "store")
    ids = ids_of(folder, TEXTS)
    featurize(ids, folder, settings)
    other = open_folder(toy.make_encoder(tmp_path / "other", seed=5))
    assert ids_of(other, TEXTS)[0].tolist() == ids[0].tolist()  # the same vocabulary
    assert featurize(ids, other, settings).computed == 12
    assert featurize(ids, folder, settings).computed == 0


def test_padded_and_plain_texts_of_equal_ids_have_different_rows(folder, tmp_path):
    """A text that fills pad_to exactly has the ids of the plain one, but masks its unknown pieces."""
    text = "料理😀の話"
    length = len(ids_of(folder, [text])[0])
    plain, padded = settings_of(tmp_path / "store"), settings_of(tmp_path / "store", pad_to=length)
    ids = ids_of(folder, [text], pad_to=length)
    assert ids[0].tolist() == ids_of(folder, [text])[0].tolist()
    featurize(ids, folder, plain)
    assert featurize(ids, folder, padded).computed == 1
    one, other = (vectors_of(open_store(folder, settings), ids[0]) for settings in (plain, padded))
    assert np.abs(one - other).max() > 0.01


@given(st.lists(st.integers(0, 2**31 - 1), max_size=8), st.lists(st.integers(0, 2**31 - 1), max_size=8))
def test_keys_tell_token_ids_apart(one, other):
    keys = row_keys([np.array(ids, dtype=np.int32) for ids in (one, other)])
    assert keys.shape == (2, 16)
    assert (keys[0] == keys[1]).all() == (one == other)


def test_a_key_is_that_of_the_ids_not_of_their_memory():
    ids = np.array([4, 8, 7, 5], dtype=np.int64)
    strided = np.array([[4, 0], [8, 0], [7, 0], [5, 0]], dtype=np.int32)[:, 0]
    keys = [key.tobytes().hex() for key in row_keys([ids, ids.astype(np.int32), strided])]
    assert keys == ["4cd31147f6800ae98022513ea64e182c"] * 3  # a change would orphan every store


# Interrupted, full, damaged


def test_an_interrupted_featurization_goes_on_where_it_stopped(folder, tmp_path):
    settings = settings_of(tmp_path / "store", token_budget=64)
    ids = ids_of(folder, TEXTS)
    finished = []

    def interrupt(done, total):
        finished.append(done)
        if len(finished) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        featurize(ids, folder, settings, interrupt)
    stored = len(open_store(folder, settings))
    assert finished[-1] <= stored < 12  # the batch in flight may have been written, too
    done = featurize(ids, folder, settings)
    assert (done.reused, done.computed) == (stored, 12 - stored)


def test_after_deleting_the_files_their_rows_are_computed_again(folder, tmp_path):
    settings = settings_of(tmp_path / "store")
    ids = ids_of(folder, TEXTS)
    featurize(ids, folder, settings)
    for path in open_store(folder, settings).path.glob("*.arrows"):
        path.unlink()
    assert featurize(ids, folder, settings).computed == 12


def test_a_disk_that_is_full_is_one_sentence_and_keeps_what_was_there(folder, tmp_path, monkeypatch):
    settings = settings_of(tmp_path / "store")
    ids = ids_of(folder, TEXTS)
    featurize(ids[:2], folder, settings)

    def full(file_number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk, pytest.raises(JabertError, match="the disk is full") as error:
        disk.setattr("jabert.features.store.os.fsync", full)
        featurize(ids, folder, settings)
    assert "\n" not in str(error.value)
    assert len(open_store(folder, settings)) == 2


def test_of_two_processes_at_once_the_second_finds_what_the_first_computed(folder, tmp_path):
    """The second waits for the lock, then looks again."""
    settings = settings_of(tmp_path / "store", token_budget=64)
    ids = ids_of(folder, TEXTS)
    results = []
    second = threading.Thread(target=lambda: results.append(featurize(ids, folder, settings)))

    def start_second(done, total):
        if not results and not second.is_alive():
            second.start()

    first = featurize(ids, folder, settings, start_second)
    second.join(timeout=60)
    assert (first.computed, results[0].computed, results[0].reused) == (12, 0, 12)
    assert len(open_store(folder, settings)) == 12


# Computed again and compared


def test_a_store_as_it_was_written_is_verified(folder, tmp_path):
    settings = settings_of(tmp_path / "store", token_budget=64)
    featurize(ids_of(folder, TEXTS), folder, settings)
    found = verify(folder, settings, rows=5)
    assert (found.rows, found.checked, found.ok) == (12, 5, True)
    assert verify(folder, settings).checked == 12


def test_a_verification_keeps_to_the_token_budget_with_the_padding_of_the_engine(
    folder, tmp_path, monkeypatch
):
    settings = settings_of(tmp_path / "store", token_budget=64)
    featurize(ids_of(folder, TEXTS), folder, settings)
    encoder, shapes = load_encoder(folder, settings.encoder), []

    class Wide:
        width_step = 16

        def __call__(self, ids):
            shapes.append((len(ids), ids.lengths.max()))
            return encoder(ids)

    monkeypatch.setattr("jabert.features.verification.load_encoder", lambda *arguments: Wide())
    assert verify(folder, settings).ok
    assert sum(rows for rows, _ in shapes) == 12
    assert max(rows * -(-width // 16) * 16 for rows, width in shapes) <= 64


def test_a_row_with_another_text_s_vectors_is_named(folder, tmp_path):
    settings = settings_of(tmp_path / "store")
    ids = ids_of(folder, TEXTS[:3])
    swapped = TokenIds.of([ids[0][::-1], ids[1]])
    store = open_store(folder, settings)
    vectors = load_encoder(folder, settings.encoder)(ids[:2])
    with store.writer() as writer:
        writer.append(row_keys(swapped), swapped, vectors)
    found = verify(folder, settings)
    assert not found.ok
    (row,) = found.differing
    assert row.text == Tokenizer(folder, settings.encoder).text(swapped[0])
    assert row.cosine < 0.999
    assert row.difference > 0.01


def test_a_row_under_a_key_that_is_not_its_own_is_named(folder, tmp_path):
    settings = settings_of(tmp_path / "store")
    ids = ids_of(folder, TEXTS[:2])
    with open_store(folder, settings).writer() as writer:
        vectors = load_encoder(folder, settings.encoder)(ids[:1])
        writer.append(row_keys([ids[1]]), ids[:1], vectors)
    (row,) = verify(folder, settings).differing
    assert row.cosine > 0.9999


def test_the_verified_record_is_ready_for_json(folder, tmp_path):
    settings = settings_of(tmp_path / "store")
    featurize(ids_of(folder, TEXTS[:3]), folder, settings)
    found = verify(folder, settings).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["ok"], found["rows"], found["unread"]) == (True, 3, [])


def test_a_verification_tells_of_bytes_that_no_row_is_made_of(folder, tmp_path):
    settings = settings_of(tmp_path / "store", token_budget=64)
    featurize(ids_of(folder, TEXTS), folder, settings)
    (path,) = (tmp_path / "store").glob("*/*.arrows")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    found = verify(folder, settings)
    assert found.ok and 0 < found.rows < len(TEXTS)
    assert [sentence.partition(":")[0] for sentence in found.unread] == [str(path)]
    path.write_bytes(b"\0" * 1000)
    with pytest.raises(
        JabertError, match=r"holds no vectors of this .*; .*: the last 1,000 bytes are not a complete batch"
    ):
        verify(folder, settings)


def test_a_store_without_rows_cannot_be_verified(folder, tmp_path):
    with pytest.raises(
        JabertError,
        match=r"holds no vectors of this encoder, precision and dtype; `jabert featurize` computes",
    ):
        verify(folder, settings_of(tmp_path / "store"))


def test_a_store_that_is_a_file_is_named_before_anything_is_computed(folder, tmp_path):
    (tmp_path / "store").touch()
    with pytest.raises(JabertError, match=r"store/.* cannot be written: Not a directory"):
        featurize(ids_of(folder, TEXTS), folder, settings_of(tmp_path / "store"))


@pytest.mark.parametrize(
    ("vector", "sentence"),
    [
        ((np.nan, "float32"), r"for the text '.+' that are no numbers"),
        ((np.inf, "float16"), "that are no numbers"),
        ((1e6, "float16"), r"up to 1e\+06, beyond features.dtype float16: set features.dtype = 'float32'"),
    ],
)
def test_vectors_that_are_no_numbers_are_never_stored(vector, sentence, folder, tmp_path, monkeypatch):
    value, dtype = vector
    settings, encoder = settings_of(tmp_path / "store", dtype), load_encoder(folder, EncoderSettings(), 1)

    class Damaged:
        width_step = encoder.width_step

        def __call__(self, ids):
            vectors = encoder(ids)
            vectors[-1, 3] = value
            return vectors

    monkeypatch.setattr(features, "load_encoder", lambda *_: Damaged())
    with pytest.raises(JabertError, match=sentence) as caught:
        featurize(ids_of(folder, TEXTS), folder, settings)
    assert str(folder.path) in str(caught.value)
    assert len(open_store(folder, settings)) == 0
