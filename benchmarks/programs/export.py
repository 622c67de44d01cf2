"""Converts a checkpoint to the formats that the peers load: Hugging Face's, ONNX, and ONNX in int8.

    python export.py MODEL

`MODEL` is a folder with `weights.npz`, by Google BERT's names, and `bert_config.json`; the files are written
there too.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from protocol import open_answers, send
from transformers import BertConfig, BertModel

# As keras-bert computes: tanh approximation of gelu, and an epsilon of 1e-7 squared in layer normalization.
LIKE_KERAS_BERT = {"layer_norm_eps": 1e-14}
ACTIVATIONS = {"gelu": "gelu_pytorch_tanh"}


def main() -> None:
    folder, answers = Path(sys.argv[1]), open_answers()
    config = json.loads((folder / "bert_config.json").read_text(encoding="utf-8"))
    model = hugging_face(folder, config)
    model.save_pretrained(folder / "hugging_face")
    export(model, folder / "exported-float32.onnx")
    optimize(folder, config)
    for graph in ("exported", "optimized"):
        quantize_dynamic(
            folder / f"{graph}-float32.onnx",
            folder / f"{graph}-int8.onnx",
            weight_type=QuantType.QInt8,
            # ONNX cannot infer the types of the optimizer's fused operators.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    send(answers, {"written": sorted(path.name for path in folder.iterdir())})


def hugging_face(folder: Path, config: dict[str, Any]) -> BertModel:
    """The checkpoint as a BertModel."""
    config = {**config, "hidden_act": ACTIVATIONS.get(config["hidden_act"], config["hidden_act"])}
    model = BertModel(
        BertConfig(**config, **LIKE_KERAS_BERT, attn_implementation="eager"), add_pooling_layer=False
    )
    with np.load(folder / "weights.npz") as weights:
        model.load_state_dict(dict(renamed(name, weights[name]) for name in weights))
    return model.eval()


def renamed(name: str, values: np.ndarray) -> tuple[str, torch.Tensor]:
    """A variable of Google BERT with Hugging Face's name; kernels are transposed."""
    path, _, last = name.removeprefix("bert/").rpartition("/")
    known = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
    renamed_path = f"{path}/{known[last]}" if last in known else f"{path}/{last}/weight"
    tensor = torch.from_numpy(values.T.copy() if last == "kernel" else values)
    return renamed_path.replace("/", ".").replace("layer_", "layer."), tensor


class Exported(torch.nn.Module):
    """The model with two inputs and one output."""

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Vectors (batch, tokens, hidden)."""
        vectors: torch.Tensor = self.model(input_ids, attention_mask=attention_mask).last_hidden_state
        return vectors


def export(model: BertModel, path: Path) -> None:
    """Export by tracing: the optimizer recognizes that exporter's graphs, but few of the newer exporter's."""
    ids = torch.ones(2, 8, dtype=torch.int64)
    mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
    names = ["input_ids", "attention_mask", "vectors"]
    torch.onnx.export(
        Exported(model).eval(),
        (ids, mask),
        path,
        dynamo=False,
        input_names=names[:2],
        output_names=names[2:],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names},
        opset_version=17,
    )


def optimize(folder: Path, config: dict[str, Any]) -> None:
    """Fuse attention, normalization and activation with ONNX Runtime's optimizer."""
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    source = str(folder / "exported-float32.onnx")
    optimized = optimize_model(source, model_type="bert", num_heads=heads, hidden_size=hidden)
    optimized.save_model_to_file(str(folder / "optimized-float32.onnx"))


if __name__ == "__main__":
    main()
