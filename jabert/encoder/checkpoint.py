"""The variables of a Google BERT checkpoint as arrays."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from jabert.encoder.folder import EncoderFolder, reading
from jabert.legacy_keras import import_tensorflow


def read_variables(
    folder: EncoderFolder, optional: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """The variables of the encoder, float32 arrays by Google BERT's names.

    Args:
        folder: the encoder folder.
        optional: shapes of further variables by name, e.g. of heads, that are read if they are there.

    Raises:
        JabertError: the checkpoint cannot be read, or a variable is missing or has another shape than
            `bert_config.json` makes it.
    """
    folder.check_variables(optional)
    with reading(folder.checkpoint):
        reader = import_tensorflow().train.load_checkpoint(str(folder.checkpoint))
        present = [name for name in optional or {} if reader.has_tensor(name)]
        return {
            name: np.asarray(reader.get_tensor(name), dtype=np.float32)
            for name in [*folder.config.variables(), *present]
        }
