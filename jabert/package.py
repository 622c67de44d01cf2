"""The registered model: Japanese texts in, label, score and class probabilities out.

MLflow stores this file with the model and runs it where the model is loaded ("models from code"), so
it stands alone: it imports nothing else of jabert, and reads only the folder `classifier` that is
logged beside it:

    network/              TensorFlow SavedModel: token ids and lengths to class probabilities
    sentencepiece.model   the tokenizer
    package.json          labels and the habits of the tokenizer
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

__all__ = ["TextClassifier"]


class TextClassifier(PythonModel):
    """A classifier of texts behind MLflow's pyfunc interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the tokenizer and the network."""
        import sentencepiece
        import tensorflow as tf

        folder = Path(context.artifacts["classifier"])
        self._about: dict[str, Any] = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        self._processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
        self._network = tf.saved_model.load(str(folder / "network"))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Classify texts.

        Args:
            context: not used.
            model_input: one row a text, in the string column `text`.
            params: not used.

        Returns:
            `label` (str), `score` (float, its probability) and `probabilities` (a dict, label to
            float), in the order and with the index of the input.

        Raises:
            ValueError: a text is null, not a string, or blank; the row is named.
        """
        texts = model_input["text"].tolist()
        for row, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                what = "blank" if isinstance(text, str) else f"{text!r}, not a string"
                raise ValueError(f"row {row}: text is {what}")
        probabilities = self._probabilities([self._token_ids(text) for text in texts])
        labels = self._about["labels"]
        best = probabilities.argmax(axis=1)
        return pd.DataFrame(
            {
                "label": [labels[i] for i in best],
                "score": probabilities.max(axis=1),
                "probabilities": [dict(zip(labels, row, strict=True)) for row in probabilities.tolist()],
            },
            index=model_input.index,
        )

    def _token_ids(self, text: str) -> list[int]:
        """As in training: lower case if the encoder wants it, cut, framed by `[CLS]` and `[SEP]`."""
        about = self._about
        pieces = self._processor.encode(text.lower() if about["lower_case"] else text)
        ids = [about["cls_id"], *pieces[: about["max_tokens"] - 2], about["sep_id"]]
        return ids + [0] * ((about["pad_to"] or 0) - len(ids))

    def _probabilities(self, rows: list[list[int]]) -> np.ndarray:
        """Float64 (rows, classes), computed in batches of similar length."""
        probabilities = np.empty((len(rows), len(self._about["labels"])))
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        start = 0
        while start < len(order):
            width = len(rows[order[start]])
            batch = order[start : start + max(1, self._about["token_budget"] // width)]
            ids = np.zeros((len(batch), width), dtype=np.int32)
            for place, i in enumerate(batch):
                ids[place, : len(rows[i])] = rows[i]
            lengths = np.array([len(rows[i]) for i in batch], dtype=np.int32)
            probabilities[batch] = self._network.probabilities(ids, lengths).numpy()
            start += len(batch)
        return probabilities


mlflow.models.set_model(TextClassifier())
