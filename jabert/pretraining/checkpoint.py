"""Checkpoints in the form of google-research/bert: what keras-bert loads, and what a warm start reads."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jabert.encoder.folder import EncoderFolder, reading
from jabert.errors import JabertError
from jabert.legacy_keras import import_tensorflow
from jabert.pretraining.model import initial_weights, variable_shapes
from jabert.training.state import writing

__all__ = ["read_checkpoint", "write_checkpoint"]


def write_checkpoint(prefix: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write variables by their names, in the dtype they have.

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


def read_checkpoint(folder: EncoderFolder, seed: int) -> dict[str, np.ndarray]:
    """The variables of an encoder's checkpoint, float32; heads that it lacks as those of a new BERT.

    Raises:
        JabertError: the checkpoint cannot be read, or does not fit `bert_config.json`.
    """
    folder.check_variables()
    weights = initial_weights(folder.config, seed)
    with reading(folder.checkpoint):
        reader = import_tensorflow().train.load_checkpoint(str(folder.checkpoint))
        there = reader.get_variable_to_shape_map()
        for name, shape in variable_shapes(folder.config).items():
            if name in there and tuple(there[name]) != shape:
                raise JabertError(
                    f"checkpoint {folder.checkpoint}: variable {name} has shape {tuple(there[name])}, "
                    f"but bert_config.json makes it {shape}"
                )
            if name in there:
                weights[name] = np.asarray(reader.get_tensor(name), dtype=np.float32)
    return weights
