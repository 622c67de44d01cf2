"""An encoder in ONNX, whatever its architecture, in the place of BERT's graph."""

from pathlib import Path
from typing import Any

import numpy as np
from openvino import opset13 as ops

from jabert.encoder.packed import Rows, graph, ints
from jabert.errors import JabertError, refusing

_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_OUTPUTS = ("last_hidden_state", "token_embeddings", "hidden_states")


def onnx_graph(path: Path, columns: int) -> Any:
    """The model as an `openvino.Model` with the inputs and the output of `bert_graph`.

    Only between these batches are packed; the model itself gets rows with padding.

    Args:
        path: of the `.onnx` file, as transformers' models are exported: its inputs are `input_ids`,
            `attention_mask`, and perhaps `token_type_ids` and `position_ids`, each (texts, tokens); its first
            output, or `last_hidden_state`, is (texts, tokens, columns).
        columns: of a vector.

    Raises:
        JabertError: the file cannot be read, has other inputs or outputs, or takes a fixed number of texts or
            tokens.
    """
    model = _model(path)
    with refusing(f"{path} is not a model that is computed in batches of texts"):
        return _packed(model, path, columns)


def _packed(model: Any, path: Path, columns: int) -> Any:
    shapes = {"tokens": [-1], "positions": [-1], "rows": [-1, -1], "places": [-1]}
    inputs = {name: ops.parameter(shape, np.int32) for name, shape in shapes.items()}
    inputs["mask"] = ops.parameter([-1, 1, 1, -1], np.float32)
    rows = Rows(inputs["rows"], inputs["places"])
    ids = rows.padded(inputs["tokens"])  # (texts, width)
    attended = ops.equal(ops.squeeze(inputs["mask"], ints([1, 2])), np.float32(0))
    zeros = ops.multiply(ids, ints(0))
    width = ops.gather(ops.shape_of(ids, "i32"), ints(1), ints(0))
    counted = ops.range(ints(0), width, ints(1), "i32")
    values = dict(zip(_INPUTS, (ids, attended, zeros, ops.add(zeros, counted)), strict=True))
    for given in model.inputs:
        name = next((name for name in given.names if name in values), None)
        if name is None:
            raise JabertError(f"{path} has the input {given.any_name}; known are {', '.join(_INPUTS)}")
        size = given.get_partial_shape()
        # The positions may be those of one text for all; a rank that is not told says nothing of a size.
        if name != "position_ids" and size.rank.is_static and any(side.is_static for side in size):
            raise JabertError(
                f"{path} takes its input {name} as {size} only; export it for any number of texts and tokens "
                "(dynamic axes)"
            )
        given.replace(ops.convert(values[name], given.get_element_type().to_dtype()).output(0))
    found = next((each for each in model.outputs if each.names & {*_OUTPUTS}), model.outputs[0])
    shape = found.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 3 or shape[2].is_dynamic or shape[2].get_length() != columns:
        raise JabertError(f"{path} gives {shape}, not (texts, tokens, {columns})")
    vectors = rows.packed(ops.convert(found.get_node().input_value(0), np.float32), columns)
    return graph("onnx", inputs, {"vectors": vectors})


def count_parameters(path: Path) -> int:
    """Numbers in the weights of the model."""
    constants = [each for each in _model(path).get_ops() if each.get_type_name() == "Constant"]
    floating = [each for each in constants if each.get_element_type().is_real()]
    return sum(int(np.prod(each.get_output_shape(0))) for each in floating)


def _model(path: Path) -> Any:
    from jabert.encoder.openvino import core

    with refusing(f"{path} is not an ONNX model that OpenVINO reads"):
        return core().read_model(path)
