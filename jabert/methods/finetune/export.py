"""The head as a graph of OpenVINO, and the name of what stands below it."""

import hashlib
from typing import Any

import numpy as np

from jabert.encoder.choice import choose
from jabert.encoder.folder import read_variables
from jabert.encoder.openvino import bert_graph
from jabert.files import digest_of_json
from jabert.methods import Job
from jabert.methods._frozen import OwnEncoder
from jabert.methods._heads import attention, first, mean, softmax_graph
from jabert.methods.bi_lstm.export import head_graph as bi_lstm_graph
from jabert.methods.bi_lstm.network import build_classifier
from jabert.methods.finetune.network import LSTM
from jabert.training.state import Weights


def head_graph(head: str, weights: Weights) -> Any:
    """The head as `export_network` wants it."""
    if head == "bi-lstm":
        kernel, recurrent = weights[LSTM[0]], weights[LSTM[1]]
        model = build_classifier(len(kernel), len(weights["head/bias"]), len(recurrent))
        model.set_weights([weights[name] for name in (*LSTM, "head/kernel", "head/bias")])
        return bi_lstm_graph(model, np.dtype(np.float32))
    pool = attention(weights["head/query"]) if head == "attention" else {"mean": mean, "cls": first}[head]
    return softmax_graph(pool, weights["head/kernel"], weights["head/bias"], np.dtype(np.float32))


def trained_encoder(job: Job, weights: Weights) -> OwnEncoder:
    """The encoder with the weights that were trained."""
    assert job.encoder is not None, "the method needs tokens, so there is an encoder"
    graph = bert_graph({**read_variables(job.encoder), **weights}, job.encoder.config)
    precision = choose(job.settings.encoder).precision
    return OwnEncoder(graph, _fingerprint(job.encoder.fingerprint, weights), precision)


def _fingerprint(encoder: str, weights: Weights) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    return digest_of_json([encoder, digest.hexdigest()])
