"""For the tests of `jabert serve`: a registered toy model, and a server process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests
from ports import free_port

from jabert.tracking import ANCHOR, file_digests

CODE = '''
import time

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Toy(PythonModel):
    """A model whose answers contain its version."""

    def load_context(self, context):
        {on_load}

    def predict(self, context, model_input: pd.DataFrame, params=None):
        texts = model_input["text"].tolist()
        beside = {{
            name: [0 if cell is None else len(cell) for cell in model_input.get(name, [None] * len(texts))]
            for name in ("before", "after")
        }}
        for text in texts:
            if text == "眠る":
                time.sleep(3)
            if text == "壊れる":
                raise ZeroDivisionError(f"/a/path and {{text}}")
        kyoto = [0.25 + 0.5 * ("京都" in text) for text in texts]
        kept = (params or {{}}).get("top_k") or 2
        return pd.DataFrame({{
            "label": ["京都" if share > 0.5 else "電話" for share in kyoto],
            "score": [max(share, 1 - share) for share in kyoto],
            "probabilities": [
                dict(sorted({{"京都": share, "電話": 1 - share}}.items(), key=lambda of: -of[1])[:kept])
                for share in kyoto
            ],
            "version": "{name}",
            "texts": len(texts),
            **beside,
        }})

    def cut(self, texts):
        return [len(text) > 40 for text in texts]


set_model(Toy())
'''


class Registry:
    """A new MLflow store with a registered model `jabert`."""

    def __init__(self, root):
        from jabert.config import TrackingSettings
        from jabert.tracking import connect

        self.root = Path(root)
        self.uri = f"sqlite:///{self.root}/mlflow.db"
        self.client = connect(TrackingSettings(uri=self.uri, artifacts=str(self.root / "artifacts")))
        self.client.create_registered_model("jabert")

    def add(self, on_load="pass", neighbours=("before", "after")):
        """Register a version that runs the statement `on_load` when it is loaded; returns its number.

        It takes the columns `neighbours` too, and tells how many texts are there.
        """
        import mlflow.pyfunc
        import pandas as pd
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
        from mlflow.types.schema import Array

        number = str(1 + len(self.client.search_model_versions("name = 'jabert'")))
        code = self.root / f"toy_{number}.py"
        code.write_text(CODE.format(on_load="pass", name=number), encoding="utf-8")
        mlflow.pyfunc.save_model(
            self.root / number,
            python_model=str(code),
            signature=ModelSignature(
                Schema(
                    [
                        ColSpec(DataType.string, "text"),
                        *(ColSpec(Array(DataType.string), name, required=False) for name in neighbours),
                    ]
                ),
                params=ParamSchema([ParamSpec("top_k", DataType.integer, 2)]),
            ),
            pip_requirements=["mlflow"],
            input_example=pd.DataFrame({"text": ["京都"]}),
        )
        # Only now, because saving a model also loads it.
        (self.root / number / code.name).write_text(
            CODE.format(on_load=on_load, name=number), encoding="utf-8"
        )
        folder = self.root / number
        anchor = {ANCHOR: json.dumps(file_digests(folder))}
        self.client.create_model_version("jabert", folder.as_uri(), tags=anchor)
        return number

    def promote(self, version):
        """Make a version the champion."""
        self.client.set_registered_model_alias("jabert", "champion", version)


class Server:
    """A server process and its log."""

    def __init__(self, command, log, port, **environment):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = Path(log)
        with self.log.open("wb") as out:
            # In a session of its own, since MLflow's server starts another process.
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, start_new_session=True, env={**os.environ, **environment}
            )
        self._wait_until_ready()

    def _wait_until_ready(self):
        for _ in range(600):
            try:
                if requests.get(f"{self.url}/ping", timeout=60).ok:
                    return
            except requests.RequestException:
                assert self.process.poll() is None, self.output
                time.sleep(0.1)
        raise TimeoutError(self.output)

    @property
    def output(self):
        return self.log.read_text(encoding="utf-8")

    def post(self, json=None, **request):
        return requests.post(f"{self.url}/invocations", json=json, timeout=30, **request)

    def health(self):
        return requests.get(f"{self.url}/health", timeout=30).json()

    def wait_for_health(self, **wanted):
        """Wait until `/health` has the wanted values; returns the seconds that it took."""
        started = time.monotonic()
        while not wanted.items() <= self.health().items():
            assert time.monotonic() - started < 30, (self.health(), self.output)
            time.sleep(0.05)
        return time.monotonic() - started

    def stop(self, number=signal.SIGTERM):
        """Send a signal to the process group; returns the exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        try:
            return self.process.wait(30)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


def serve(registry, log, *arguments, **limits):
    """Start `jabert serve` on a registry."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("jabert")), "serve", "--port", str(port), *arguments]
    for name, value in {"poll_seconds": 0.1, **limits}.items():
        command += ["--set", f"serving.{name}={value}"]
    return Server([*command, "--set", f"tracking.uri={registry.uri}"], log, port)
