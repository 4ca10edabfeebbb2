"""What a figure was measured on: machine, clocks as found, versions.

Part of a kit (`export.kit`): Python 3.8, and psutil only where it is there.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from export.machine import gpus, processor

PACKAGES = (
    "nastool",
    "torch",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "optuna",
)
CPU_FACTS = ("model", "board", "family", "number", "parts", "vector")
GPU_FACTS = ("name", "compute_capability", "driver")


def describe() -> dict[str, Any]:
    """Return the environment as one JSON-ready document.

    Keys: ``python``, ``platform``, ``cpu`` (`processor.describe`), ``gpus`` (`gpus.describe`),
    ``memory_bytes``, ``load_average`` (1, 5 and 15 minutes), ``packages`` (installed versions by
    name).
    Clocks and power states are read, never set.
    """
    memory, load = _memory_and_load()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor.describe(),
        "gpus": gpus.describe(),
        "memory_bytes": memory,
        "load_average": load,
        "packages": packages(),
    }


def _memory_and_load() -> tuple[int | None, list[float]]:
    try:
        import psutil

        load = [round(load, 2) for load in psutil.getloadavg()]
        return psutil.virtual_memory().total, load
    except Exception:  # it is not there, or the system does not tell
        return None, []


def free_memory() -> int:
    """Return the bytes of memory that programs may still take; 0 where the system does not tell."""
    try:
        import psutil

        return int(psutil.virtual_memory().available)
    except Exception:  # see above
        return 0


def device_facts(device: str, environment: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what tells a device from others, by field; latencies of other devices differ.

    Args:
        device: ``"cpu"`` or ``"cuda:N"``.
        environment: of `describe`, of this or another machine; this one's if left out. What an
            older one does not know is left out.
    """
    if device == "cpu":
        known = processor.describe() if environment is None else environment.get("cpu", {})
        return {f"cpu {field}": known[field] for field in CPU_FACTS if field in known}
    known_gpus = gpus.describe() if environment is None else environment.get("gpus", [])
    index = int(device.partition(":")[2] or 0)
    gpu = known_gpus[index] if index < len(known_gpus) else {}
    return {f"gpu {field}": gpu[field] for field in GPU_FACTS if field in gpu}


def packages() -> dict[str, str]:
    """Return the versions of the installed packages that figures depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
