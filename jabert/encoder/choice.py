"""Which engine computes token vectors on this machine, in which precision, on which device."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jabert.config import EncoderSettings
from jabert.errors import JabertError
from jabert.legacy_keras import compute_capability, use_device

__all__ = ["Choice", "choose", "cpu_has_bfloat16"]

# What a GPU shows itself by before TensorFlow, which takes seconds to import, is asked: NVIDIA's driver, WSL.
_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Choice:
    """What `auto` was resolved to.

    Attributes:
        engine: `reference` (keras-bert itself), `openvino` (CPU) or `tensorflow` (GPU).
        precision: `float32` or `bfloat16`, of the matrix products.
        device: `/CPU:0` or `/GPU:0`.
    """

    engine: str
    precision: str
    device: str


def choose(settings: EncoderSettings) -> Choice:
    """Resolve `engine`, `precision` and `device` from the machine, never from a timing.

    A GPU goes before the CPU. There the engine is TensorFlow, on a CPU OpenVINO. The precision is bfloat16
    where the processor multiplies it at least twice as fast: CPUs with AVX-512 BF16 or AMX, GPUs from
    compute capability 8.0 on.

    Raises:
        JabertError: what is asked for does not exist here, or engine and device or precision do not fit.
    """
    device = _device(settings.device)
    engine = settings.engine
    if engine == "auto":
        engine = "tensorflow" if device == "/GPU:0" else "openvino" if find_spec("openvino") else "reference"
    if engine == "openvino":
        if settings.device == "gpu":
            raise JabertError("encoder.engine 'openvino' runs on the CPU, but encoder.device is 'gpu'")
        if not find_spec("openvino"):
            raise JabertError("encoder.engine is 'openvino', but the package openvino is not installed")
        device = "/CPU:0"
    return Choice(engine, _precision(settings.precision, engine, device), device)


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has instructions for bfloat16 products that OpenVINO uses."""
    if not cpuinfo.is_file():  # not Linux; OpenVINO uses bfloat16 on x86 only
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    return not _BFLOAT16_FLAGS.isdisjoint(flags.split())


def _device(wanted: str) -> str:
    if wanted == "gpu" or (wanted == "auto" and any(map(Path.exists, map(Path, _GPU_FILES)))):
        return use_device(wanted)
    return "/CPU:0"


def _precision(wanted: str, engine: str, device: str) -> str:
    if engine == "openvino":
        fast = cpu_has_bfloat16()
    else:
        fast = engine == "tensorflow" and device == "/GPU:0" and compute_capability() >= (8, 0)
    if wanted == "auto":
        return "bfloat16" if fast else "float32"
    if wanted == "bfloat16" and engine == "reference":
        raise JabertError(
            "encoder.engine 'reference' computes in float32, but encoder.precision is 'bfloat16'"
        )
    if wanted == "bfloat16" and engine == "openvino" and not fast:
        # OpenVINO would compute in float32 and say nothing.
        raise JabertError(
            "encoder.precision is 'bfloat16', but this CPU has neither AVX-512 BF16 nor AMX; use 'auto'"
        )
    return wanted
