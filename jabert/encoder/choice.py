"""Which engine computes token vectors on this machine, in which precision, on which device."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jabert.config import EncoderSettings
from jabert.errors import JabertError
from jabert.legacy_keras import compute_capability, use_device

# Device files of NVIDIA's driver and of WSL: without them there is no GPU, and TensorFlow, which takes
# seconds to import, need not be asked.
_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Choice:
    """Engine, precision and device, with `auto` resolved.

    Attributes:
        engine: `reference` (keras-bert itself), `openvino` (CPU) or `tensorflow` (GPU).
        precision: of the matrix products, `float32` or `bfloat16`.
        device: `/CPU:0` or `/GPU:0`.
    """

    engine: str
    precision: str
    device: str


def choose(settings: EncoderSettings) -> Choice:
    """Resolve `engine`, `precision` and `device` for this machine, without measuring anything.

    `auto` prefers a GPU to the CPU, TensorFlow on a GPU and OpenVINO on a CPU, and bfloat16 where matrix
    products in it are at least twice as fast: on CPUs with AVX-512 BF16 or AMX, and on GPUs from compute
    capability 8.0 on.

    Raises:
        JabertError: this machine lacks what is asked for, or the engine does not support the device or
            precision.
    """
    device, engine = "/CPU:0", settings.engine
    if settings.device == "gpu" or (settings.device == "auto" and any(map(os.path.exists, _GPU_FILES))):
        device = use_device(settings.device)
    if engine == "auto":
        engine = "tensorflow" if device == "/GPU:0" else "openvino" if find_spec("openvino") else "reference"
    if engine == "openvino":
        if settings.device == "gpu":
            raise JabertError(
                "encoder.engine 'openvino' runs on the CPU, but encoder.device is 'gpu'; set one of them to "
                "'auto'"
            )
        if not find_spec("openvino"):
            raise JabertError(
                "encoder.engine is 'openvino', but the package openvino is not installed; pip install "
                "openvino, or use 'auto'"
            )
        device = "/CPU:0"
    return Choice(engine, _precision(settings.precision, engine, device), device)


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has instructions for bfloat16 products that OpenVINO uses."""
    if not cpuinfo.is_file():  # not Linux; OpenVINO uses bfloat16 on x86 only
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    return not _BFLOAT16_FLAGS.isdisjoint(flags.split())


def _precision(wanted: str, engine: str, device: str) -> str:
    if engine == "openvino":
        fast = cpu_has_bfloat16()
    else:
        fast = engine == "tensorflow" and device == "/GPU:0" and compute_capability() >= (8, 0)
    if wanted == "auto":
        return "bfloat16" if fast else "float32"
    if wanted == "bfloat16" and engine == "reference":
        raise JabertError(
            "encoder.engine 'reference' computes in float32, but encoder.precision is 'bfloat16'; set one of "
            "them to 'auto'"
        )
    if wanted == "bfloat16" and engine == "openvino" and not fast:
        # OpenVINO would silently compute in float32.
        raise JabertError(
            "encoder.precision is 'bfloat16', but this CPU has neither AVX-512 BF16 nor AMX; use 'auto'"
        )
    return wanted
