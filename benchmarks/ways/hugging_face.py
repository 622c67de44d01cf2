"""Hugging Face's BertModel on PyTorch; `--variant` is how bfloat16 is had: autocast, or bfloat16 weights."""

import argparse

import numpy as np
import torch
from protocol import Loaded, serve
from transformers import BertModel


def load(options: argparse.Namespace) -> Loaded:
    dtype = torch.bfloat16 if options.variant == "weights" else torch.float32
    model = BertModel.from_pretrained(
        options.model / "hugging_face", attn_implementation="sdpa", dtype=dtype, add_pooling_layer=False
    ).eval()

    @torch.inference_mode()
    def compute(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        mask = torch.from_numpy((np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64))
        with torch.autocast("cpu", torch.bfloat16, enabled=options.variant == "autocast"):
            output = model(input_ids=torch.from_numpy(ids).long(), attention_mask=mask)
        return output.last_hidden_state.float().numpy()

    return Loaded(compute, {"torch": torch.__version__})


if __name__ == "__main__":
    serve(load)
