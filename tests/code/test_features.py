import json
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from jabert import features
from jabert.config import EncoderSettings, FeaturesSettings, Settings
from jabert.encoder import Tokenizer, load_encoder, open_folder
from jabert.encoder.batching import pad
from jabert.errors import JabertError
from jabert.features import FeatureStore, featurize, open_store, row_key

TEXTS = toy.SENTENCES[:12]
ORIGIN = {"encoder": "e", "engine": "reference", "precision": "float32", "padding": "length"}


def settings_of(path, dtype="float16", **encoder):
    return Settings(
        encoder=EncoderSettings(device="cpu", **encoder),
        features=FeaturesSettings(path=str(path), dtype=dtype),
    )


@pytest.fixture
def folder(toy_encoder):
    return open_folder(toy_encoder)


def ids_of(folder, texts, **encoder):
    return Tokenizer(folder, EncoderSettings(**encoder))(texts).ids


_LOADED = {}


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    """Loading and tracing a toy takes a second or two, so tests share what they load."""

    def load(folder, settings):
        key = (folder.fingerprint, settings.pad_to)
        if key not in _LOADED:
            _LOADED[key] = load_encoder(folder, settings)
        return _LOADED[key]

    monkeypatch.setattr(features, "load_encoder", load)


@pytest.fixture
def no_encoder(monkeypatch):
    """Loading the encoder is an error from here on."""

    def refuse(*arguments):
        raise AssertionError("the encoder was loaded")

    return lambda: monkeypatch.setattr(features, "load_encoder", refuse)


def store_at(path, **changes):
    return FeatureStore(
        path, ORIGIN | changes.pop("origin", {}), **{"hidden_size": 4, "dtype": "float16"} | changes
    )


def some_rows(count, seed=0, hidden=4):
    random = np.random.default_rng(seed)
    ids = [random.integers(0, 320, random.integers(2, 20)) for _ in range(count)]
    return [row_key(row) for row in ids], [random.normal(size=(len(row), hidden)) for row in ids]


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
    assert (second.computed, second.reused, second.setup_seconds) == (0, 12, 0)
    assert second.device == "none"


def test_the_stored_vectors_are_those_of_the_encoder(folder, tmp_path):
    settings = settings_of(tmp_path / "store", dtype="float32", token_budget=64)
    ids = ids_of(folder, TEXTS)
    featurize(ids, folder, settings)
    store = open_store(folder, settings)
    assert len(store) == len(TEXTS)
    encoder = load_encoder(folder, settings.encoder)
    for row in ids:
        vectors = store.read(row_key(row))
        assert vectors.shape == (len(row), 16)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, encoder(*pad([row]))[0], atol=1e-5, rtol=0)


def test_half_precision_on_disk_changes_a_number_by_at_most_5e_4_of_itself(folder, tmp_path):
    ids = ids_of(folder, toy.SENTENCES)
    for dtype in ("float16", "float32"):
        featurize(ids, folder, settings_of(tmp_path / "store", dtype=dtype))
    half, single = (
        open_store(folder, settings_of(tmp_path / "store", dtype=dtype)) for dtype in ("float16", "float32")
    )
    for row in ids:
        exact = single.read(row_key(row))
        stored = half.read(row_key(row))
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
    done = featurize([], folder, settings_of(tmp_path / "store"))
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
    assert (record["engine"], record["precision"], record["device"]) == ("reference", "float32", "/CPU:0")


# What is never reused


@pytest.mark.parametrize("change", [{"dtype": "float32"}, {"pad_to": 32}])
def test_vectors_of_other_settings_are_not_reused(folder, tmp_path, change):
    ids = ids_of(folder, TEXTS)
    featurize(ids, folder, settings_of(tmp_path / "store"))
    assert featurize(ids, folder, settings_of(tmp_path / "store", **change)).computed == 12


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
    one, other = (open_store(folder, settings).read(row_key(ids[0])) for settings in (plain, padded))
    assert np.abs(one - other).max() > 0.01


@given(st.lists(st.integers(0, 2**31 - 1), max_size=8), st.lists(st.integers(0, 2**31 - 1), max_size=8))
def test_keys_tell_token_ids_apart(one, other):
    key, other_key = row_key(np.array(one, dtype=np.int32)), row_key(np.array(other, dtype=np.int32))
    assert len(key) == 16
    assert (key == other_key) == (one == other)


def test_a_key_is_that_of_the_ids_not_of_their_memory():
    ids = np.array([4, 8, 7, 5], dtype=np.int64)
    strided = np.array([[4, 0], [8, 0], [7, 0], [5, 0]], dtype=np.int32)[:, 0]
    assert row_key(ids) == row_key(ids.astype(np.int32)) == row_key(strided)
    assert row_key(ids).hex() == "4cd31147f6800ae98022513ea64e182c"  # a change would orphan every store


# The store on disk


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6), dtype=st.sampled_from(["float16", "float32"])
)
def test_what_was_appended_is_read_back_now_and_later(lengths, dtype, tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    random = np.random.default_rng(0)
    vectors = [random.normal(size=(length, 4)).astype(dtype) for length in lengths]
    keys = [row_key(np.array([number])) for number in range(len(lengths))]
    store = store_at(path, dtype=dtype)
    store.append(keys, vectors)
    for reader in (store, store_at(path, dtype=dtype)):
        assert len(reader) == len(keys)
        for key, expected in zip(keys, vectors, strict=True):
            assert reader.read(key).shape == expected.shape
            np.testing.assert_array_equal(reader.read(key), expected)


def test_a_row_that_is_not_there_is_not_there(tmp_path):
    store = store_at(tmp_path)
    assert row_key(np.array([1])) not in store
    with pytest.raises(KeyError):
        store.read(row_key(np.array([1])))


def test_a_space_tells_what_it_holds(tmp_path):
    store = store_at(tmp_path)
    store.append(*some_rows(1))
    described = json.loads((store.path / "space.json").read_text(encoding="utf-8"))
    assert described == {"format": "1", "dtype": "float16", **ORIGIN}


@pytest.mark.parametrize(
    "changes",
    [{"dtype": "float32"}, *({"origin": {name: "other"}} for name in ORIGIN)],
)
def test_each_origin_has_a_space_of_its_own(tmp_path, changes):
    store_at(tmp_path).append(*some_rows(3))
    assert len(store_at(tmp_path, **changes)) == 0


def test_a_torn_file_of_a_killed_writer_is_ignored(tmp_path):
    store = store_at(tmp_path)
    store.append(*some_rows(3))
    (store.path / ".0123-4567.arrow").write_bytes(b"ARROW1\x00\x00torn")
    assert len(store_at(tmp_path)) == 3


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_shard_is_named(tmp_path, keep):
    store = store_at(tmp_path)
    store.append(*some_rows(30))
    (shard,) = store.path.glob("*.arrow")
    content = shard.read_bytes()
    size = keep if isinstance(keep, int) else int(len(content) * keep)
    shard.unlink()
    shard.write_bytes(content[:size])
    with pytest.raises(JabertError, match=f"feature shard {shard} cannot be read .*; delete it and"):
        store_at(tmp_path)


def test_after_deleting_a_shard_its_rows_are_computed_again(folder, tmp_path):
    settings = settings_of(tmp_path / "store")
    ids = ids_of(folder, TEXTS)
    featurize(ids, folder, settings)
    for shard in open_store(folder, settings).path.glob("*.arrow"):
        shard.unlink()
    assert featurize(ids, folder, settings).computed == 12


def test_shards_of_others_are_taken_up_by_refresh(tmp_path):
    mine, other = store_at(tmp_path), store_at(tmp_path)
    keys, vectors = some_rows(3)
    other.append(keys, vectors)
    assert keys[0] not in mine
    mine.refresh()
    assert all(key in mine for key in keys)


def test_a_row_that_two_wrote_is_read_once(tmp_path):
    keys, vectors = some_rows(3)
    for _ in range(2):
        FeatureStore(tmp_path, ORIGIN, 4, "float16").append(keys, vectors)
    assert len(store_at(tmp_path)) == 3


# Several processes, kills and full disks

WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path

    import numpy as np

    from jabert.features.store import FeatureStore, row_key

    root, start, shards = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    origin = {"encoder": "e", "engine": "reference", "precision": "float32", "padding": "length"}
    store = FeatureStore(Path(root), origin, 4, "float16")
    print("ready", flush=True)
    for shard in range(start, start + shards):
        numbers = range(shard * 10, shard * 10 + 10)
        keys = [row_key(np.array([n])) for n in numbers]
        store.append(keys, [np.full((3, 4), n, dtype="f2") for n in numbers])
        print(shard, flush=True)
""")


def start_writer(root, start, shards):
    command = [sys.executable, "-c", WRITER, str(root), str(start), str(shards)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    writers = [start_writer(tmp_path, start, 20) for start in (0, 10)]  # half of the rows are written by both
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    store = store_at(tmp_path)
    assert len(store) == 300
    for number in range(300):
        assert (store.read(row_key(np.array([number]))) == number).all()


def test_a_kill_keeps_the_shards_that_were_finished(tmp_path):
    writer = start_writer(tmp_path, 0, 100_000)
    finished = [line for line, _ in zip(writer.stdout, range(6), strict=False)]
    writer.kill()
    writer.communicate(timeout=60)
    last = int(finished[-1])
    assert last == 4
    store = store_at(tmp_path)
    for number in range((last + 1) * 10):
        assert (store.read(row_key(np.array([number]))) == number).all()


def test_an_interrupted_featurization_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_SHARD_TOKENS", 1)  # a shard a batch
    settings = settings_of(tmp_path / "store", token_budget=64)
    ids = ids_of(folder, TEXTS)
    finished = []

    def interrupt(done, total):
        finished.append(done)
        if len(finished) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        featurize(ids, folder, settings, interrupt)
    done = featurize(ids, folder, settings)
    assert done.reused == finished[-1]
    assert done.computed == 12 - finished[-1]
    assert finished[-1] > 0


@pytest.fixture
def full_disk(monkeypatch):
    """From the call on, shards are written to /dev/full, where every write is the kernel's own ENOSPC."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    def fill(folder):
        name = SimpleNamespace(uuid4=lambda: SimpleNamespace(hex="full"))
        monkeypatch.setattr("jabert.files.uuid", name)
        monkeypatch.setattr("jabert.features.store.uuid", name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".full-full.arrow").symlink_to("/dev/full")

    return fill


def test_a_full_disk_is_said_and_leaves_no_part_of_a_shard(tmp_path, full_disk):
    store = store_at(tmp_path)
    keys, vectors = some_rows(5)
    store.append(keys, vectors)
    before = sorted(store.path.iterdir())
    full_disk(store.path)
    with pytest.raises(JabertError, match=rf"{tmp_path}.*: the disk is full"):
        store.append(*some_rows(5, seed=1))
    assert sorted(store.path.iterdir()) == before
    assert len(store) == 5
    np.testing.assert_array_equal(store.read(keys[0]), vectors[0].astype(np.float16))


def test_a_full_disk_in_a_featurization_is_one_sentence(folder, tmp_path, full_disk):
    settings = settings_of(tmp_path / "store")
    ids = ids_of(folder, TEXTS)
    featurize(ids[:2], folder, settings)
    full_disk(open_store(folder, settings).path)
    with pytest.raises(JabertError, match="the disk is full") as error:
        featurize(ids, folder, settings)
    assert "\n" not in str(error.value)
    assert len(open_store(folder, settings)) == 2
