"""What methods on an encoder share: its part of the drawing, and the export with their own head."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jabert.encoder import EncoderFolder, Tokenizer, choice_for, cpu_token_budget, longest_row
from jabert.encoder.openvino import graph_of, layout_graph
from jabert.encoder.pieces import KINDS
from jabert.files import on_disk, write_json
from jabert.methods import Export, Job, Layer, Member

_MAX_CHARACTERS = 100_000  # of a text that are tokenized: 30 ms, and far more than any encoder has positions


@dataclass(frozen=True)
class OwnEncoder:
    """What a method has in the place of the encoder's BERT.

    Attributes:
        graph: an `openvino.Model` with the inputs and the output of `bert_graph`.
        fingerprint: of it: another than the encoder's, so no stored vector is taken for one of its own.
        precision: in which it computes, `float32` or `bfloat16`.
    """

    graph: Any
    fingerprint: str
    precision: str


def encoder_layers(job: Job, frozen_layers: int | None = None) -> tuple[list[Layer], int]:
    """The layers from a text to the token vectors of the BERT, and the columns of a vector.

    Args:
        job: the encoder is used.
        frozen_layers: how many of the lower ones are; None: all, the embeddings included.
    """
    encoder = _encoder(job)
    config = encoder.config
    count = job.settings.features.layers if frozen_layers is None else 1
    sizes = {name: int(np.prod(shape)) for name, shape in config.variables().items()}
    block = sum(size for name, size in sizes.items() if "/layer_0/" in name)
    embeddings = sum(size for name, size in sizes.items() if "/embeddings/" in name)
    tokens = f"(tokens, {config.hidden_size})"
    pieces = Layer("text", KINDS[encoder.tokenizer.suffix], "(tokens)", 0)
    if encoder.is_onnx:
        from jabert.encoder.onnx import count_parameters

        whole = count_parameters(encoder.checkpoint)
        return [pieces, Layer("encoder", "ONNX, frozen", tokens, whole)], config.hidden_size
    layers = [
        pieces,
        Layer("embeddings", "BERT, frozen", tokens, embeddings),
    ]
    trained = 0 if frozen_layers is None else config.num_hidden_layers - frozen_layers
    parts = (("BERT, frozen", config.num_hidden_layers - trained), ("BERT, trained", trained))
    layers += [Layer("transformer block", kind, tokens, block, count) for kind, count in parts if count]
    columns = count * config.hidden_size
    if count > 1:
        layers.append(Layer(f"last {count} blocks", "side by side", f"(tokens, {columns})", 0))
    return layers, columns


def export_network(head: Any, job: Job, target: Path, own: OwnEncoder | None = None) -> Export:
    """Write what `Network` of the runtime reads: tokenizer, encoder and head.

    Args:
        head: an `openvino.Model` with the inputs `vectors` (tokens, hidden), of all texts one behind the
            other, and `lengths` int32 (texts,), and the output `probabilities` float32 (texts, classes).
        job: the encoder and its settings are used.
        target: an empty folder.
        own: what stands in the place of the encoder, and gives vectors of one layer.
    """
    import openvino

    encoder, settings = _encoder(job), job.settings
    tokenizer = Tokenizer(encoder, settings.encoder, settings.data)
    precision = own.precision if own else choice_for(encoder, settings.encoder).precision
    layers = 1 if own else settings.features.layers
    graphs = {
        "layout": layout_graph(mask_id_zero=settings.encoder.pad_to is not None),
        "encoder": own.graph if own else graph_of(encoder, layers),
        "head": head,
    }
    with on_disk(target):
        tokenizer.model.write(target)
        for name, model in graphs.items():
            openvino.save_model(model, target / f"{name}.xml", compress_to_fp16=False)
    # Where the end of a text counts, it must be found.
    max_characters = {"head": _MAX_CHARACTERS, "windows": _MAX_CHARACTERS * tokenizer.windows}
    habits = {
        "max_characters": max_characters.get(tokenizer.long_texts),
        "lower_case": tokenizer.lower_case,
        "cls_id": tokenizer.cls_id,
        "sep_id": tokenizer.sep_id,
        "prefix_ids": tokenizer.prefix_ids,
        "words": encoder.settings.get("words"),
        "max_tokens": tokenizer.max_tokens,
        "pad_to": tokenizer.pad_to,
        "long_texts": tokenizer.long_texts,
        "windows": tokenizer.windows,
        "overlap": tokenizer.overlap,
        "precision": precision,
        "token_budget": settings.encoder.token_budget or cpu_token_budget(encoder, precision),
        "encoder_fingerprint": own.fingerprint if own else encoder.fingerprint,
        "encoder_settings": dict(encoder.settings),
        "bert_config": encoder.config.to_dict(),
        "layers": layers,
    }
    write_json(target / "network.json", habits)
    return Export((Member("network", ("openvino", *tokenizer.model.packages)),))


def longest_text(job: Job) -> int:
    """Tokens of the longest text that the encoder gets, those of all its windows."""
    data = job.settings.data
    windows = data.windows if data.long_texts == "windows" else 1
    return windows * longest_row(_encoder(job), job.settings.encoder)


def _encoder(job: Job) -> EncoderFolder:
    assert job.encoder is not None, "the method needs tokens or vectors, so there is an encoder"
    return job.encoder
