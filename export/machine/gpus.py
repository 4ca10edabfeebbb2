"""NVIDIA's GPUs: which there are, in the order in which CUDA counts them.

CUDA's driver says what a program can see, in CUDA's order and with ``CUDA_VISIBLE_DEVICES``; the
management library (NVML) knows clocks and power besides, but counts by the bus. A GPU's own number
joins the two. Some boards have no management library; it is not missed.

Part of a kit (`export.kit`): Python 3.8.
"""

from __future__ import annotations

import ctypes
import sys
import uuid
from contextlib import contextmanager
from typing import Any, Callable, Iterator, TypeVar

T = TypeVar("T")
UNKNOWN = "unknown"
# CUdevice_attribute
MAJOR, MINOR = 75, 76


def describe() -> list[dict[str, str]]:
    """Return each GPU as CUDA counts them: what it is, and clocks and power as found, never set.

    Keys: ``name``, ``uuid``, ``driver``, ``memory``, ``compute_capability``, ``clock``,
    ``max_clock``, ``power_limit``, ``persistence``; with units, ``"unknown"`` where a GPU or its
    driver does not tell. Without a driver that answers there is no GPU.
    """
    seen = cuda_devices()
    with _management() as nvml:
        handles = _handles(nvml) if nvml else {}
        if seen is None:
            return [_describe(nvml, handle) for handle in handles.values()]
        return [
            _describe(nvml, handles[gpu["uuid"]])
            if gpu["uuid"] in handles
            else {**dict.fromkeys(_QUESTIONS, UNKNOWN), **gpu}
            for gpu in seen
        ]


def ask(device: str, question: Callable[[Any, Any], T]) -> T | None:
    """Ask the management library about one GPU.

    Args:
        device: ``"cuda"`` or ``"cuda:N"``.
        question: takes the module ``pynvml`` and the handle of the GPU.

    Returns:
        The answer; None where there is no such GPU, or it does not tell.
    """
    index = int(device.partition(":")[2] or 0)
    seen = cuda_devices()
    with _management() as nvml:
        handles = _handles(nvml) if nvml else {}
        names = list(handles) if seen is None else [gpu["uuid"] for gpu in seen]
        if index >= len(names) or names[index] not in handles:
            return None
        try:
            return question(nvml, handles[names[index]])
        except nvml.NVMLError:
            return None


def cuda_devices() -> list[dict[str, str]] | None:
    """Return ``name``, ``uuid`` and ``compute_capability`` of CUDA's devices 0, 1, ...

    None where its driver cannot be asked.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return None
        return [_cuda_device(driver, index) for index in range(count.value)]
    except (OSError, AttributeError):
        return None


def _cuda_device(driver: Any, index: int) -> dict[str, str]:
    device, number, name = ctypes.c_int(), (ctypes.c_ubyte * 16)(), (ctypes.c_char * 256)()
    major, minor = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, 256, device)
    driver.cuDeviceGetUuid(number, device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
    return {
        "name": name.value.decode(errors="replace"),
        "uuid": str(uuid.UUID(bytes=bytes(number))),
        "compute_capability": f"{major.value}.{minor.value}",
    }


@contextmanager
def _management() -> Iterator[Any]:
    """Open the management library and yield its module; None where there is no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no driver, or one that does not answer
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _handles(nvml: Any) -> dict[str, Any]:
    """Return the handle of each GPU by its number, in the order of the bus."""
    try:
        found = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        return {_number(nvml, handle): handle for handle in found}
    except nvml.NVMLError:
        return {}


def _number(nvml: Any, handle: Any) -> str:
    # "GPU-8a6f..." -> "8a6f...", which is how CUDA has it.
    return str(nvml.nvmlDeviceGetUUID(handle)).partition("-")[2]


def _describe(nvml: Any, handle: Any) -> dict[str, str]:
    told = {}
    for key, question in _QUESTIONS.items():
        try:
            told[key] = question(nvml, handle)
        except nvml.NVMLError:
            told[key] = UNKNOWN
    return told


def _capability(nvml: Any, handle: Any) -> str:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return f"{major}.{minor}"


_QUESTIONS: dict[str, Callable[[Any, Any], str]] = {
    "name": lambda nvml, gpu: str(nvml.nvmlDeviceGetName(gpu)),
    "uuid": _number,
    "driver": lambda nvml, _: str(nvml.nvmlSystemGetDriverVersion()),
    "memory": lambda nvml, gpu: f"{nvml.nvmlDeviceGetMemoryInfo(gpu).total >> 20} MiB",
    "compute_capability": _capability,
    "clock": lambda nvml, gpu: f"{nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)} MHz",
    "max_clock": lambda nvml, gpu: f"{nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM)} MHz",
    "power_limit": lambda nvml, gpu: f"{nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000:g} W",
    "persistence": lambda nvml, gpu: (
        "Enabled" if nvml.nvmlDeviceGetPersistenceMode(gpu) else "Disabled"
    ),
}
