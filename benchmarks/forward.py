"""The forward pass on the same texts by several implementations: jabert's engines and their alternatives.

    python benchmarks/forward.py DATA ENCODER [--bert-base] [--texts 1024] [--passes 3] [--out FOLDER]

Each implementation is a process of its own (`benchmarks/programs`); the peers run in `.venv-peers`, which
`make peers` installs. All are loaded first, which takes 8 GB of memory, twice that with `--bert-base`, and
then take turns, pass by pass, so that a change in the machine's speed affects them all. Each returns float32
NumPy arrays. A peer runs with the best of several token budgets and variants, jabert's engines with their own
budget.

`--bert-base` replaces the weights of `ENCODER` by random ones of BERT-base's size. Prints a table and writes
`forward.json` or `forward-bert-base.json`.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from programs.protocol import read_texts
from workers import OWN, PEERS, RESULTS, Worker, WorkerError, run_program, say

from jabert import markdown
from jabert.config import EncoderSettings
from jabert.encoder import choose
from jabert.files import write_json

BUDGETS = (512, 1024, 2048, 4096, 8192)  # tokens of a batch
ARTICLE, REFERENCE = "the article's loop", "jabert, reference (keras-bert)"
HALF, TENTH = 2, 10  # every second text suffices to choose a budget, every tenth to compare vectors


@dataclass(frozen=True)
class Contender:
    """An implementation that is measured, a row of the table.

    Attributes:
        name: as in the table.
        python: the interpreter, `OWN` or `PEERS`.
        program: name of its file in `benchmarks/programs`.
        precision: float32, bfloat16 or int8.
        variants: values of `--variant`; the fastest is measured.
        budgets: token budgets of a batch, of which the fastest is measured; None means batches of 32 texts
            in file order. Empty where the program chooses its own budget.
        slow: whether only some of the texts are computed.
    """

    name: str
    python: Path
    program: str
    precision: str = "float32"
    variants: tuple[str, ...] = ("",)
    budgets: tuple[int | None, ...] = BUDGETS
    slow: bool = False

    def arguments(self, folder: Path, variant: str) -> list[Any]:
        """The command line of the program."""
        model = folder / "encoder" if self.python == OWN else folder
        return [folder / "texts.npz", model, "--precision", self.precision, "--variant", variant]


CASTS, GRAPHS = ("cpu autocast", "cpu weights"), ("exported", "optimized")
ON_CUDA, GPU_BUDGETS = ("cuda autocast", "cuda weights"), (*BUDGETS, 16384, 32768, 65536)
HUGGING_FACE, ONNX_RUNTIME, OPENVINO = "hugging_face.py", "onnx_runtime.py", "open_vino.py"
UNSORTED = ", batches of 32 in file order"
CONTENDERS = [
    Contender(ARTICLE, OWN, "article.py", budgets=(), slow=True),
    Contender(f"Hugging Face fp32{UNSORTED}", PEERS, HUGGING_FACE, variants=("cpu",), budgets=(None,)),
    Contender("Hugging Face fp32", PEERS, HUGGING_FACE, variants=("cpu",)),
    Contender(f"Hugging Face bf16{UNSORTED}", PEERS, HUGGING_FACE, "bfloat16", CASTS, (None,)),
    Contender("Hugging Face bf16", PEERS, HUGGING_FACE, "bfloat16", CASTS),
    Contender("ONNX Runtime fp32", PEERS, ONNX_RUNTIME, variants=GRAPHS),
    Contender("ONNX Runtime dynamic int8", PEERS, ONNX_RUNTIME, "int8", GRAPHS),
    Contender("OpenVINO fp32", PEERS, OPENVINO),
    Contender("OpenVINO bf16", PEERS, OPENVINO, "bfloat16"),
    Contender(REFERENCE, OWN, "own.py", variants=("reference",), budgets=()),
    Contender("jabert, exact (openvino fp32)", OWN, "own.py", variants=("openvino",), budgets=()),
    Contender("jabert, fast (openvino bf16)", OWN, "own.py", "bfloat16", ("openvino",), ()),
]
ON_GPU = [
    Contender("Hugging Face fp32, GPU", PEERS, HUGGING_FACE, variants=("cuda",), budgets=GPU_BUDGETS),
    Contender("Hugging Face bf16, GPU", PEERS, HUGGING_FACE, "bfloat16", ON_CUDA, GPU_BUDGETS),
    Contender("jabert, exact (tensorflow fp32, GPU)", OWN, "own.py", variants=("tensorflow",), budgets=()),
    Contender("jabert, fast (tensorflow bf16, GPU)", OWN, "own.py", "bfloat16", ("tensorflow",), ()),
]
LIMITS = {"float32": "matrix-multiply limit, fp32", "bfloat16": "matrix-multiply limit, bf16"}


@dataclass
class Running:
    """A contender that is loaded; it computes every `step`-th text."""

    contender: Contender
    worker: Worker
    step: int
    budget: int | None
    variant: str
    seconds: list[float] = field(default_factory=list)

    def pass_(self, step: int | None = None) -> float:
        """Seconds of one pass."""
        seconds: float = self.worker.ask(rows=step or self.step, budget=self.budget)["seconds"]
        return seconds

    def vectors(self, path: Path, step: int) -> tuple[np.ndarray, int]:
        """Vectors `(tokens, hidden)` of every `step`-th text, and the peak memory in bytes after that."""
        peak: int = self.worker.ask(rows=step, budget=self.budget, write=str(path))["peak_bytes"]
        return np.load(path), peak


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options)
    write_json(options.out / f"forward{'-bert-base' if options.bert_base else ''}.json", result)
    print(table(result))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("--bert-base", action="store_true")
    parser.add_argument("--texts", type=int, help="1024, or 256 with --bert-base")
    parser.add_argument("--slow-texts", type=int, help="of the article's loop: 24, or 8 with --bert-base")
    parser.add_argument(
        "--passes", type=int, default=3, help="timed passes after a warm-up pass; the median counts"
    )
    parser.add_argument(
        "--only", default="", help="measure only the reference and those with this in their name"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    options.texts = options.texts or (256 if options.bert_base else 1024)
    options.slow_texts = options.slow_texts or (8 if options.bert_base else 24)
    return options


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Load all contenders, time them in turns, and compare their vectors with the reference's."""
    base = ["--bert-base"] if options.bert_base else []
    say("token ids and weights")
    run_program(OWN, "prepare.py", [options.data, options.encoder, folder, "--texts", options.texts, *base])
    export(folder)
    running, failed = load_all(folder, options)
    limits = load_limits()
    rates = take_turns(running, limits, options.passes)
    texts = read_texts(folder / "texts.npz")
    config = json.loads((folder / "bert_config.json").read_text(encoding="utf-8"))
    flops = np.array([forward_flops(config, len(ids)) for ids in texts])
    timed = [row_of(each, flops, rates) for each in running]
    compare(folder, texts, running, timed)
    for worker in (*limits.values(), *(each.worker for each in running)):
        worker.close()
    return {
        "texts": len(texts),
        "tokens": sum(map(len, texts)),
        "encoder": config,
        "machine": machine(),
        "limits": {name: {"flops": rate, "ms": 1e3 * flops.mean() / rate} for name, rate in rates.items()},
        "ways": in_order(timed, failed),
    }


def export(folder: Path) -> None:
    """Convert the encoder to the formats of the peers; where that fails, they get a row with the reason."""
    say("models for the peers")
    try:
        run_program(PEERS, "export.py", [folder])
    except WorkerError as reason:
        say(f"  {reason}")


def load_limits() -> dict[str, Worker]:
    """The programs that measure the speed of matrix multiplication, by precision; none without PyTorch."""
    try:
        return {name: Worker(PEERS, "matrix_multiply.py", [name]) for name in LIMITS}
    except WorkerError as reason:
        say(f"no matrix-multiply limit: {reason}")
        return {}


def load_all(folder: Path, options: argparse.Namespace) -> tuple[list[Running], list[dict[str, str]]]:
    """The contenders that run here, and a row with the reason for each that does not."""
    contenders = [*CONTENDERS, *(ON_GPU if choose(EncoderSettings()).device == "/GPU:0" else [])]
    running, failed = [], []
    for contender in contenders:
        if options.only in contender.name or contender.name == REFERENCE:
            say(contender.name)
            try:
                running.append(load(contender, folder, options))
            except WorkerError as reason:
                failed.append({"way": contender.name, "error": str(reason)})
                say(f"  {reason}")
    return running, failed


def load(contender: Contender, folder: Path, options: argparse.Namespace) -> Running:
    """Load a contender with its fastest variant and token budget.

    Each variant is tried in a process of its own, so that trying does not count in the peak memory.
    """
    tried = {}
    if len(contender.variants) > 1 or len(contender.budgets) > 1:
        for variant in contender.variants:
            worker = Worker(contender.python, contender.program, contender.arguments(folder, variant))
            worker.ask(rows=TENTH, budget=contender.budgets[0])
            for budget in contender.budgets:
                tried[variant, budget] = worker.ask(rows=HALF, budget=budget)["seconds"]
            worker.close()
        say(
            "  "
            + ", ".join(f"{variant} {budget}: {found:.2f} s" for (variant, budget), found in tried.items())
        )
    variant, budget = min(tried, key=tried.__getitem__) if tried else (contender.variants[0], None)
    worker = Worker(contender.python, contender.program, contender.arguments(folder, variant))
    step = options.texts // options.slow_texts if contender.slow else 1
    return Running(contender, worker, step, worker.facts["budget"] or budget, variant)


def take_turns(running: list[Running], limits: dict[str, Worker], passes: int) -> dict[str, float]:
    """Time passes of all contenders in turns; returns the machine's operations per second by precision."""
    rates: dict[str, list[float]] = {name: [] for name in limits}
    for each in running:
        each.pass_(each.step * 8 if each.contender.slow else None)
    for number in range(passes):
        for name, worker in limits.items():
            rates[name].append(worker.ask()["flops"])
        for each in running:
            each.seconds.append(each.pass_())
        say(f"pass {number + 1} of {passes}")
    return {name: statistics.median(found) for name, found in rates.items()}


def forward_flops(config: dict[str, Any], tokens: int) -> int:
    """Floating-point operations of the matrix products for one text without padding."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    dense = 2 * tokens * (4 * hidden * hidden + 2 * hidden * wide)
    attention = 2 * 2 * tokens * tokens * hidden
    return int(config["num_hidden_layers"] * (dense + attention))


def row_of(each: Running, flops: np.ndarray, rates: dict[str, float]) -> dict[str, Any]:
    """The times of a contender, and its share of the limit on the texts that it computed."""
    computed = flops[:: each.step]
    milliseconds = [1e3 * seconds / len(computed) for seconds in each.seconds]
    ms = statistics.median(milliseconds)
    on_gpu = each.contender in ON_GPU or each.worker.facts.get("device") == "/GPU:0"
    # The limit was measured on the CPU.
    limit = None if on_gpu else rates.get("float32" if each.contender.precision == "float32" else "bfloat16")
    return {
        "way": each.contender.name,
        "ms": ms,
        "passes_ms": milliseconds,
        "texts": len(computed),
        "share_of_limit": 1e3 * computed.mean() / limit / ms if limit else None,
        "token_budget": each.budget,
        "variant": each.variant,
        **each.worker.facts,
    }


def compare(
    folder: Path, texts: list[np.ndarray], running: list[Running], rows: list[dict[str, Any]]
) -> None:
    """Add to each row the distance to the reference and the peak memory."""
    reference = next(each for each in running if each.contender.name == REFERENCE)
    for each, row in zip(running, rows, strict=True):
        step = each.step if each.contender.slow else TENTH
        vectors, row["peak_bytes"] = each.vectors(folder / "vectors.npy", step)
        expected, _ = reference.vectors(folder / "reference.npy", step)
        chosen = texts[::step]
        # Unmodified keras-bert masks id 0, <unk>: its vectors of a text with one differ, as they should.
        counts = np.repeat(
            [each.contender.name != ARTICLE or 0 not in ids for ids in chosen], [*map(len, chosen)]
        )
        row.update(distance(vectors[counts], expected[counts]))


def distance(vectors: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Smallest cosine similarity of two token vectors, and the largest difference of two of their values."""
    left, right = vectors.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return {
        "smallest_cosine": float(((left * right).sum(axis=1) / norms).min()),
        "largest_difference": float(np.abs(left - right).max()),
    }


def in_order(*parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows in the order of the contenders, each with its speed relative to the article's loop."""
    names = [contender.name for contender in (*CONTENDERS, *ON_GPU)]
    rows = sorted((row for part in parts for row in part), key=lambda row: names.index(row["way"]))
    article = next((row["ms"] for row in rows if row["way"] == ARTICLE and "ms" in row), None)
    return [row | {"ratio": article / row["ms"]} if article and "ms" in row else row for row in rows]


def table(result: dict[str, Any]) -> str:
    """The docs' table."""
    headings = [
        "contender",
        "ms a text",
        "× the article's",
        "of the limit",
        "smallest cosine",
        "largest difference",
        "MB",
    ]
    lines = [cells(row) for row in result["ways"]]
    article = next((row["ms"] for row in result["ways"] if row["way"] == ARTICLE and "ms" in row), None)
    for name, limit in result["limits"].items():
        label = f"{LIMITS[name]} ({limit['flops'] / 1e9:.0f} GFLOP/s)"
        lines.append(
            [label, f"{limit['ms']:.2f}", f"{article / limit['ms']:.0f}" if article else None, *4 * [None]]
        )
    return markdown.table(headings, lines)


def cells(row: dict[str, Any]) -> list[str | None]:
    if "error" in row:
        return [row["way"], row["error"], *5 * [None]]
    slow = f" ({row['texts']} texts)" if row["way"] == ARTICLE else ""
    return [
        row["way"] + slow,
        f"{row['ms']:.2f}",
        f"{row['ratio']:.0f}" if "ratio" in row else None,
        f"{row['share_of_limit']:.0%}" if row["share_of_limit"] else None,
        f"{row['smallest_cosine']:.6f}",
        f"{row['largest_difference']:.1e}",
        f"{row['peak_bytes'] / 1e6:,.0f}",
    ]


if __name__ == "__main__":
    main()
