"""OpenVINO nodes for packed batches: texts of any lengths, one after another, without padding.

OpenVINO prepares kernels for each new shape and keeps them, which takes time and memory: half a megabyte for
an LSTM and each number of texts. So batches are filled up a little, and few shapes occur.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13 as ops


@dataclass(frozen=True)
class Rows:
    """Conversion between packed tokens and the rows of a right-padded batch.

    Args:
        tokens: int32 (texts, width), index of the packed token at each position of each row.
        indices: int32 (tokens,), index of each packed token in the flattened rows.
    """

    tokens: Any
    indices: Any

    def padded(self, x: Any) -> Any:
        """(tokens, …) as (texts, width, …); the values of padding are arbitrary."""
        return ops.gather(x, self.tokens, ints(0))

    def packed(self, x: Any, columns: int) -> Any:
        """(texts, width, …) as (tokens, columns)."""
        flat = ops.reshape(x, ints([-1, columns]), special_zero=False)
        return ops.gather(flat, self.indices, ints(0))


class Layout:
    """The layout of a packed batch.

    Args:
        tokens: int32 scalar, number of packed tokens; may exceed the sum of the lengths.
        lengths: int32 (texts,), tokens of each text.
        step: the width of the rows is a multiple of this many tokens.

    Attributes:
        rows: conversion to padded rows and back.
        positions: int32 (tokens,), position of each token in its text.
        are_real: bool (texts, width), true for a token, false for padding.
    """

    def __init__(self, tokens: Any, lengths: Any, step: int) -> None:
        ends = ops.cum_sum(lengths, ints(0))
        starts = ops.subtract(ends, lengths)
        numbers = ops.range(ints(0), tokens, ints(1), "i32")  # (tokens,)
        ended = ops.greater_equal(ops.unsqueeze(numbers, ints(1)), ops.unsqueeze(ends, ints(0)))
        last = ops.subtract(size(lengths), ints(1))
        text = ops.minimum(ops.reduce_sum(ops.convert(ended, "i32"), ints([1])), last)  # (tokens,)
        width = rounded_up(ops.reduce_max(lengths, ints([0])), step)
        in_text = ops.subtract(numbers, ops.gather(starts, text, ints(0)))
        self.positions = ops.minimum(in_text, ops.subtract(width, ints(1)))
        columns = ops.unsqueeze(ops.range(ints(0), width, ints(1), "i32"), ints(0))  # (1, width)
        self.are_real = ops.less(columns, ops.unsqueeze(lengths, ints(1)))
        taken = ops.minimum(ops.add(ops.unsqueeze(starts, ints(1)), columns), ops.subtract(tokens, ints(1)))
        self.rows = Rows(taken, ops.add(ops.multiply(text, width), self.positions))


def fill_tokens(ids: Any) -> Any:
    """Ids followed by zeros, up to a multiple of 16; of 64 if they are more than 128."""
    return _fill(ids, 0, fine=16, limit=128, coarse=64)


def fill_texts(lengths: Any) -> Any:
    """Lengths followed by ones, up to a multiple of 8; a single text stays single."""
    return _fill(lengths, 1, fine=1, limit=1, coarse=8)


def _fill(x: Any, value: int, *, fine: int, limit: int, coarse: int) -> Any:
    length = size(x)
    filled = ops.select(
        ops.less_equal(length, ints(limit)), rounded_up(length, fine), rounded_up(length, coarse)
    )
    missing = ops.unsqueeze(ops.subtract(filled, length), ints(0))
    return ops.concat([x, ops.broadcast(ints(value), missing)], 0)


def rounded_up(number: Any, step: int) -> Any:
    """The next multiple of a step."""
    # Not (number + step - 1) / step * step: OpenVINO simplifies that to number + step - 1, as for real
    # numbers.
    return ops.add(number, ops.floor_mod(ops.subtract(ints(0), number), ints(step)))


def graph(name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    """An `openvino.Model` whose inputs and outputs have these names in a request."""
    results = {output: ops.result(node) for output, node in outputs.items()}
    for tensor, node in (*inputs.items(), *results.items()):
        node.output(0).set_names({tensor})
    return openvino.Model(list(results.values()), list(inputs.values()), name)


def size(x: Any) -> Any:
    """Length of the first axis, an int32 scalar."""
    return ops.gather(ops.shape_of(x, "i32"), ints(0), ints(0))


def ints(values: int | list[int]) -> npt.NDArray[np.int32]:
    """An int32 constant."""
    return np.asarray(values, dtype=np.int32)
