"""Checkpoints in the form of google-research/bert, which keras-bert loads and a warm start begins with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jabert.encoder.checkpoint import read_variables
from jabert.encoder.folder import EncoderFolder
from jabert.legacy_keras import import_tensorflow
from jabert.pretraining.model import head_shapes, initial_weights
from jabert.training.state import writing


def write_checkpoint(prefix: Path, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
    """Write variables by their names, each in its dtype.

    Raises:
        JabertError: the disk is full, or the folder cannot be written to.
    """
    names = sorted(weights)
    with writing(prefix):
        import_tensorflow().raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[weights[name] for name in names],
        )


def read_checkpoint(folder: EncoderFolder, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """The variables of an encoder's checkpoint by name; heads that it lacks are initialized from the seed.

    Raises:
        JabertError: the checkpoint cannot be read, or does not fit `bert_config.json`.
    """
    return initial_weights(folder.config, seed) | read_variables(folder, head_shapes(folder.config))
