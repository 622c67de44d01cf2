"""`jabert serve` compared with `mlflow models serve` on the same version of the registered model.

    python benchmarks/serving.py DATA STORE [--model models:/jabert@champion] [--rounds 3] [--out FOLDER]
    python benchmarks/serving.py DATA STORE --requests 20000

DATA is KNBC, STORE the URI of the MLflow store. Both servers, and the model without HTTP, are measured in
turns on the same texts; the results are medians of the rounds. The client is wrk (`apt install wrk`), which
uses little of the cores that it shares with the server; it keeps connections open and sends one text per
request. With `--requests` the memory of `jabert serve` over that many requests of 64 clients is measured
instead. Linux only. Prints the tables of the docs and writes `serving.json` or `serving-memory.json`.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from machine import machine
from workers import HERE, OWN, RESULTS, Worker

from jabert import markdown
from jabert.config import load_settings
from jabert.dataset import read_corpus
from jabert.files import write_json

CLIENTS = (1, 64)
SECONDS = 5  # of each load test
TEXTS = 1024  # evenly spread over the corpus
PORTS = {"jabert serve": 8701, "mlflow models serve": 8702}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("store")
    parser.add_argument("--model", default="models:/jabert@champion")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds; the median counts")
    parser.add_argument(
        "--requests", type=int, help="measure memory over this many requests, instead of speed"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    corpus = read_corpus(load_settings("knbc", [f"data.path={options.data}"]).data).table["text"].tolist()
    texts = corpus[:: len(corpus) // TEXTS][:TEXTS]
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies.jsonl"
        split = [{"dataframe_split": {"columns": ["text"], "data": [[text]]}} for text in texts]
        bodies.write_text("".join(json.dumps(body) + "\n" for body in split), encoding="utf-8")
        if options.requests:
            report(watch_memory(bodies, options), memory_table, options.out / "serving-memory.json")
        else:
            report(measure(texts, bodies, options), load_tables, options.out / "serving.json")


def report(found: dict[str, Any], shown: Callable[[dict[str, Any]], str], path: Path) -> None:
    write_json(path, {"machine": machine(), **found})
    print(shown(found))


def measure(texts: list[str], bodies: Path, options: argparse.Namespace) -> dict[str, Any]:
    listed = bodies.with_name("texts.json")
    listed.write_text(json.dumps(texts), encoding="utf-8")
    raw = Worker(OWN, "served_model.py", [options.store, options.model, listed])
    servers: dict[str, Server] = {}
    try:
        for name in PORTS:
            servers[name] = Server(name, options)
        rounds = [one_round(servers, raw, bodies) for _ in range(options.rounds)]
    finally:
        for server in servers.values():
            server.stop()
        raw.close()
    served = {
        name: {**server.facts, **medians([found[name] for found in rounds])}
        for name, server in servers.items()
    }
    return {"texts": len(texts), "raw": medians([found["raw"] for found in rounds]), "served": served}


def watch_memory(bodies: Path, options: argparse.Namespace) -> dict[str, Any]:
    server = Server("jabert serve", options)
    try:
        found = [{"requests": 0, "mb": server.megabytes()}]
        while found[-1]["requests"] < options.requests:
            answered = server.load(64, bodies)["requests"]
            found.append({"requests": found[-1]["requests"] + answered, "mb": server.megabytes()})
    finally:
        server.stop()
    return {"memory": found}


def one_round(servers: dict[str, "Server"], raw: Worker, bodies: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"raw": raw.ask()}
    for clients in CLIENTS:
        for name, server in servers.items():
            load = server.load(clients, bodies)
            found.setdefault(name, {}).update({f"{key}@{clients}": value for key, value in load.items()})
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(found[name] for found in rounds), 2) for name in rounds[0]}


class Server:
    """A server in a process of its own; `facts` has its memory and the seconds from start to first answer."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        port = PORTS[name]
        self._url = f"http://127.0.0.1:{port}"
        command = {
            "jabert serve": ["jabert", "serve", "--set", f"tracking.uri={options.store}", "--model"],
            "mlflow models serve": ["mlflow", "models", "serve", "--env-manager", "local", "--model-uri"],
        }[name]
        path = f"{OWN.parent}:{os.environ['PATH']}"
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [OWN.parent / command[0], *command[1:], options.model, "--port", str(port)],
            env={
                **os.environ,
                "PATH": path,
                "MLFLOW_TRACKING_URI": options.store,
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait()
        except requests.RequestException:
            self.stop()
            raise
        self.facts = {"start_seconds": round(time.perf_counter() - started, 2), "start_mb": self.megabytes()}

    def _wait(self) -> None:
        while True:
            try:
                answer = requests.post(f"{self._url}/invocations", json={"inputs": ["京都"]}, timeout=60)
                answer.raise_for_status()
                return
            except requests.ConnectionError:
                if self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def load(self, clients: int, bodies: Path, seconds: int = SECONDS) -> dict[str, float]:
        """Put the server under load; returns what wrk reports: rates in 1/s, latencies in ms."""
        command = ["wrk", "--threads", "1", "--connections", str(clients)]
        command += ["--duration", f"{seconds}s", "--timeout", "60s", "--script", HERE / "serving.lua"]
        done = subprocess.run([*command, self._url, "--", bodies], capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found

    def megabytes(self) -> float:
        """Resident memory of all processes of the server, MiB."""
        kilobytes = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                if os.getsid(int(status.parent.name)) == self._process.pid:
                    lines = status.read_text().splitlines()
                    kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
            except OSError:  # it has ended in the meantime
                continue
        return round(kilobytes / 1024, 1)

    def stop(self) -> None:
        """End all processes of the server."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(30)


def load_tables(result: dict[str, Any]) -> str:
    raw = result["raw"]
    rows = [
        [
            name,
            clients,
            *(f"{found[f'{key}@{clients}']:.1f}" for key in ("p50", "p95", "p99")),
            f"{found[f'per_second@{clients}']:.0f}",
            f"{found[f'per_second@{clients}'] / raw[f'network@{clients}']:.0%}" if clients > 1 else "",
            f"{found[f'failed@{clients}']:.0f}",
        ]
        for clients in CLIENTS
        for name, found in result["served"].items()
    ]
    heads = ["server", "clients", "p50, ms", "p95", "p99", "texts/s", "of encoder + head", "failed"]
    starts = [[name, found["start_seconds"], found["start_mb"]] for name, found in result["served"].items()]
    at_once = (CLIENTS[-1], result["texts"])
    rates = ", ".join(f"{raw[f'network@{n}']:.0f} with {n:,} at a time" for n in at_once)
    without = f"Without HTTP, texts/s: encoder + head {rates}; whole model {raw['predict']:.0f}."
    starting = markdown.table(["server", "start to first answer, s", "MB"], starts)
    return "\n\n".join((markdown.table(heads, rows), without, starting))


def memory_table(result: dict[str, Any]) -> str:
    return markdown.table(
        ["requests", "MB"], [[found["requests"], found["mb"]] for found in result["memory"]]
    )


if __name__ == "__main__":
    main()
