"""The forward pass on OpenVINO: BERT written as its graph, compiled for the CPU at hand.

The graph is made from the checkpoint once and kept, with the weights, in `encoder.cache_path`; from then
on neither TensorFlow nor the checkpoint is opened.
"""

import shutil
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jabert.encoder.checkpoint import read_variables
from jabert.encoder.folder import BertConfig, EncoderFolder
from jabert.encoder.packed import Layout, Rows, fill_texts, fill_tokens, graph, ints, size
from jabert.encoder.ragged import TokenIds
from jabert.errors import JabertError
from jabert.files import digest_of_json, on_disk

__all__ = ["OpenVinoEncoder", "bert_graph", "layout_graph"]

_FORMAT = 5  # of the graph; a change makes every kept one a stranger
_WIDTH_STEP = 16  # a bfloat16 product adds up so many tokens at a time, and then what is left
_EPSILON = 1e-14  # of keras-bert's layer normalisation: keras_layer_normalization squares its 1e-7

# Computed when a checkpoint is loaded, since OpenVINO brings the weights into its kernels' form at the first
# batch; as many tokens as it takes for that to be the form for larger ones too.
_FIRST_BATCH = TokenIds.of([[1] * 8] * 16)


class OpenVinoEncoder:
    """A BERT checkpoint as a compiled OpenVINO model; arguments and results as `Encoder` says.

    Args:
        folder: the encoder folder.
        precision: of the matrix products, `float32` or `bfloat16`; all else is float32.
        cache: folder of graphs made earlier.
        mask_id_zero: mask id 0 wherever it stands instead of what is beyond a text's length.

    Raises:
        JabertError: the checkpoint or the kept graph cannot be read, or does not fit its configuration.
    """

    device = "/CPU:0"
    width_step = 1

    def __init__(
        self, folder: EncoderFolder, precision: str, cache: Path, *, mask_id_zero: bool = False
    ) -> None:
        import openvino

        self.hidden_size = folder.config.hidden_size
        bert = _kept_graph(folder, cache)
        hints = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",  # all cores on one batch
        }
        core, layout = openvino.Core(), layout_graph(mask_id_zero=mask_id_zero)
        with ThreadPoolExecutor(1) as thread:
            compiling = thread.submit(core.compile_model, layout, "CPU")
            self._request = core.compile_model(bert, "CPU", hints).create_infer_request()
            self._layout = compiling.result().create_infer_request()
        self(_FIRST_BATCH)

    def __call__(self, ids: TokenIds) -> np.ndarray:
        """Vectors float32 (tokens, hidden) of texts that are computed together, one behind the other."""
        batch = {"ids": ids.flat, "lengths": ids.lengths}
        layout = self._layout.infer(batch, share_inputs=True).to_dict()
        inputs = {output.any_name: values for output, values in layout.items()}
        found = self._request.infer(inputs, share_inputs=True, share_outputs=True)["vectors"]
        vectors: np.ndarray = found[: len(ids.flat)].copy()  # the next batch is computed into the same place
        return vectors


def _kept_graph(folder: EncoderFolder, cache: Path) -> Any:
    import openvino

    name = digest_of_json([_FORMAT, folder.fingerprint])[:16]
    path = cache / name / "encoder.xml"
    if not path.is_file():
        _keep(bert_graph(read_variables(folder), folder.config), path)
    try:
        return openvino.Core().read_model(path)
    except RuntimeError:
        raise JabertError(f"{path} cannot be read; delete {path.parent} and it is made again") from None


def _keep(bert: Any, path: Path) -> None:
    """Write graph and weights in a folder that gets its name when both are whole."""
    import openvino

    temporary = path.parent.with_name(f".{path.parent.name}-{uuid.uuid4().hex}")
    try:
        with on_disk(path.parent):
            temporary.mkdir(parents=True)
            openvino.save_model(bert, temporary / path.name, compress_to_fp16=False)
            if not path.parent.exists():  # another process may have been quicker
                temporary.replace(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def bert_graph(weights: Mapping[str, np.ndarray], config: BertConfig) -> Any:
    """BERT's encoder (Devlin et al. 2018, as keras-bert computes it) as an `openvino.Model`.

    The texts of a batch lie one behind the other; only attention sees them as padded rows. So a batch costs
    what its tokens cost, whatever the lengths of its texts; a text's vectors do not depend on its company.

    Args:
        weights: variables by Google BERT's names.
        config: the sizes.

    Returns:
        Inputs `tokens` and `positions` int32 (tokens,), `rows` int32 (texts, width), `places` int32 (tokens,)
        and `mask` float32 (texts, 1, 1, width), all of `layout_graph`; output `vectors` float32
        (tokens, hidden), with some at the end that stand for nothing.
    """
    from openvino import opset13 as ops

    shapes = {"tokens": [-1], "positions": [-1], "rows": [-1, -1], "places": [-1]}
    inputs = {name: ops.parameter(shape, np.int32) for name, shape in shapes.items()}
    inputs["mask"] = ops.parameter([-1, 1, 1, -1], np.float32)
    layers = _Layers(weights, config, Rows(inputs["rows"], inputs["places"]), inputs["mask"])
    vectors = layers.embed(inputs["tokens"], inputs["positions"])
    for number in range(config.num_hidden_layers):
        vectors = layers.transform(vectors, f"bert/encoder/layer_{number}")
    return graph("bert", inputs, {"vectors": vectors})


def layout_graph(*, mask_id_zero: bool = False) -> Any:
    """Where the tokens of a batch lie, as an `openvino.Model`.

    A graph of its own, so that BERT's knows all its shapes from its inputs.

    Args:
        mask_id_zero: as for `OpenVinoEncoder`.

    Returns:
        Inputs `ids` int32 (tokens,) of all texts one behind the other, and `lengths` int32 (texts,), whose
        sum is the number of tokens; outputs are the inputs of `bert_graph`.
    """
    from openvino import opset13 as ops

    ids, lengths = ops.parameter([-1], np.int32), ops.parameter([-1], np.int32)
    tokens = fill_tokens(ids)
    layout = Layout(size(tokens), fill_texts(lengths), _WIDTH_STEP)
    attended = layout.are_real  # (texts, width)
    if mask_id_zero:
        attended = ops.logical_and(attended, ops.not_equal(layout.rows.padded(tokens), ints(0)))
    mask = ops.unsqueeze(ops.select(attended, np.float32(0), np.float32(-1e9)), ints([1, 2]))
    outputs = {
        "tokens": tokens,
        "positions": layout.positions,
        "rows": layout.rows.tokens,
        "places": layout.rows.places,
        "mask": mask,
    }
    return graph("layout", {"ids": ids, "lengths": lengths}, outputs)


class _Layers:
    """The parts of BERT; each takes and gives nodes of shape (tokens, hidden)."""

    def __init__(self, weights: Mapping[str, np.ndarray], config: BertConfig, rows: Rows, mask: Any) -> None:
        from openvino import opset13

        self._ops = opset13
        self._weights = weights
        self._config = config
        self._rows = rows
        self._mask = mask

    def embed(self, ids: Any, positions: Any) -> Any:
        ops, of = self._ops, "bert/embeddings"
        # Every token is of segment 0, so that row is added to the positions once and for all.
        places = self._weights[f"{of}/position_embeddings"] + self._weights[f"{of}/token_type_embeddings"][:1]
        words = ops.gather(self._constant(f"{of}/word_embeddings"), ids, ints(0))
        # What fills a batch up may lie beyond the last position.
        positions = ops.minimum(positions, ints(len(places) - 1))
        return self._normalize(ops.add(words, ops.gather(places, positions, ints(0))), f"{of}/LayerNorm")

    def transform(self, x: Any, name: str) -> Any:
        ops = self._ops
        attention = self._dense(self._attend(x, f"{name}/attention/self"), f"{name}/attention/output/dense")
        x = self._normalize(ops.add(x, attention), f"{name}/attention/output/LayerNorm")
        wide = self._activate(self._dense(x, f"{name}/intermediate/dense"))
        return self._normalize(
            ops.add(x, self._dense(wide, f"{name}/output/dense")), f"{name}/output/LayerNorm"
        )

    def _attend(self, x: Any, name: str) -> Any:
        ops, heads, hidden = self._ops, self._config.num_attention_heads, self._config.hidden_size

        def split(y: Any) -> Any:  # (tokens, hidden) -> (texts, heads, width, hidden / heads)
            y = ops.reshape(self._rows.padded(y), ints([0, 0, heads, hidden // heads]), special_zero=True)
            return ops.transpose(y, ints([0, 2, 1, 3]))

        query, key, value = (split(self._dense(x, f"{name}/{part}")) for part in ("query", "key", "value"))
        context = ops.scaled_dot_product_attention(query, key, value, self._mask)
        return self._rows.packed(ops.transpose(context, ints([0, 2, 1, 3])), hidden)

    def _dense(self, x: Any, name: str) -> Any:
        kernel = np.ascontiguousarray(self._weights[f"{name}/kernel"].T)  # the order that the kernels want
        product = self._ops.matmul(x, kernel, transpose_a=False, transpose_b=True)
        return self._ops.add(product, self._constant(f"{name}/bias"))

    def _normalize(self, x: Any, name: str) -> Any:
        ops = self._ops
        x = ops.mvn(x, ints([-1]), True, _EPSILON, "inside_sqrt")
        return ops.add(ops.multiply(x, self._constant(f"{name}/gamma")), self._constant(f"{name}/beta"))

    def _activate(self, x: Any) -> Any:
        ops = self._ops
        return {
            "gelu": lambda: ops.gelu(x, "tanh"),  # keras-transformer's form of it
            "linear": lambda: x,
            "relu": lambda: ops.relu(x),
            "tanh": lambda: ops.tanh(x),
        }[self._config.hidden_act]()

    def _constant(self, name: str) -> Any:
        return self._ops.constant(self._weights[name])
