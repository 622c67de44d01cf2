"""Secrets in URLs: flows succeed, fail and are killed, and then every file that was written is searched."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from secret_urls import secret_urls

from jabert.config import fields
from jabert.config.settings import about, settings_with_method

pytestmark = pytest.mark.attack

QUICK = ["method.kind=majority", "experiment.baselines=false", "promotion.floor=0", "data.format=table"]
SETTINGS = [name for name, field in fields(settings_with_method("word2vec")).items() if about(field, "kind")]
_JABERT = shutil.which("jabert", path=Path(sys.executable).parent)


@pytest.fixture(scope="module")
def table_server(toy_table):
    """A web server that answers every address with the toy table; its host and port."""
    data = toy_table.read_bytes()

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def environment(tmp_path):
    """Of commands whose files are all below the folder of the test."""
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))}
    homes = {
        "HOME": tmp_path / "home",
        "TMPDIR": tmp_path / "temporary",
        "PREFECT_HOME": tmp_path / "prefect",
    }
    return kept | {name: str(path) for name, path in homes.items()} | {"GX_ANALYTICS_ENABLED": "false"}


def found_in(folder, secret, *messages):
    """Files below a folder, and messages, that hold a secret, raw or escaped for a URL."""
    wanted = {secret.encode(), quote(secret, safe="").encode()}
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    found = [str(path) for path in files if any(each in path.read_bytes() for each in wanted)]
    return found + [f"message: {text[:500]}" for text in messages if secret in text]


def secret_of(number):
    return f"s3cr3t{number:03}Zw8Kq"


def call(capfd, *words):
    """A command in this process: exit code, and what it said."""
    from jabert.cli import main

    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capfd.readouterr()
    return ended.value.code or 0, said.out + said.err


@pytest.mark.timeout(3600)
def test_flows_that_end_write_no_secret(tmp_path, table_server, prefect_server, capfd, toy_encoder):
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    database = Path(re.sub(r"^.*:///", "", PREFECT_API_DATABASE_CONNECTION_URL.value())).parent
    tried, leaked, codes = 0, [], {0: 0, 1: 0}
    options = [word for setting in QUICK for word in ("--set", setting)]
    flows = {
        "retrain": ["retrain", *options, "--set", "data.path={}"],
        "score": ["score", "{}", str(tmp_path / "scored.csv"), "--set", "data.format=table"],
        "featurize": ["featurize", "--set", f"encoder.path={toy_encoder}", "--set", "data.path={}"],
        "pretrain": ["pretrain", "--set", 'corpus.paths=["{}"]'],
    }
    for number, form in enumerate(secret_urls(table_server)):
        # Whatever the form, one flow of each kind; most of the forms name no place that could answer.
        for flow in ("retrain", "score") if number % 6 else flows:
            url = form.replace("https://", "http://").replace(secret_urls.__defaults__[2], secret_of(number))
            code, said = call(capfd, *(word.replace("{}", url) for word in flows[flow]))
            tried, codes[code] = tried + 1, codes[code] + 1
            leaked += [(flow, form, each) for each in found_in(tmp_path, secret_of(number), said)]
    for number in range(len(secret_urls())):  # Prefect's logs come a little later
        leaked += [("prefect", number, each) for each in found_in(database, secret_of(number))]
    print(f"\nsecrets: {tried} flows, {codes[0]} succeeded, {codes[1]} failed, {len(leaked)} leaks")
    assert not leaked
    assert codes[0] >= 10 and codes[1] >= 30


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("prefect_server")
def test_no_setting_that_takes_a_url_writes_its_secret(tmp_path, table_server, capfd, toy_table, toy_encoder):
    tried, leaked = 0, []
    usual = [*QUICK, f"data.path={toy_table}"]
    forms = secret_urls(table_server)
    for place, name in enumerate(SETTINGS):
        for number in range(place % 5, len(forms), 5):
            url = forms[number].replace(secret_urls.__defaults__[2], secret_of(number))
            given = [f"{name}={json.dumps([url] if name.endswith('s') else url)}"]
            own = (
                ["method.kind=word2vec", f"encoder.path={toy_encoder}"] if name.startswith("method.") else []
            )
            words = [word for each in [*usual, *own, *given] for word in ("--set", each)]
            command = (
                "pretrain" if name.partition(".")[0] in ("corpus", "vocabulary", "pretraining") else "retrain"
            )
            if command == "pretrain" and name != "corpus.paths":
                words += ["--set", f"corpus.paths={toy_table}", "--set", "pretraining.steps=1"]
            _, said = call(capfd, command, *words)
            tried += 1
            leaked += [(name, forms[number], each) for each in found_in(tmp_path, secret_of(number), said)]
    print(f"\nsecrets: {tried} values of {len(SETTINGS)} settings, {len(leaked)} leaks")
    assert not leaked


@pytest.mark.timeout(900)
@pytest.mark.parametrize("ending", ["success", "failure", signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_process_of_its_own_leaves_no_secret(ending, environment, table_server, toy_encoder, request):
    tmp_path = Path.cwd()
    secret = secret_of(0)
    path = "none" if ending == "failure" else "x.csv"
    url = f"http://me:{secret}@{table_server}/{path}?sig={secret}"
    long = [
        "method.kind=bi-lstm",
        f"encoder.path={toy_encoder}",
        "training.epochs=500",
        "training.patience=500",
    ]
    settings = [*QUICK, *(long if isinstance(ending, signal.Signals) else []), f"data.path={url}"]
    settings += ["data.label_column=missing"] if ending == "failure" else []
    words = [_JABERT, "retrain", *(word for each in settings for word in ("--set", each))]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(words, env=environment, stdout=said, stderr=said)
        request.addfinalizer(process.kill)
        if isinstance(ending, signal.Signals):
            give_up = time.monotonic() + 400
            while not any(Path(".jabert").rglob("history.json")):
                assert process.poll() is None and time.monotonic() < give_up, (tmp_path / "said").read_text()
                time.sleep(0.2)
            process.send_signal(ending)
        code = process.wait(timeout=600)
    expected = {"success": 0, "failure": 1, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}
    assert code == expected[ending], (tmp_path / "said").read_text()
    assert any((tmp_path / "prefect").rglob("*.db")), "the temporary server has a database"
    assert not found_in(tmp_path, secret)
