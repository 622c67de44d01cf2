"""The limit of what is held in memory: what counts, and what is told where it is too much."""

import io

import pytest

from jabert.dataset import sources
from jabert.dataset.sources import Held, copied, read_bytes
from jabert.errors import JabertError

END = " to be held in memory: set it higher if there is enough, or give fewer rows"


def refused(call):
    with pytest.raises(JabertError) as told:
        call()
    return str(told.value)


def test_just_so_many_bytes_are_held():
    held = Held(1500)
    held.note("a.csv", 1500)
    told = refused(lambda: held.note("a.csv", 1501))
    assert told == "a.csv unpacked has 1,501 bytes, but data.max_bytes allows 1,500" + END
    assert held.most == 1500


def test_files_count_together_and_each_once():
    held = Held(3000)
    held.note("a.csv", 1000)
    held.note("b.csv", 1500)
    held.note("a.csv", 1500)
    held.note("a.csv", 1200)
    told = refused(lambda: held.note("c.csv", 2000))
    assert told == (
        "c.csv unpacked has 2,000 bytes, all 3 files so far 4,700, but data.max_bytes allows 3,000" + END
    )


def test_what_was_found_so_far_is_told_as_that():
    told = refused(lambda: Held(5).note("a.csv", 6, is_all=False))
    assert told == "a.csv unpacked has more than 6 bytes, but data.max_bytes allows 5" + END


def blocks(count, read):
    for _ in range(count):
        read.append(10)
        yield b"x" * 10


@pytest.mark.parametrize(
    ("most", "count", "told_size", "taken"),
    [(100, 11, "110", 11), (100, 25, "more than 210", 21), (10, 8, "80", 8), (10, 25, "more than 90", 9)],
)
def test_a_file_is_read_to_its_end_to_tell_its_size_but_not_much_further(
    monkeypatch, most, count, told_size, taken
):
    monkeypatch.setattr(sources, "_COUNTED", 80)
    told = refused(lambda: Held(most).count("a.gz", blocks(count, read := [])) or read)
    assert told.startswith(f"a.gz unpacked has {told_size} bytes, but")
    read = []
    refused(lambda: Held(most).count("a.gz", blocks(count, read)))
    assert len(read) == taken


def test_a_file_that_fits_is_counted():
    held = Held(100)
    held.count("a.gz", blocks(4, []))
    told = refused(lambda: held.note("b", 61))
    assert "all 2 files so far 101," in told


def test_a_copy_is_as_the_file_and_ends_where_it_is_too_large():
    with copied(io.BytesIO(b"x" * 10), "a", Held(10)) as copy:
        assert copy.read() == b"x" * 10
    with copied(io.BytesIO(b"x" * 11), "a") as copy:
        assert len(copy.read()) == 11
    with (
        pytest.raises(JabertError, match="a unpacked has more than 11 bytes"),
        copied(io.BytesIO(b"x" * 11), "a", Held(10)),
    ):
        raise AssertionError


def test_a_file_is_noted_by_its_size_before_it_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10)
    file = str(tmp_path / "a")
    assert read_bytes(file, held=Held(10)) == b"x" * 10
    assert refused(lambda: read_bytes(file, held=Held(9))).startswith(f"{file} unpacked has 10 bytes,")
