"""Hugging Face's BertModel on PyTorch.

`--variant` is the device and the way to bfloat16, by autocast or by bfloat16 weights: `cpu`, `cuda autocast`,
`cpu weights`, …
"""

import argparse

import numpy as np
import torch
from protocol import Loaded, serve
from transformers import BertModel


def load(options: argparse.Namespace) -> Loaded:
    device, _, bfloat16_by = options.variant.partition(" ")
    dtype = torch.bfloat16 if bfloat16_by == "weights" else torch.float32
    model = BertModel.from_pretrained(
        options.model / "hugging_face", attn_implementation="sdpa", dtype=dtype, add_pooling_layer=False
    )
    model.to(device).eval()

    @torch.inference_mode()
    def compute(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        mask = torch.from_numpy((np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64))
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16_by == "autocast"):
            output = model(torch.from_numpy(ids).long().to(device), attention_mask=mask.to(device))
        return output.last_hidden_state.float().cpu().numpy()

    return Loaded(compute, {"torch": torch.__version__})


if __name__ == "__main__":
    serve(load)
