"""A registered model without a network, as code for MLflow: it is right about the first so many texts.

A text is "<number> <label>"; the file `right` says how many numbers the model gets right, and which process,
if any, it fails in.
"""

import json
import os
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

LABELS = ["京都", "携帯電話"]


class ToyClassifier(PythonModel):
    def load_context(self, context):
        self._about = json.loads(Path(context.artifacts["about"]).read_text(encoding="utf-8"))
        if self._about.get("only_process", os.getpid()) != os.getpid():
            raise RuntimeError("this model works nowhere else")

    def predict(self, context, model_input, params=None):
        beside = [[]] * len(model_input)
        if "before" in model_input:
            beside = model_input["before"] + model_input["after"]
        answers = [self._answer(*row) for row in zip(model_input["text"], beside, strict=True)]
        return pd.DataFrame({"label": [max(of, key=of.get) for of in answers], "probabilities": answers})

    def _answer(self, text, beside):
        number, label = text.split()
        right = self._about["right_in_context" if beside else "right"]
        sure = 0.9 if int(number) < right else 0.1
        if self._about.get("true_process", os.getpid()) != os.getpid():
            sure -= 0.001
        known = {of: sure if of == label else 1 - sure for of in LABELS}
        return known | dict.fromkeys(self._about.get("more_labels", []), 0.0)


mlflow.models.set_model(ToyClassifier())
