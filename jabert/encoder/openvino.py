"""The forward pass in OpenVINO: BERT as an OpenVINO graph, compiled for this machine's CPU.

The graph is built from the checkpoint once and cached with its weights in `encoder.cache_path`; afterwards
neither TensorFlow nor the checkpoint is opened.
"""

import shutil
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13 as ops

from jabert.encoder.batching import TokenIds
from jabert.encoder.folder import BertConfig, EncoderFolder, read_variables
from jabert.encoder.packed import Layout, Rows, fill_texts, fill_tokens, graph, ints, size
from jabert.errors import JabertError
from jabert.files import digest_of_json, on_disk

_FORMAT = 5  # of the graph; to be raised with every change of it, so that cached ones are not used any more
_WIDTH_STEP = 16  # a product in bfloat16 sums blocks of this many tokens, then the remainder
_ACTIVATIONS = {
    "gelu": partial(ops.gelu, approximation_mode="tanh"),  # as keras-transformer computes it
    "gelu_erf": partial(ops.gelu, approximation_mode="erf"),
    "linear": lambda x: x,
    "relu": ops.relu,
    "tanh": ops.tanh,
}

# Computed when a checkpoint is loaded, because OpenVINO converts the weights to the layout of its kernels at
# the first batch. With fewer tokens than this, larger batches would need another layout.
_FIRST_BATCH = TokenIds.of([[1] * 8] * 16)


class OpenVinoEncoder:
    """A BERT checkpoint as a compiled OpenVINO model; an `Encoder`.

    Args:
        folder: the encoder folder.
        precision: of the matrix products, `float32` or `bfloat16`; everything else is float32.
        cache: folder of the cached graphs.
        layers: as for `bert_graph`.
        mask_id_zero: also mask id 0 within a text, as keras-bert does.

    Raises:
        JabertError: the checkpoint or the cached graph cannot be read, or does not fit its configuration.
    """

    device = "/CPU:0"
    width_step = 1

    def __init__(
        self,
        folder: EncoderFolder,
        precision: str,
        cache: Path,
        *,
        layers: int = 1,
        mask_id_zero: bool = False,
    ) -> None:
        self.hidden_size = layers * folder.config.hidden_size
        bert = _cached_graph(folder, cache, layers)
        hints = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",  # all cores compute one batch
        }
        layout = layout_graph(mask_id_zero=mask_id_zero)
        with ThreadPoolExecutor(1) as thread:
            compiling = thread.submit(core().compile_model, layout, "CPU")
            self._request = core().compile_model(bert, "CPU", hints).create_infer_request()
            self._layout = compiling.result().create_infer_request()
        self(_FIRST_BATCH)

    def __call__(self, ids: TokenIds) -> npt.NDArray[np.float32]:
        """As `Encoder`."""
        layout = self._layout.infer({"ids": ids.flat, "lengths": ids.lengths}, share_inputs=True).to_dict()
        inputs = {output.any_name: values for output, values in layout.items()}
        found = self._request.infer(inputs, share_inputs=True, share_outputs=True)["vectors"]
        return np.array(found[: len(ids.flat)])  # a copy, since the next batch overwrites `found`


@cache
def core() -> Any:
    """OpenVINO, once for the process and never let go.

    Its CPU plugin gives the thread that loads it a stack for signal handlers, and unmaps it in whichever
    thread lets go of the plugin last. If that is another one, the next signal to the first, such as Ctrl-C,
    is a segmentation fault (2026.4).
    """
    return openvino.Core()


def _cached_graph(folder: EncoderFolder, cache: Path, layers: int) -> Any:
    name = digest_of_json([_FORMAT, folder.fingerprint, *([layers] if layers > 1 else [])])[:16]
    path = cache / name / "encoder.xml"
    if not path.is_file():
        bert = graph_of(folder, layers)
        # Graph and weights are written to a temporary folder, which is renamed when both are complete.
        temporary = cache / f".{name}-{uuid.uuid4().hex}"
        try:
            with on_disk(path.parent):
                temporary.mkdir(parents=True)
                openvino.save_model(bert, temporary / path.name, compress_to_fp16=False)
                if not path.parent.exists():  # another process may have been faster
                    temporary.replace(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    try:
        return core().read_model(path)
    except RuntimeError:
        raise JabertError(f"{path} cannot be read; delete {path.parent}, and it is built again") from None


def graph_of(folder: EncoderFolder, layers: int = 1) -> Any:
    """The graph of an encoder folder: `bert_graph` of its checkpoint, or what does the same in ONNX.

    Raises:
        JabertError: the weights cannot be read, or do not fit the configuration.
    """
    if folder.is_onnx:
        from jabert.encoder.onnx import onnx_graph

        return onnx_graph(folder.checkpoint, folder.config.hidden_size)
    return bert_graph(read_variables(folder), folder.config, layers)


def bert_graph(weights: Mapping[str, npt.NDArray[np.float32]], config: BertConfig, layers: int = 1) -> Any:
    """BERT's encoder (Devlin et al. 2018), as keras-bert computes it, as an `openvino.Model`.

    Batches are packed: texts follow each other without padding, and only attention pads them to rows. So the
    time for a batch depends on its tokens, whatever the lengths of the texts, and the vectors of a text do
    not depend on the other texts.

    Args:
        weights: variables by Google BERT's names.
        config: the sizes.
        layers: the last ones, whose vectors stand side by side.

    Returns:
        A model with the inputs `tokens` and `positions` int32 (tokens,), `rows` int32 (texts, width),
        `places` int32 (tokens,) and `mask` float32 (texts, 1, 1, width), which are the outputs of
        `layout_graph`, and the output `vectors` float32 (tokens, layers · hidden); the vectors of tokens
        added by `fill_tokens` mean nothing.
    """
    shapes = {"tokens": [-1], "positions": [-1], "rows": [-1, -1], "places": [-1]}
    inputs = {name: ops.parameter(shape, np.int32) for name, shape in shapes.items()}
    inputs["mask"] = ops.parameter([-1, 1, 1, -1], np.float32)
    parts = _Layers(weights, config, Rows(inputs["rows"], inputs["places"]), inputs["mask"])
    kept = [parts.embed(inputs["tokens"], inputs["positions"])]
    for number in range(config.num_hidden_layers):
        kept = [*kept, parts.transform(kept[-1], f"bert/encoder/layer_{number}")][-layers:]
    vectors = kept[0] if layers == 1 else ops.concat(kept, 1)
    return graph("bert", inputs, {"vectors": vectors})


def weights_of(bert: Any, config: BertConfig) -> dict[str, npt.NDArray[np.float32]]:
    """The weights in a graph that `bert_graph` made, by Google BERT's names.

    Args:
        bert: the `openvino.Model`.
        config: its sizes.

    Raises:
        KeyError: the graph has no weight of a name, because jabert 0.1 made it.
    """
    named = {each.get_friendly_name(): each for each in bert.get_ops() if each.get_type_name() == "Constant"}
    values = {name: np.array(named[name].data) for name in config.variables()}
    return {name: value.T if name.endswith("kernel") else value for name, value in values.items()}


def layout_graph(*, mask_id_zero: bool = False) -> Any:
    """The layout of a packed batch as an `openvino.Model`: indices, positions and mask for `bert_graph`.

    A separate graph, so that all shapes in BERT's graph follow from its inputs.

    Args:
        mask_id_zero: as for `OpenVinoEncoder`.

    Returns:
        A model with the inputs `ids` int32 (tokens,), the texts one after another, and `lengths` int32
        (texts,), which add up to the number of tokens; its outputs are the inputs of `bert_graph`.
    """
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
        "places": layout.rows.indices,  # called so in the graphs of registered models
        "mask": mask,
    }
    return graph("layout", {"ids": ids, "lengths": lengths}, outputs)


@dataclass(frozen=True)
class _Layers:
    """The parts of BERT; each takes and returns nodes of shape (tokens, hidden)."""

    weights: Mapping[str, npt.NDArray[np.float32]]
    config: BertConfig
    rows: Rows
    mask: Any

    def embed(self, ids: Any, positions: Any) -> Any:
        of = "bert/embeddings"
        # Every token is in segment 0. OpenVINO adds its embedding to those of the positions beforehand.
        segment = ops.gather(self._constant(f"{of}/token_type_embeddings"), ints([0]), ints(0))
        table = ops.add(self._constant(f"{of}/position_embeddings"), segment)
        words = ops.gather(self._constant(f"{of}/word_embeddings"), ids, ints(0))
        # The positions of tokens added by `fill_tokens` may be beyond the last one.
        positions = ops.minimum(positions, ints(self.config.max_position_embeddings - 1))
        return self._normalize(ops.add(words, ops.gather(table, positions, ints(0))), f"{of}/LayerNorm")

    def transform(self, x: Any, name: str) -> Any:
        attention = self._dense(self._attend(x, f"{name}/attention/self"), f"{name}/attention/output/dense")
        x = self._normalize(ops.add(x, attention), f"{name}/attention/output/LayerNorm")
        wide = _ACTIVATIONS[self.config.hidden_act](self._dense(x, f"{name}/intermediate/dense"))
        output = self._dense(wide, f"{name}/output/dense")
        return self._normalize(ops.add(x, output), f"{name}/output/LayerNorm")

    def _attend(self, x: Any, name: str) -> Any:
        heads, hidden = self.config.num_attention_heads, self.config.hidden_size

        def split(y: Any) -> Any:  # (tokens, hidden) -> (texts, heads, width, hidden / heads)
            y = ops.reshape(self.rows.padded(y), ints([0, 0, heads, hidden // heads]), special_zero=True)
            return ops.transpose(y, ints([0, 2, 1, 3]))

        query, key, value = (split(self._dense(x, f"{name}/{part}")) for part in ("query", "key", "value"))
        context = ops.scaled_dot_product_attention(query, key, value, self.mask)
        return self.rows.packed(ops.transpose(context, ints([0, 2, 1, 3])), hidden)

    def _dense(self, x: Any, name: str) -> Any:
        product = ops.matmul(x, self._constant(f"{name}/kernel"), transpose_a=False, transpose_b=True)
        return ops.add(product, self._constant(f"{name}/bias"))

    def _normalize(self, x: Any, name: str) -> Any:
        x = ops.mvn(x, ints([-1]), True, self.config.layer_norm_eps, "inside_sqrt")
        return ops.add(ops.multiply(x, self._constant(f"{name}/gamma")), self._constant(f"{name}/beta"))

    def _constant(self, name: str) -> Any:
        """A weight under its name, by which `weights_of` finds it; kernels in OpenVINO's layout."""
        value = self.weights[name]
        constant = ops.constant(np.ascontiguousarray(value.T) if name.endswith("kernel") else value)
        constant.set_friendly_name(name)
        return constant
