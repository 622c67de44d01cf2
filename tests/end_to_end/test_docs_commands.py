"""Each command of the docs is run as printed, page by page, in a folder with what the pages speak of."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
import toy
from damage import knbc
from hosts import process, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")])
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
REVIEWS = (
    "--set data.path=reviews.csv --set data.text_column=本文 --set data.label_column=分類 "
    "--set encoder.path=path/to/encoder"
)
STAND_INS = {
    "data.path=…": "data.path=path/to/knbc",
    "encoder.path=…": "encoder.path=path/to/encoder",
    "/path/to/mlruns": "{home}/mlruns",
    "models promote 7": "models promote 1",
    "models anchor 3": "models anchor",
}
"""What the reader fills in."""

NOT_RUN = {
    "make ": "it makes an environment, runs tests or starts a host: tests/servers/test_host.py",
    "source .venv": "the environment is there",
    "pip install": "it needs the network",
    "TOKEN@host": "there is no such host",
    "--recipe config.toml": "the recipe of a run whose data are at that host",
    "prefect deployment run": "it needs a host that is up: tests/servers/test_host.py",
    "PREFECT_API_URL=": "the same",
    "python benchmarks/": "it needs the real corpus and an hour: tests/end_to_end/test_benchmarks.py",
    "jabert pretrain": "with its usual settings it takes hours: tests/end_to_end/test_pretrain.py",
    "my-encoder": "what that makes",
    "=adapted": "what that makes",
    "jabert data texts train.txt": "what that learns from",
    "sign_key=release.pem …": "the ellipsis stands for the other settings of a retraining",
    "-in signed -sigfile signature": "the files are parts of a version: tests/code/test_signing.py",
    "ldcc/text": "the livedoor corpus: tests/data/test_readers.py",
    "encoder import path/to/model": "tests/code/test_hugging_face.py imports each kind",
}
"""Parts of commands that are not run, and why."""

SERVERS = {
    "jabert serve": "http://127.0.0.1:8000/ping",
    "jabert ui": "http://127.0.0.1:5000/health",
    "mlflow models serve": "http://127.0.0.1:5000/ping",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def commands(page):
    """The commands of a page, each on one line, without its comment."""
    for block in CONSOLE.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line[2:].split("  #")[0].strip()


def is_run(command):
    return not any(part in command for part in NOT_RUN)


class Home:
    """The folder in which a reader types."""

    def __init__(self, folder):
        self.folder = folder
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "HOME": str(folder), "PATH": binaries, "COLUMNS": "100"}

    def run(self, command):
        options = {"cwd": self.folder, "env": self.environment, "timeout": 1800}
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, f"$ {command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def promote_both(self):
        """Version 2 is the champion, and version 1 was it before."""
        listed = json.loads(self.run("jabert models --json"))
        aliases = {each["version"]: each["aliases"] for each in listed}
        if "champion" in aliases["2"] and "previous" in aliases["1"]:
            return
        for version in ("2",) if "champion" in aliases["1"] else ("1", "2"):
            self.run(f"jabert models promote {version} --force {REVIEWS}")

    def type(self, command, servers):
        """What the reader types; a server runs on beside what follows."""
        for printed, filled in STAND_INS.items():
            command = command.replace(printed, filled.format(home=self.folder))
        address = next((url for name, url in SERVERS.items() if command.startswith(name)), None)
        if command.startswith("export "):
            name, _, value = shlex.split(command)[1].partition("=")
            self.environment[name] = value
        elif address:
            log = servers.enter_context((self.folder / "server.log").open("w"))
            options = {"cwd": self.folder, "env": self.environment, "stdout": log, "stderr": log}
            servers.enter_context(process(["bash", "-c", f"exec {command}"], **options))
            wait_until(lambda: requests.get(address, timeout=5).raise_for_status(), command, 300)
        else:
            self.run(command)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Reviews, an encoder, recipes and two versions of a model."""
    folder = tmp_path_factory.mktemp("home")
    rows = toy.toy_rows().rename(columns={"text": "本文", "label": "分類"})
    rows.to_csv(folder / "reviews.csv", index=False)
    rows[["本文", "分類"]].to_csv(folder / "texts.csv", index=False, header=False)
    pool = rows[["本文"]] + "そして家に帰った。"
    pool.to_csv(folder / "pool.csv", index=False)
    (folder / "texts.txt").write_text("\n".join(rows["本文"][:3]), encoding="utf-8")
    shutil.copytree(CHECKOUT / "jabert/encoders/jabert-mini", folder / "path/to/encoder")
    knbc(folder)
    (folder / "k").rename(folder / "path/to/knbc")
    sweep = (CHECKOUT / "docs/sweep.md").read_text(encoding="utf-8")
    own = re.search(r"^```toml\n(.*?)^```", sweep, re.DOTALL | re.MULTILINE)[1]
    data = '[data]\npath = "reviews.csv"\ntext_column = "本文"\nlabel_column = "分類"\n'
    recipe = f'{data}[encoder]\npath = "path/to/encoder"\n{own.replace("trials = 30", "trials = 2")}'
    (folder / "mine.toml").write_text(recipe, encoding="utf-8")
    home = Home(folder)
    for seed in (0, 1):
        home.run(f"jabert retrain {REVIEWS} --set method.kind=tfidf --set data.seed={seed}")
    return home


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(map(is_run, commands(page)))],
    ids=lambda page: page.relative_to(CHECKOUT).as_posix(),
)
def test_what_a_page_says_can_be_typed(home, page, monkeypatch):
    monkeypatch.setattr(home, "environment", dict(home.environment))  # what it exports ends with it
    home.promote_both()
    with ExitStack() as servers:
        for command in filter(is_run, commands(page)):
            home.type(command, servers)


def test_what_is_not_run_is_in_the_docs():
    printed = "\n".join(command for page in PAGES for command in commands(page))
    assert [part for part in NOT_RUN if part not in printed] == []
    assert [part for part in STAND_INS if part not in printed] == []
