"""ONNX Runtime on the exported model; `--variant` is the graph, `exported` or `optimized`."""

import argparse

import numpy as np
import onnxruntime
from protocol import Loaded, serve


def load(options: argparse.Namespace) -> Loaded:
    model = options.model / f"{options.variant}-{options.precision}.onnx"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def compute(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        inputs = {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}
        vectors: np.ndarray = session.run(None, inputs)[0]
        return vectors

    return Loaded(compute, {"onnxruntime": onnxruntime.__version__})


if __name__ == "__main__":
    serve(load)
