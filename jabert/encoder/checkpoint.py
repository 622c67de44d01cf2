"""The variables of a Google BERT checkpoint as arrays."""

import numpy as np

from jabert.encoder.folder import EncoderFolder, reading
from jabert.legacy_keras import import_tensorflow

__all__ = ["read_variables"]


def read_variables(folder: EncoderFolder) -> dict[str, np.ndarray]:
    """What the encoder reads from its checkpoint: float32 arrays by Google BERT's names.

    Raises:
        JabertError: the checkpoint cannot be read, or a variable is missing or has another shape than
            `bert_config.json` makes it.
    """
    folder.check_variables()
    tf = import_tensorflow()
    with reading(folder.checkpoint):
        reader = tf.train.load_checkpoint(str(folder.checkpoint))
        return {
            name: np.asarray(reader.get_tensor(name), dtype=np.float32) for name in folder.config.variables()
        }
