"""BERT's activation in TensorFlow, in few passes over memory."""

import math
from typing import Any

from jabert.legacy_keras import import_tensorflow

__all__ = ["gelu"]

# 2 u = _ONE x + _THREE x^3
_ONE = 2 * math.sqrt(2 / math.pi)
_THREE = _ONE * 0.044715


def gelu(x: Any) -> Any:
    """keras-transformer's gelu, 0.5 x (1 + tanh(u)) = x sigmoid(2 u), its gradient written out."""
    tf = import_tensorflow()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def gated(x: Any) -> Any:
        gate = tf.sigmoid(x * (_ONE + _THREE * tf.square(x)))

        def gradient(upstream: Any) -> Any:
            slope = x * (_ONE + 3 * _THREE * tf.square(x))
            return upstream * gate + slope * tf.raw_ops.SigmoidGrad(y=gate, dy=upstream)

        return x * gate, gradient

    return gated(x)
