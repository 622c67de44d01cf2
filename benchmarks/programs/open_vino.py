"""OpenVINO as its users run it: the exported model converted, compiled and called."""

import argparse

import numpy as np
import openvino
from protocol import Loaded, serve


def load(options: argparse.Namespace) -> Loaded:
    model = openvino.convert_model(options.model / "exported-float32.onnx")
    hint = {"float32": "f32", "bfloat16": "bf16"}[options.precision]
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})

    def compute(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        inputs = {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}
        vectors: np.ndarray = compiled(inputs)[0]
        return vectors

    return Loaded(compute, {"openvino": openvino.__version__})


if __name__ == "__main__":
    serve(load)
