"""What a figure was measured on: machine, clocks as found, versions."""

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

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
GPU_FIELDS = {
    "name": "name",
    "driver": "driver_version",
    "memory": "memory.total",
    "compute_capability": "compute_cap",
    "clock": "clocks.sm",
    "max_clock": "clocks.max.sm",
    "power_limit": "power.limit",
    "persistence": "persistence_mode",
}


def describe() -> dict[str, Any]:
    """Return the environment as one JSON-ready document.

    Keys: ``python``, ``platform``, ``cpu`` (`cpu`), ``gpus`` (`gpus`), ``memory_bytes``,
    ``load_average`` (1, 5 and 15 minutes), ``packages`` (installed versions by name).
    Clocks and power states are read, never set.
    """
    import psutil

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu(),
        "gpus": gpus(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Return the versions of the installed packages that figures depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu() -> dict[str, Any]:
    """Return ``model``, ``cores``, ``threads``, ``vector`` extensions, ``governor``, ``mhz``."""
    import psutil

    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    frequency = psutil.cpu_freq()
    model, flags = _processor()
    return {
        "model": model,
        "cores": psutil.cpu_count(logical=False),
        "threads": os.cpu_count(),
        "vector": [
            name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if name in flags
        ],
        "governor": governor.read_text().strip() if governor.exists() else None,
        "mhz": round(frequency.current) if frequency else None,
    }


def _processor() -> tuple[str, set[str]]:
    """Return the processor's name and, on Linux, its flags."""
    if sys.platform == "linux":
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        pairs = [line.partition(":") for line in text.split("\n\n")[0].splitlines()]
        fields = {name.strip(): value.strip() for name, _, value in pairs}
        return fields.get("model name", platform.machine()), set(fields.get("flags", "").split())
    if sys.platform == "darwin":
        name = _output("sysctl", "-n", "machdep.cpu.brand_string")
        return name or platform.machine(), set()
    return platform.processor() or platform.machine(), set()


def gpus() -> list[dict[str, str]]:
    """Return each NVIDIA GPU as ``nvidia-smi`` describes it; empty without one."""
    query = ",".join(GPU_FIELDS.values())
    text = _output("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
    return [
        dict(zip(GPU_FIELDS, (cell.strip() for cell in line.split(",")), strict=True))
        for line in (text or "").splitlines()
    ]


def _output(*command: str) -> str | None:
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
