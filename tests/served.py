"""A registered model for the tests of `jabert serve`: quick, and its answers tell the version."""

from pathlib import Path

CODE = """
import time

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Toy(PythonModel):
    def load_context(self, context):
        {on_load}

    def predict(self, context, model_input: pd.DataFrame, params=None):
        texts = model_input["text"].tolist()
        time.sleep({seconds})
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
        }})


set_model(Toy())
"""


class Registry:
    """A store of its own with a registered model `jabert`."""

    def __init__(self, root):
        from jabert.config import TrackingSettings
        from jabert.tracking import connect

        self.root = Path(root)
        self.uri = f"sqlite:///{self.root}/mlflow.db"
        self.client = connect(TrackingSettings(uri=self.uri, artifacts=str(self.root / "artifacts")))
        self.client.create_registered_model("jabert")

    def add(self, on_load="pass", seconds=0):
        """Register a version and return its number."""
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

        number = str(1 + len(self.client.search_model_versions("name = 'jabert'")))
        code = self.root / f"toy_{number}.py"
        quiet = CODE.format(on_load="pass", seconds=seconds, name=number)
        code.write_text(quiet, encoding="utf-8")
        mlflow.pyfunc.save_model(
            self.root / number,
            python_model=str(code),
            signature=ModelSignature(
                Schema([ColSpec(DataType.string, "text")]),
                params=ParamSchema([ParamSpec("top_k", DataType.integer, 2)]),
            ),
            pip_requirements=["mlflow"],
        )
        if on_load != "pass":  # saving loads the code, and so would stumble
            broken = CODE.format(on_load=on_load, seconds=seconds, name=number)
            (self.root / number / code.name).write_text(broken, encoding="utf-8")
        self.client.create_model_version("jabert", (self.root / number).as_uri())
        return number

    def promote(self, version):
        """Make a version the champion."""
        self.client.set_registered_model_alias("jabert", "champion", version)
