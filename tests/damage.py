"""Damaged files, thousands of them: one sound file of each format, a seeded mutator, and what reads the file.

Run as a program it tries cases of one format, and says on stdout which is begun and what came of it; whoever
started it sees a crash or a hang by that (tests/attack/test_damaged_files.py).
"""

import contextlib
import io
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import toy

from jabert.errors import DamagedError, JabertError

SECONDS = 20  # that a case may take
BYTES = 1_500_000_000  # of memory that a case may take
_INTERESTING = [0, 1, 0x0A, 0x22, 0x2C, 0x7F, 0x80, 0xFF]


@dataclass(frozen=True)
class Format:
    """What is damaged and read.

    Attributes:
        cases: of a whole attack.
        make: writes sound files into a folder.
        read: reads them, and returns what must not change where it is `checked`.
        checked: whether the format has checksums, so that damage is refused or does no harm.
        files: names of those that are damaged, all without it; a case damages one.
    """

    cases: int
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    checked: bool = False
    files: Callable[[Path], list[Path]] = field(
        default=lambda folder: sorted(path for path in folder.rglob("*") if path.is_file())
    )


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with one to four changes: bits, bytes, numbers, blocks, cuts, repetitions."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        at = chance.randrange(len(data) + 1)
        length = min(len(data) - at, chance.choice([1, 2, 4, 8, 64, 1024]))
        match chance.randrange(9):
            case 0 if length:
                data[at] ^= 1 << chance.randrange(8)
            case 1 if length:
                data[at] = chance.choice(_INTERESTING)
            case 2:
                data[at : at + length] = chance.randbytes(length)
            case 3:
                data[at : at + length] = bytes(length)
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length] * chance.choice([1, 2, 50])
            case 6:
                del data[at:]
            case 7:
                source = chance.randrange(len(data) + 1)
                data[at : at + length] = data[source : source + length]
            case _:
                data[at:at] = chance.randbytes(chance.choice([1, 4, 16]))
    return bytes(data)


# Labelled texts: each has a file of its own, or several.

ROWS = toy.toy_rows(24, 8)


def rows_of(path: Path) -> Any:
    """The rows as `retrain` reads them, and then as `score` reads and writes them."""
    from jabert.config import DataSettings
    from jabert.dataset import read_rows
    from jabert.dataset.chunks import read_chunks, table_ending
    from jabert.dataset.writing import write_chunks

    (file,) = path.iterdir() if path.is_dir() and len(list(path.iterdir())) == 1 else (path,)
    rows = read_rows(DataSettings(path=str(file)))
    if table_ending(str(file)):
        keys: dict[str, None] = {}
        tables = []
        for chunk in read_chunks(str(file), 16, lambda names: names):
            keys |= dict.fromkeys(chunk.names if isinstance(chunk.rows, list) else ())
            tables.append(chunk.table)
        is_json = isinstance(chunk.rows, list)
        for ending in ("csv", "jsonl", "parquet"):
            target = path.parent / f"out.{ending}"
            write_chunks(tables, tables[0].schema, target, list(keys) if is_json else None)
    return rows.drop(columns="file").astype(object).where(rows.notna(), None).to_dict("list")


def table_file(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from jabert.dataset.writing import write_table

        rows = ROWS.assign(text=ROWS["text"].where(ROWS.index % 5 != 0, 'a "quoted", text\nof two lines'))
        if name.endswith(".json"):
            rows.to_json(folder / name, orient="records", force_ascii=False)
        else:
            write_table(rows, folder / name)

    return make


def parquet(folder: Path) -> None:
    """With types of all kinds beside the texts."""
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            **{name: ROWS[name].tolist() for name in ("text", "label", "group")},
            "when": [datetime.datetime(2020, 1, 1 + n) for n in range(24)],
            "list": [[n, n + 1] for n in range(24)],
            "struct": [{"a": n, "b": str(n)} for n in range(24)],
            "bytes": [bytes([n]) * 3 for n in range(24)],
            "float": [n / 3 for n in range(24)],
        }
    )
    pq.write_table(table, folder / "t.parquet", row_group_size=9, compression="zstd")


def workbook(folder: Path) -> None:
    """As spreadsheets write it, with shared strings."""
    rows = [list(ROWS.columns), *ROWS.to_numpy().tolist()]
    strings = list(dict.fromkeys(cell for row in rows for cell in row))
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    cells = "".join(
        f'<row r="{n}">'
        + "".join(
            f'<c r="{"ABC"[m]}{n}" t="s"><v>{strings.index(cell)}</v></c>' for m, cell in enumerate(row)
        )
        + "</row>"
        for n, row in enumerate(rows, 1)
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/xl/workbook.xml" '
        f'ContentType="{kind}.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" '
        f'ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="a" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" '
        f'Type="{office}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
        "xl/sharedStrings.xml": f'<sst xmlns="{main}">'
        + "".join(f"<si><t>{text}</t></si>" for text in strings)
        + "</sst>",
    }
    with zipfile.ZipFile(folder / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in parts.items():
            packed.writestr(name, text)


def topics() -> dict[str, bytes]:
    lines = {
        topic: "".join(f"KN{n}_{topic}_1-1-{n}-01\t{topic}の話{n}。\t[著者]\t\t\t\n" for n in range(9))
        for topic in ("Gourmet", "Keitai", "Kyoto", "Sports")
    }
    return {f"corpus2/{topic}.tsv": text.encode("euc_jp") for topic, text in lines.items()}


def knbc(folder: Path) -> None:
    for name, content in topics().items():
        (folder / "k" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "k" / name).write_bytes(content)


def archive(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        if name.endswith(".zip"):
            with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as packed:
                for member, content in topics().items():
                    packed.writestr(member, content)
            return
        with tarfile.open(folder / name, "w:" + name.removeprefix("k.tar").removeprefix(".")) as tar:
            for member, content in topics().items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))

    return make


def classes(folder: Path) -> None:
    for n, row in ROWS.iterrows():
        path = folder / "c" / row["label"] / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["text"], encoding="cp932")


# Encoders.


def encoder(folder: Path) -> None:
    toy.make_encoder(folder / "e")
    (folder / "e" / "encoder.toml").write_text(
        'lower_case = true\nlicence = "CC0"\nprefix = "query: "\ncls_id = 4\n', encoding="utf-8"
    )
    (folder / "e" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-1"\n', encoding="utf-8")


def named(*names: str) -> Callable[[Path], list[Path]]:
    def files(folder: Path) -> list[Path]:
        return [path for path in sorted(folder.rglob("*")) if any(name in path.name for name in names)]

    return files


def token_ids(folder: Path) -> Any:
    from jabert.config import EncoderSettings
    from jabert.encoder import Tokenizer, open_folder

    opened = open_folder(folder / "e")
    tokenizer = Tokenizer(opened, EncoderSettings())
    found = tokenizer(["京都のお寺。", "ｶﾞｯｺｳ１２", "HelloとThank you" * 9])
    return [row.tolist() for row in found.ids], opened.fingerprint and tokenizer.pieces("京都のお寺。")


def weights(folder: Path) -> Any:
    from jabert.encoder import open_folder
    from jabert.encoder.folder import read_variables

    found = read_variables(open_folder(folder / "e"))
    return {name: float(np.abs(value).sum()) for name, value in found.items()}


def hugging_face(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with tarfile.open(Path(__file__).parent / "hugging_face" / "models.tar.xz") as packed:
            packed.extractall(folder / "all", filter="data")
        (folder / "all" / "models" / name).rename(folder / "h")
        shutil.rmtree(folder / "all")

    return make


def imported(folder: Path) -> Any:
    from jabert.pretraining.hugging_face import import_encoder

    target = folder.parent / "imported"
    shutil.rmtree(target, ignore_errors=True)
    import_encoder(folder / "h", target)


# What jabert itself leaves.


def store(folder: Path) -> None:
    from jabert.encoder import TokenIds
    from jabert.features import FeatureStore, row_keys

    features = FeatureStore(folder / "s", {"encoder": "e"}, 4, "float16")
    chance = np.random.default_rng(0)
    with features.writer() as writer:
        for _ in range(3):
            ids = TokenIds.of(chance.integers(0, 320, chance.integers(2, 20)) for _ in range(5))
            writer.append(row_keys(ids), ids, chance.normal(size=(len(ids.flat), 4)))


_STORED: list[tuple[bytes, list[float]]] = []


def stored(folder: Path) -> Any:
    """Each row that is found has the vectors that were written."""
    from jabert.features import FeatureStore

    (folder / "s").mkdir(exist_ok=True)
    features = FeatureStore(folder / "s", {"encoder": "e"}, 4, "float16")
    if not _STORED:
        _STORED.extend((features.key(n), features.vectors(n).ravel().tolist()) for n in range(len(features)))
    keys = np.frombuffer(b"".join(key for key, _ in _STORED), np.uint8).reshape(-1, 16)
    found = features.find(keys)
    features.damaged(), features.unread()
    return [
        n
        for n, row in enumerate(found)
        if row >= 0 and features.vectors(row).ravel().tolist() != _STORED[n][1]
    ]


def step(folder: Path) -> None:
    step_result(folder)


def step_result(folder: Path) -> Any:
    """A finished step is found, or made again."""
    from jabert.experiments.store import find_or_make

    def make(made: Path) -> dict[str, Any]:
        ROWS.to_parquet(made / "table.parquet")
        np.save(made / "probabilities.npy", np.arange(12.0))
        return {"rows": 24, "notes": ["あ"], "share": 0.25}

    made, record = find_or_make(folder / "w", "read", "0123456789abcdef", make, resumes=True)
    table = pd.read_parquet(made / "table.parquet").to_dict("list")
    return record, table, np.load(made / "probabilities.npy").tolist()


def training(folder: Path) -> None:
    state, variable = _state(folder / "t")
    variable.assign([1.0, 2.0, 3.0])
    state.save([{"epoch": 1, "loss": 0.5}])


def _state(folder: Path) -> Any:
    from jabert.legacy_keras import import_tensorflow
    from jabert.training.state import TrainingState

    variable = import_tensorflow().Variable([0.0, 0.0, 0.0], name="v")
    return TrainingState({"v": variable}, folder, "epoch"), variable


def resumed(folder: Path) -> Any:
    state, variable = _state(folder / "t")
    history = state.restore()
    return variable.numpy().tolist() if history else None


def attempt(folder: Path) -> None:
    from jabert.files import write_json
    from jabert.tracking import Attempt

    work = Attempt(folder / "a")
    with work.exclusive():
        work.resume("0123456789abcdef0123456789abcdef")
    write_json(folder / "a" / "logged.json", "models:/m-0123456789abcdef")
    write_json(folder / "a" / "version.json", "3")


def attempted(folder: Path) -> Any:
    from jabert.experiments.retraining import _logged
    from jabert.tracking import Attempt

    work = Attempt(folder / "a")
    with work.exclusive():
        work.resume("fedcba9876543210fedcba9876543210")
    _logged(folder / "a" / "logged.json")


def parts(folder: Path) -> None:
    import pyarrow as pa

    from jabert.scoring.champion import ANSWER
    from jabert.scoring.output import write_part

    answers = [
        {"label": "a", "score": 0.5, "probabilities": [("a", 0.5)], "model_version": "1", "cut": False}
        for _ in range(len(ROWS))
    ]
    write_part(
        pa.Table.from_pandas(ROWS, preserve_index=False),
        pa.Table.from_pylist(answers, ANSWER),
        folder / "p.arrow",
    )


def joined(folder: Path) -> Any:
    from jabert.scoring.output import is_whole, write_output

    if not is_whole(folder / "p.arrow"):
        raise DamagedError("it is scored again")
    write_output([folder / "p.arrow"], folder.parent / "out.csv")
    return pd.read_csv(folder.parent / "out.csv", keep_default_na=False).to_dict("list")


def tracked(folder: Path) -> Any:
    """The database and the files of a registry with two versions, the second the champion."""
    from toy_registry import log_model

    from jabert.config import load_settings
    from jabert.registry import open_registry

    settings = load_settings(None, [f"tracking.uri=sqlite:///{folder}/mlflow.db", "tracking.model_name=toy"])
    registry = open_registry(settings)
    for right in (60, 80):
        uri = log_model(registry, folder / f"model-{right}", right, learned={"rows": [], "groups": []})
        version = registry.register(uri)
        registry.apply_verdict(version, registry.champion(), "promoted", "better")
        shutil.rmtree(folder / f"model-{right}")


def asked(folder: Path) -> Any:
    """What the command line says of a registry."""
    from jabert.cli import main

    for words in (["models"], ["runs"], ["models", "verify"]):
        told, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(errors):
            try:
                main(
                    [
                        *words,
                        "--json",
                        "--set",
                        f"tracking.uri=sqlite:///{folder}/mlflow.db",
                        "--set",
                        "tracking.model_name=toy",
                    ]
                )
            except SystemExit as end:
                if end.code not in (0, 1, None):
                    raise RuntimeError(f"exit code {end.code}") from None
        if "Traceback" in errors.getvalue():
            raise RuntimeError(errors.getvalue()[-500:])


def loaded(folder: Path) -> Any:
    """The champion's answers, once its files are those that were registered."""
    from toy_registry import toy_registry

    registry = toy_registry("toy", f"tracking.uri=sqlite:///{folder}/mlflow.db")
    with registry.files("2") as files:
        return json.loads((files / "artifacts" / "about.json").read_text(encoding="utf-8"))


def of_models(folder: Path) -> list[Path]:
    return [path for path in sorted((folder / "artifacts").rglob("*")) if path.is_file()]


FORMATS = {
    "csv": Format(1800, table_file("t.csv"), rows_of),
    "tsv": Format(500, table_file("t.tsv"), rows_of),
    "csv.gz": Format(1100, table_file("t.csv.gz"), rows_of, checked=True),
    "jsonl": Format(1500, table_file("t.jsonl"), rows_of),
    "json array": Format(700, table_file("t.json"), rows_of),
    "parquet": Format(2500, parquet, rows_of),
    "xlsx": Format(1000, workbook, rows_of, checked=True),
    "zip": Format(3500, archive("k.zip"), rows_of, checked=True),
    "tar": Format(500, archive("k.tar"), rows_of),
    "tar.gz": Format(500, archive("k.tar.gz"), rows_of, checked=True),
    "tar.bz2": Format(300, archive("k.tar.bz2"), rows_of, checked=True),
    "tar.xz": Format(300, archive("k.tar.xz"), rows_of, checked=True),
    "KNBC folder": Format(400, knbc, rows_of),
    "class folders": Format(100, classes, lambda folder: rows_of(folder / "c")),
    "SentencePiece": Format(1000, encoder, token_ids, files=named("toy-ja.model")),
    "bert_config.json": Format(600, encoder, token_ids, files=named("bert_config.json")),
    "encoder.toml": Format(400, encoder, token_ids, files=named("encoder.toml", "checkpoint")),
    "checkpoint": Format(1000, encoder, weights, checked=True, files=named("ckpt")),
    "Hugging Face": Format(300, hugging_face("e5"), imported, files=named(".json", ".model")),
    "safetensors": Format(200, hugging_face("e5"), imported, files=named(".safetensors")),
    "ONNX": Format(100, hugging_face("modernbert"), imported, files=named(".onnx")),
    "feature parts": Format(1200, store, stored, checked=True, files=named(".arrows")),
    "steps": Format(700, step, step_result, checked=True),
    "training state": Format(300, training, resumed, files=named("state", "history")),
    "attempts": Format(300, attempt, attempted),
    "scored parts": Format(500, parts, joined, checked=True),
    "MLflow's SQLite": Format(250, tracked, asked, files=named("mlflow.db")),
    "model folders": Format(250, tracked, loaded, checked=True, files=of_models),
}


class Hang(BaseException):
    """A case takes too long."""


def _alarm(*_: Any) -> None:
    raise Hang


@contextlib.contextmanager
def silent_and_bounded() -> Iterator[None]:
    """Nothing is logged, and SIGALRM is a hang; afterwards both are as before, for other tests' sake."""
    before = signal.signal(signal.SIGALRM, _alarm)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        signal.signal(signal.SIGALRM, before)


@silent_and_bounded()
def attempt_cases(name: str, seeds: Iterator[int], tell: Callable[[dict[str, Any]], None]) -> None:
    """Try cases of a format, each named by its seed, and tell of each when it begins and what came of it."""
    form = FORMATS[name]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        sound, folder = Path(scratch, "sound"), Path(scratch, "case")
        folder.mkdir()
        form.make(folder)
        shutil.copytree(folder, sound)
        right = form.read(folder)
        for seed in seeds:
            tell({"begun": seed})
            shutil.rmtree(folder)
            shutil.copytree(sound, folder)
            chance = random.Random(f"{name} {seed}")
            target = chance.choice(form.files(folder))
            target.write_bytes(mutated(target.read_bytes(), chance))
            tell({"done": seed, "result": _result(form, folder, right), "file": target.name})


def _result(form: Format, folder: Path, right: Any) -> str:
    before = _memory()
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        found = form.read(folder)
        result = "read" if found == right else "changed"
    except JabertError as error:
        result = "refused" if "\n" not in str(error) and str(error) else f"not one sentence: {error}"
    except Hang:
        result = f"hang: {time.monotonic() - started:.0f} s"
    except BaseException as error:
        import traceback

        result = f"traceback: {''.join(traceback.format_exception(error))[-1500:]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if form.checked and result == "changed":
        result = f"believed: {str(found)[:200]}"
    if (taken := _memory()) > max(BYTES, before):
        result = f"memory: {taken:,} bytes"
    return result


def _memory() -> int:
    """The most that this process has taken."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    attempt_cases(
        sys.argv[1],
        iter(range(int(sys.argv[2]), int(sys.argv[3]))),
        lambda told: print(json.dumps(told), file=channel, flush=True),
    )
