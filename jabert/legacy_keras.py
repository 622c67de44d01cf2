"""The one place that imports TensorFlow.

keras-bert needs Keras 2, which is continued as tf-keras; TensorFlow uses it instead of Keras 3 only if an
environment variable is set before TensorFlow is first imported.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import ModuleType

from jabert.errors import JabertError


def import_tensorflow() -> ModuleType:
    """TensorFlow, with tf-keras as `tf.keras`.

    Raises:
        JabertError: TensorFlow has already been imported with Keras 3.
    """
    first = "tensorflow" not in sys.modules
    if not first and os.environ.get("TF_USE_LEGACY_KERAS") != "1":
        raise JabertError(
            "TensorFlow was imported before jabert with Keras 3; set TF_USE_LEGACY_KERAS=1 in the environment"
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    with _quiet() if first else nullcontext():
        import tensorflow

        if first:
            for gpu in tensorflow.config.list_physical_devices("GPU"):  # the search writes notes, too
                # Leave memory to other processes; can only be set before the GPU is used.
                tensorflow.config.experimental.set_memory_growth(gpu, True)
    return tensorflow  # type: ignore[no-any-return]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide TensorFlow's notes on CPU flags and missing CUDA libraries, which look like errors.

    They are written by C++ before its log level takes effect, so the file descriptor of stderr is redirected;
    what was written is shown if the import fails. With TF_CPP_MIN_LOG_LEVEL set, nothing is hidden.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def gpu_names() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    tf = import_tensorflow()
    return [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]


def compute_capability() -> tuple[int, int]:
    """CUDA compute capability of the first GPU that TensorFlow sees, (0, 0) if unknown."""
    tf = import_tensorflow()
    for gpu in tf.config.list_physical_devices("GPU"):
        major, minor = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        return major, minor
    return 0, 0


def run_two_at_once() -> None:
    """Let TensorFlow run two operations at a time on a CPU, each on half of the cores.

    For the two directions of an LSTM, whose steps are too short to be divided among all cores: an epoch takes
    three quarters of the time. Has no effect once TensorFlow has computed anything.
    """
    threading = import_tensorflow().config.threading
    with suppress(RuntimeError):
        threading.set_inter_op_parallelism_threads(2)
        threading.set_intra_op_parallelism_threads(max(1, (os.cpu_count() or 2) // 2))


def use_device(device: str) -> str:
    """Resolve `encoder.device` (`auto`, `cpu` or `gpu`) to a TensorFlow device, e.g. `/CPU:0`.

    `cpu` hides the GPUs from TensorFlow in this process.

    Raises:
        JabertError: `gpu` is asked for and TensorFlow sees none, or this process cannot change its device any
            more.
    """
    tf = import_tensorflow()
    if device == "cpu":
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError as error:
            raise JabertError(
                "encoder.device is 'cpu', but this process uses the GPU already; start a new one"
            ) from error
        return "/CPU:0"
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise JabertError(
            "encoder.device is 'gpu', but TensorFlow sees none; "
            "install the extra jabert[gpu], see why with TF_CPP_MIN_LOG_LEVEL=0, or use 'auto'"
        )
    if not gpus:
        return "/CPU:0"
    if not tf.config.get_visible_devices("GPU"):
        raise JabertError("the GPU has been hidden from TensorFlow in this process; start a new one")
    return "/GPU:0"
