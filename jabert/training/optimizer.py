"""AdamW with warm-up and decay, as google-research/bert trains, and the moving average of weights."""

import math
from collections.abc import Sequence
from typing import Any

from jabert.legacy_keras import import_tensorflow

tf = import_tensorflow()
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-6


class AdamW(tf.Module):  # type: ignore[misc,name-defined]
    """AdamW (Loshchilov & Hutter 2019) in few operations; matrices decay, gammas, betas and biases do not.

    Not Keras's: an update by TensorFlow's own kernel takes a fifth of the time, which on a CPU is a sixth of
    a step of a small BERT. Not keras-bert's AdamWarmup, which does not run on tf-keras 2.21.

    Args:
        variables: what learns.
        weight_decay: share of a matrix that is taken off, times the learning rate.
        clip_norm: longest gradient, over all variables.
        rates: factor of the learning rate for each variable; without it 1.
    """

    def __init__(
        self,
        variables: Sequence[Any],
        *,
        weight_decay: float,
        clip_norm: float,
        rates: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.step = tf.Variable(0, dtype=tf.int64)
        self._moments = [[tf.Variable(tf.zeros_like(v)) for v in variables] for _ in range(2)]
        self._variables, self._rates = list(variables), list(rates or [1.0] * len(variables))
        self._weight_decay, self._clip_norm = weight_decay, clip_norm

    def apply(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Take a step.

        Args:
            gradients: of the variables, in their order; a variable with None stays as it is.
            learning_rate: float32 ().
        """
        clipped, _ = tf.clip_by_global_norm(gradients, self._clip_norm)
        number = tf.cast(self.step.assign_add(1), tf.float32)
        powers = {"beta1_power": _BETA_1**number, "beta2_power": _BETA_2**number}
        constants = {"beta1": _BETA_1, "beta2": _BETA_2, "epsilon": _EPSILON}
        for variable, gradient, first, second, factor in zip(
            self._variables, clipped, *self._moments, self._rates, strict=True
        ):
            if gradient is None:
                continue
            rate = learning_rate * factor
            if self._weight_decay and len(variable.shape) > 1:
                variable.assign_sub(variable * (rate * self._weight_decay))
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                lr=rate,
                grad=tf.convert_to_tensor(gradient),
                **powers,
                **constants,
            )


class Averages(tf.Module):  # type: ignore[misc,name-defined]
    """Exponential moving averages of variables, which begin with their values.

    Args:
        variables: that learn.
        decay: share of the average that a step keeps; fewer in the first steps.
    """

    def __init__(self, variables: Sequence[Any], decay: float) -> None:
        super().__init__()
        self._variables, self._decay = list(variables), decay
        self._averages = [tf.Variable(variable) for variable in variables]

    def begin(self) -> None:
        """Begin again with the values of the variables."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(variable)

    def update(self, step: Any) -> None:
        """Move the averages a little to the values after so many steps, int64 ()."""
        number = tf.cast(step, tf.float32)
        share = 1 - tf.minimum(self._decay, number / (number + 10.0))
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign_sub(share * (average - variable))

    def swap(self) -> None:
        """Exchange averages and variables; a second call undoes it."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            held = tf.identity(variable)
            variable.assign(average)
            average.assign(held)


def learning_rate(step: Any, highest: float, warmup: float, steps: int, shape: str = "linear") -> Any:
    """A learning rate that rises linearly to the highest, then falls to 0.

    Args:
        step: steps done, a float32 tensor ().
        highest: at the end of the warm-up.
        warmup: steps of rising.
        steps: after which it is 0.
        shape: of the fall, `linear` or `cosine`.
    """
    rising = (step + 1.0) / tf.maximum(1.0, warmup)
    falling = (steps - step) / max(1.0, steps - warmup)
    if shape == "cosine":
        falling = (1 - tf.cos(math.pi * tf.clip_by_value(falling, 0.0, 1.0))) / 2
    return highest * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)
