"""Small files that unpack to gigabytes, and tables that are wide: refused or read, in little memory and time.

Each is read in a process of its own, as `retrain` reads it and as `score` does.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SIZE = 1 << 30  # that a bomb unpacks to
MOST = 1_500  # MB of memory
SECONDS = 300

READ = r"""
    import re, sys, time
    from jabert.config import DataSettings
    from jabert.dataset import read_rows
    from jabert.dataset.chunks import read_chunks
    from jabert.errors import JabertError
    path, as_score, most = sys.argv[1], sys.argv[2] == "score", int(sys.argv[3])
    try:
        if as_score:
            rows = sum(len(chunk.lines) for chunk in read_chunks(path, 4096, lambda names: names))
        else:
            rows = len(read_rows(DataSettings(path=path, max_bytes=most)))
        print("rows", rows)
    except JabertError as error:
        print("refused", error)
    # Of this process alone: its ru_maxrss is at least that of the process that started it.
    print(int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def read(path, how="retrain", most=100_000_000):
    """What came of it, and the memory that it took, MB."""
    command = [sys.executable, "-c", textwrap.dedent(READ), str(path), how, str(most)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS, env=environment
    )
    assert "Traceback" not in ended.stderr, ended.stderr[-2000:]
    said, memory = ended.stdout.strip().splitlines()
    return said, int(memory)


def packed(path, opened, piece, size, start=b""):
    with opened(path, "wb") as file:
        file.write(start)
        for _ in range(max(1, size // len(piece))):
            file.write(piece)
    return path


def gz_of(start, piece):
    def make(folder, size, ending):
        return packed(folder / f"t.{ending}.gz", gzip.open, piece * ((1 << 20) // len(piece)), size, start)

    return make


def zip_of_zeros(folder, size, _):
    with (
        zipfile.ZipFile(folder / "k.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("corpus2/Kyoto.tsv", "w", force_zip64=True) as member,
    ):
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return folder / "k.zip"


class _Zeros(io.RawIOBase):
    def readable(self):
        return True

    def readinto(self, buffer):
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def tar_of_zeros(opened, ending, name, kind=tarfile.REGTYPE):
    def make(folder, size, _):
        path = folder / f"k.tar.{ending}"
        info = tarfile.TarInfo(name)
        info.size, info.type = size, kind
        with opened(path, "wb") as file:
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
        return path

    return make


def workbook(cells):
    def make(folder, size, _):
        main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        path = folder / "t.xlsx"
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
            file.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet,
        ):
            sheet.write(f'<worksheet xmlns="{main}"><sheetData><row r="1">'.encode())
            for cell in cells(size):
                sheet.write(cell)
            sheet.write(b"</row></sheetData></worksheet>")
        return path

    return make


def far_apart(_):
    yield b'<c r="A1"><v>1</v></c><c r="XFD1048576"><v>1</v></c>'


def many(size):
    for _ in range(size >> 20):
        yield b'<c t="inlineStr"><is><t>aaaaaaaaaaaaaaaaaa</t></is></c>' * ((1 << 20) // 54)


def repeated_texts(folder, size, _):
    """A Parquet file whose one long text stands in each row."""
    rows = size // 1_000_000
    table = pa.table({"text": ["あ" * 333_333] * rows, "label": (["a", "b"] * rows)[:rows]})
    pq.write_table(table, folder / "t.parquet")
    return folder / "t.parquet"


BOMBS = {
    "empty lines": ("csv", gz_of(b"text,label\n", b"\n")),
    "one line": ("csv", gz_of(b"text,label\na,", b"a")),
    "an open quote": ("csv", gz_of(b'text,label\na,"', b"a\n")),
    "rows": ("csv", gz_of(b"text,label\n", b"aaaaaaaaaaaaaaaaaaaaaaaaaaa,bbb\n")),
    "commas": ("csv", gz_of(b"text,label\n", b",")),
    "spaces": ("jsonl", gz_of(b"", b" ")),
    "an array of spaces": ("json", gz_of(b"[", b" ")),
    "an open string": ("json", gz_of(b'[{"text": "', b"a")),
    "brackets": ("jsonl", gz_of(b"", b"[")),
    "zeros in a zip": ("zip", zip_of_zeros),
    "zeros in tar.gz": ("tar", tar_of_zeros(gzip.open, "gz", "corpus2/Kyoto.tsv")),
    "zeros in tar.bz2": ("tar", tar_of_zeros(bz2.open, "bz2", "corpus2/Kyoto.tsv")),
    "zeros in tar.xz": ("tar", tar_of_zeros(lzma.open, "xz", "other/file")),
    "a long name": ("tar", tar_of_zeros(gzip.open, "gz", "a", tarfile.GNUTYPE_LONGNAME)),
    "a long header": ("tar", tar_of_zeros(gzip.open, "gz", "a", tarfile.XHDTYPE)),
    "cells far apart": ("xlsx", workbook(far_apart)),
    "many cells": ("xlsx", workbook(many)),
    "one text in all rows": ("parquet", repeated_texts),
}
ARCHIVES = ("zip", "tar")


@pytest.mark.attack
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_what_holds_all_and_takes_no_memory_of_what_does_not(name, tmp_path):
    ending, make = BOMBS[name]
    path = make(tmp_path, SIZE, ending)
    said, memory = read(path)
    print(f"{name}: {path.stat().st_size:,} bytes, retrain {memory} MB: {said[:150]}")
    assert said.startswith("refused") and str(path) in said and memory < MOST
    if ending not in ARCHIVES:
        said, memory = read(path, "score")
        print(f"{name}: score {memory} MB: {said[:150]}")
        assert memory < MOST and said.startswith(("refused", "rows"))


@pytest.mark.parametrize(
    "name", ["rows", "zeros in a zip", "zeros in tar.gz", "many cells", "one text in all rows"]
)
def test_what_is_held_is_bounded_and_both_sizes_are_told(name, tmp_path):
    from jabert.config import DataSettings
    from jabert.dataset import read_rows
    from jabert.errors import JabertError

    ending, make = BOMBS[name]
    path = make(tmp_path, 4 << 20, ending)
    with pytest.raises(JabertError) as error:
        read_rows(DataSettings(path=str(path), max_bytes=100_000))
    assert str(path) in str(error.value)
    assert "data.max_bytes allows 100,000" in str(error.value)
    size = next(
        int(word.strip(",").replace(",", "")) for word in str(error.value).split() if word[0].isdigit()
    )
    assert size > 100_000


def test_what_fits_is_read_and_files_count_together(tmp_path):
    from jabert.config import DataSettings
    from jabert.dataset import read_rows
    from jabert.errors import JabertError

    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text,label\n" + "お寺,京都\n" * 100, encoding="utf-8")
    size = (tmp_path / "a.csv").stat().st_size
    assert len(read_rows(DataSettings(path=str(tmp_path), max_bytes=2 * size))) == 200
    with pytest.raises(JabertError, match=rf"b\.csv .*{size:,} bytes, all 2 files so far {2 * size:,}"):
        read_rows(DataSettings(path=str(tmp_path), max_bytes=2 * size - 1))


def wide(folder):
    names = ",".join(f"c{n}" for n in range(100_000))
    row = "京都の紅葉を見た,京都" + "," * 100_000
    (folder / "wide.csv").write_text(f"text,label,{names}\n" + f"{row}\n" * 60, encoding="utf-8")
    return folder / "wide.csv"


def keys(folder):
    rows = [{"text": "京都"} | {f"k{row}_{n}": 1 for n in range(10)} for row in range(4096)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "keys.jsonl").write_text(lines, encoding="utf-8")
    return folder / "keys.jsonl"


@pytest.mark.attack
@pytest.mark.parametrize("make", [wide, keys])
def test_nothing_is_quadratic_in_columns_or_keys(make, tmp_path):
    import time

    from jabert.dataset.chunks import read_chunks
    from jabert.scoring.champion import ANSWER
    from jabert.scoring.output import write_output, write_part

    path, began, parts = make(tmp_path), time.process_time(), []
    for chunk in read_chunks(str(path), 4096, lambda names: names):
        answer = {"label": "a", "score": 0.5, "probabilities": [("a", 0.5)], "model_version": "1"}
        answers = pa.Table.from_pylist([answer] * len(chunk.lines), ANSWER)
        parts.append(tmp_path / f"{len(parts)}.arrow")
        write_part(chunk.table, answers, parts[-1])
    for ending in ("csv", "jsonl"):
        write_output(parts, tmp_path / f"out.{ending}")
    assert time.process_time() - began < 60
