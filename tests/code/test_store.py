"""The feature store on disk: what is written is read back, whoever writes, whenever one is killed."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.encoder import TokenIds
from jabert.errors import JabertError
from jabert.features import FeatureStore, row_keys
from jabert.features.verification import list_partitions

ORIGIN = {"encoder": "e", "engine": "any", "precision": "float32", "padding": "length"}
HIDDEN = 4


def store_at(path, dtype="float16", hidden=HIDDEN, **origin):
    return FeatureStore(path, ORIGIN | origin, hidden, dtype)


def some_ids(count, seed=0):
    random = np.random.default_rng(seed)
    return TokenIds.of(random.integers(0, 320, random.integers(2, 20)) for _ in range(count))


def some_vectors(ids, seed=0):
    return np.random.default_rng(seed).normal(size=(len(ids.flat), HIDDEN))


def fill(store, *batches):
    """Write batches of (ids, vectors) to one file."""
    with store.writer() as writer:
        for ids, vectors in batches:
            writer.append(row_keys(ids), ids, vectors)
    store.refresh()


def rows_of(store, ids):
    return [store.vectors(index) for index in store.find(row_keys(ids))]


def the_file(store):
    (path,) = store.path.glob("*.arrows")
    return path


ragged = st.lists(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5), min_size=1, max_size=12, unique_by=tuple
)


@given(rows=ragged, cut=st.integers(0, 12), dtype=st.sampled_from(["float16", "float32"]))
def test_what_was_appended_is_read_back_now_and_later(rows, cut, dtype, tmp_path_factory):
    store = store_at(tmp_path_factory.mktemp("store"), dtype)
    parts = [TokenIds.of(part) for part in (rows[:cut], rows[cut:]) if part]
    fill(store, *((ids, some_vectors(ids)) for ids in parts))
    for reader in (store, store_at(store.path.parent, dtype)):
        assert len(reader) == len(rows)
        for ids in parts:
            expected = np.split(some_vectors(ids).astype(dtype), ids.offsets[1:-1])
            for index, row, vectors in zip(reader.find(row_keys(ids)), ids, expected, strict=True):
                np.testing.assert_array_equal(reader.vectors(index), vectors)
                assert reader.token_ids(index).tolist() == row.tolist()
                assert reader.key(index) == row_keys([row]).tobytes()


def test_a_row_that_is_not_there_is_not_found(tmp_path):
    store = store_at(tmp_path)
    ids = some_ids(5)
    assert store.find(row_keys(ids)).tolist() == [-1] * 5
    fill(store, (ids[:3], some_vectors(ids[:3])))
    assert store.find(row_keys(ids)).tolist() == [0, 1, 2, -1, -1]
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"the store has no row {index}"):
            store.vectors(index)


def test_a_partition_tells_what_it_holds(tmp_path):
    store = store_at(tmp_path)
    ids = some_ids(3)
    fill(store, (ids, some_vectors(ids)))
    described = json.loads((store.path / "space.json").read_text(encoding="utf-8"))
    assert described == {"format": "2", "dtype": "float16", "hidden_size": "4", **ORIGIN}
    (partition,) = list_partitions(tmp_path)
    assert partition == {
        **described,
        "rows": 3,
        "tokens": len(ids.flat),
        "bytes": sum(path.stat().st_size for path in store.path.iterdir()),
        "path": str(store.path),
    }


@pytest.mark.parametrize("written", ["{", "", "[]", '{"format": "2"}', '{"format": "2", "hidden_size": "x"}'])
def test_a_description_that_is_damaged_is_named(tmp_path, written):
    store = store_at(tmp_path)
    fill(store, (some_ids(3), some_vectors(some_ids(3))))
    (store.path / "space.json").write_text(written)
    with pytest.raises(JabertError, match=r"space\.json does not describe vectors; delete .*computed again"):
        list_partitions(tmp_path)


def test_a_store_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "store").touch()
    with pytest.raises(JabertError, match=r"features\.path .*store is not a folder"):
        list_partitions(tmp_path / "store")


def test_a_partition_without_rows_is_not_one_of_another_format(tmp_path):
    store = store_at(tmp_path)
    fill(store, (some_ids(3), some_vectors(some_ids(3))))
    the_file(store).unlink()
    (partition,) = list_partitions(tmp_path)
    assert (partition["rows"], partition["tokens"]) == (0, 0)


def test_a_partition_of_another_format_is_listed_and_not_read(tmp_path):
    folder = tmp_path / "0123456789abcdef"
    folder.mkdir()
    (folder / "space.json").write_text(json.dumps({"format": "1", "dtype": "float16", **ORIGIN}))
    (partition,) = list_partitions(tmp_path)
    assert (partition["format"], partition["rows"]) == ("1", None)


@pytest.mark.parametrize(
    "change", [{"dtype": "float32"}, {"hidden": 8}, *({name: "other"} for name in ORIGIN)]
)
def test_each_origin_has_a_space_of_its_own(tmp_path, change):
    ids = some_ids(3)
    fill(store_at(tmp_path), (ids, some_vectors(ids)))
    assert len(store_at(tmp_path, **change)) == 0


def test_what_others_append_is_taken_up_by_refresh_batch_by_batch(tmp_path):
    mine, other = store_at(tmp_path), store_at(tmp_path)
    ids = some_ids(6)
    with other.writer() as writer:
        for end in (3, 6):
            part = ids[end - 3 : end]
            writer.append(row_keys(part), part, some_vectors(part))
            assert len(mine) == end - 3
            mine.refresh()
            assert len(mine) == end
    np.testing.assert_array_equal(
        rows_of(mine, ids)[4], some_vectors(ids[3:])[slice(*(ids[3:].offsets[1:3]))].astype("f2")
    )


def test_a_store_is_written_and_read_without_importing_pandas(tmp_path):
    code = """
        import sys
        from pathlib import Path
        import numpy as np
        from jabert.encoder import TokenIds
        from jabert.features.store import FeatureStore, row_keys

        store, ids = FeatureStore(Path(sys.argv[1]), {}, 4, "float16"), TokenIds.of([[1, 2], [3]])
        with store.writer() as writer:
            writer.append(row_keys(ids), ids, np.ones((3, 4)))
        store.refresh()
        assert len(store) == 2
        assert "pandas" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), tmp_path], check=True)


def test_a_row_that_two_wrote_is_found_once(tmp_path):
    ids = some_ids(3)
    for _ in range(2):
        fill(store_at(tmp_path), (ids, some_vectors(ids)))
    assert sorted(store_at(tmp_path).find(row_keys(ids))) == [0, 1, 2]


def test_a_writer_that_wrote_nothing_leaves_nothing(tmp_path):
    store = store_at(tmp_path)
    with pytest.raises(ZeroDivisionError), store.writer():
        raise ZeroDivisionError
    assert [path.name for path in store.path.iterdir()] == ["space.json"]


@given(data=st.data())
def test_of_a_file_cut_anywhere_the_whole_batches_are_read_and_no_others(data, tmp_path_factory):
    store = store_at(tmp_path_factory.mktemp("store"))
    parts = [some_ids(4, seed) for seed in range(3)]
    ends = []
    with store.writer() as writer:
        for ids in parts:
            writer.append(row_keys(ids), ids, some_vectors(ids))
            ends.append(the_file(store).stat().st_size)
    size = data.draw(st.integers(0, ends[-1]))
    content = the_file(store).read_bytes()
    the_file(store).unlink()
    (store.path / "cut.arrows").write_bytes(content[:size])
    cut = store_at(store.path.parent)
    whole = sum(end <= size for end in ends)
    assert len(cut) == 4 * whole
    for ids in parts[:whole]:
        for found, start, end in zip(rows_of(cut, ids), ids.offsets[:-1], ids.offsets[1:], strict=True):
            np.testing.assert_array_equal(found, some_vectors(ids)[start:end].astype("f2"))


def test_a_last_batch_that_never_reached_the_disk_whole_is_not_read(tmp_path):
    """After a power failure a file may have its length but not its contents."""
    store = store_at(tmp_path)
    one, other = some_ids(3), some_ids(3, seed=1)
    fill(store, (one, some_vectors(one)), (other, some_vectors(other)))
    with the_file(store).open("r+b") as file:
        file.seek(-64, 2)
        file.write(bytes(64))
    again = store_at(tmp_path)
    assert len(again) == 3
    assert (again.find(row_keys(other)) == -1).all()


@pytest.mark.parametrize(
    ("column", "kind"), [("vectors", pa.large_list(pa.int16())), ("ids", pa.large_list(pa.uint32()))]
)
def test_the_same_bytes_under_another_schema_are_not_read(tmp_path, column, kind):
    """The checksum is of the bytes alone; the schema says what they mean."""
    store, ids = store_at(tmp_path), some_ids(5)
    fill(store, (ids, some_vectors(ids)))
    path = the_file(store)
    with pa.ipc.open_stream(path.read_bytes()) as reader:
        found = reader.read_next_batch_with_custom_metadata()
    place = found.batch.schema.get_field_index(column)
    as_other = found.batch.column(place).view(kind)
    batch = found.batch.set_column(place, pa.field(column, kind), as_other)
    with pa.ipc.new_stream(path, batch.schema) as stream:
        stream.write_batch(batch, custom_metadata=found.custom_metadata)
    assert len(store_at(tmp_path)) == 0
    with pa.ipc.new_stream(path, found.batch.schema) as stream:
        stream.write_batch(found.batch, custom_metadata=found.custom_metadata)
    assert len(store_at(tmp_path)) == 5, "it was the schema"


def test_a_changed_byte_is_found_by_its_checksum(tmp_path):
    store = store_at(tmp_path)
    ids = some_ids(3)
    fill(store, (ids, some_vectors(ids)), (ids, some_vectors(ids)))
    assert store.damaged() == []
    content = bytearray(the_file(store).read_bytes())
    content[len(content) // 2 - 40] ^= 1  # among the first batch's vectors
    path = the_file(store)
    path.unlink()
    path.write_bytes(content)
    assert store_at(tmp_path).damaged() == [f"{path}: batch 0 does not match its checksum; delete the file"]


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_rows_of_a_damaged_batch_are_missing_until_another_file_has_them(batch, tmp_path, caplog):
    store = store_at(tmp_path)
    parts = [some_ids(3, seed) for seed in range(3)]
    fill(store, *((ids, some_vectors(ids, seed)) for seed, ids in enumerate(parts)))
    path, other = the_file(store), store_at(tmp_path / "other")
    fill(other, (parts[batch], some_vectors(parts[batch], batch)))
    content = path.read_bytes()
    vectors = np.asarray(store.vectors(3 * batch), "<f2").tobytes()
    path.unlink()
    path.write_bytes(content.replace(vectors, bytes(len(vectors))))

    again = store_at(tmp_path)
    known = [(again.find(row_keys(ids)) >= 0).all() for ids in parts]
    assert known == [number != batch for number in range(3)]
    warned = f"{path}: batch {batch} is damaged; its 3 texts are computed again"
    if batch < 2:  # the last one is looked at when the file is opened
        again.find(row_keys(parts[batch]))
        assert sum(warned in record.getMessage() for record in caplog.records) == 1

    (the_file(other)).rename(path.with_name("x" + path.name))
    again.refresh()
    for seed, ids in enumerate(parts):
        for found, expected in zip(rows_of(again, ids), ids.parts(some_vectors(ids, seed)), strict=True):
            assert np.array_equal(found, expected.astype("float16"))


# Several processes, kills and full disks

WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path

    import numpy as np

    from jabert.encoder import TokenIds
    from jabert.features import FeatureStore, row_keys

    root, start, batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    origin = {"encoder": "e", "engine": "any", "precision": "float32", "padding": "length"}
    store = FeatureStore(Path(root), origin, 4, "float16")
    with store.writer() as writer:
        print("ready", flush=True)
        for batch in range(start, start + batches):
            numbers = range(batch * 10, batch * 10 + 10)
            ids = TokenIds.of([n, n, n] for n in numbers)
            writer.append(row_keys(ids), ids, np.repeat(numbers, 12).reshape(-1, 4))
            print(batch, flush=True)
""")


def start_writer(root, start, batches):
    command = [sys.executable, "-c", WRITER, str(root), str(start), str(batches)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def assert_there(store, rows):
    found = rows_of(store, TokenIds.of([n, n, n] for n in range(rows)))
    for number, vectors in enumerate(found):
        np.testing.assert_array_equal(vectors, np.full((3, 4), number, dtype="f2"))


def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    writers = [start_writer(tmp_path, start, 20) for start in (0, 10)]  # half of the rows are written by both
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert_there(store_at(tmp_path), 300)


def test_a_kill_keeps_the_batches_that_were_finished(tmp_path):
    writer = start_writer(tmp_path, 0, 100_000)
    finished = [line for line, _ in zip(writer.stdout, range(6), strict=False)]
    writer.kill()
    writer.communicate(timeout=60)
    last = int(finished[-1])
    assert last == 4
    assert_there(store_at(tmp_path), (last + 1) * 10)


def test_a_full_disk_is_said_and_leaves_no_part_of_a_batch(tmp_path, monkeypatch):
    """The kernel's own ENOSPC: the writer's file is /dev/full in disguise."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    store = store_at(tmp_path)
    ids = some_ids(5)
    fill(store, (ids, some_vectors(ids)))
    before = {path: path.stat().st_size for path in store.path.iterdir()}
    more = some_ids(5, seed=1)
    with pytest.raises(JabertError, match=rf"{tmp_path}.*: the disk is full"), store.writer() as writer:
        monkeypatch.setattr(writer, "_stream", StreamTo("/dev/full"))
        writer.append(row_keys(more), more, some_vectors(more))
    assert {path: path.stat().st_size for path in store.path.iterdir()} == before
    assert len(store_at(tmp_path)) == 5


class StreamTo:
    """Part of a batch goes where every write fails."""

    def __init__(self, path):
        self._path = path

    def write_batch(self, batch, custom_metadata):
        with Path(self._path).open("wb", buffering=0) as file:
            file.write(b"part of a batch")


# In a process of its own, since what is wrong here may end it.
FLIPS = textwrap.dedent("""
    import sys
    from pathlib import Path
    import numpy as np
    from jabert.encoder import TokenIds
    from jabert.features import FeatureStore, row_keys
    origin = {"encoder": "e", "engine": "any", "precision": "float32", "padding": "length"}
    def open_store():
        return FeatureStore(Path(sys.argv[1]), origin, 4, "float16")
    store, random = open_store(), np.random.default_rng(0)
    rows = [TokenIds.of(random.integers(0, 320, 3) for _ in range(4)) for _ in range(3)]
    with store.writer() as writer:
        for number, ids in enumerate(rows):
            writer.append(row_keys(ids), ids, np.full((12, 4), number))
    (path,) = store.path.glob("*.arrows")
    written = path.read_bytes()
    for bit in random.permutation(8 * len(written))[:4000]:
        damaged = bytearray(written)
        damaged[bit // 8] ^= 1 << bit % 8
        path.unlink()
        path.write_bytes(damaged)
        store = open_store()
        for number, ids in enumerate(rows):
            for index in store.find(row_keys(ids)):
                right = index < 0 or np.array_equal(store.vectors(index), np.full((3, 4), number))
                assert right or store.damaged(), f"bit {bit}: a wrong row"
        assert len(store) == 12 or store.unread(), f"bit {bit}: rows are lost and nobody says so"
""")


def test_a_flipped_bit_costs_rows_or_is_found_by_a_checksum(tmp_path):
    command = [sys.executable, "-c", FLIPS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
