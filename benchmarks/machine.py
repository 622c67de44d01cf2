"""The machine that a benchmark ran on."""

import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["machine"]

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def machine() -> dict[str, Any]:
    """Processor, cores and Python, JSON-ready."""
    path = Path("/proc/cpuinfo")
    facts = dict(
        (part.strip() for part in line.partition(":")[::2])
        for line in (path.read_text().splitlines() if path.is_file() else [])
        if ":" in line
    )
    flags = facts.get("flags", "").split()
    return {
        "processor": facts.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "system": platform.system(),
        "python": platform.python_version(),
    }
