"""NVIDIA's GPUs: which there are, in the order in which CUDA counts them.

The management library (NVML) knows a GPU's driver and clocks, and counts by the bus; CUDA counts
otherwise, and only what ``CUDA_VISIBLE_DEVICES`` lets it see. A GPU's own number joins the two.
"""

import ctypes
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
UNKNOWN = "unknown"


def describe() -> list[dict[str, str]]:
    """Return each GPU as CUDA counts them: what it is, and clocks and power as found, never set.

    Keys: ``name``, ``uuid``, ``driver``, ``memory``, ``compute_capability``, ``clock``,
    ``max_clock``, ``power_limit``, ``persistence``; with units, ``"unknown"`` where a GPU or its
    driver does not tell. Without a driver that answers there is no GPU.
    """
    with _management() as nvml:
        return [_describe(nvml, handle) for handle in _handles(nvml)] if nvml else []


def ask(device: str, question: Callable[[Any, Any], T]) -> T | None:
    """Ask the management library about one GPU.

    Args:
        device: ``"cuda"`` or ``"cuda:N"``.
        question: takes the module ``pynvml`` and the handle of the GPU.

    Returns:
        The answer; None where there is no such GPU, or it does not tell.
    """
    index = int(device.partition(":")[2] or 0)
    with _management() as nvml:
        handles = _handles(nvml) if nvml else []
        if index >= len(handles):
            return None
        try:
            return question(nvml, handles[index])
        except nvml.NVMLError:
            return None


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


def _handles(nvml: Any) -> list[Any]:
    """Return the handle of each GPU, in CUDA's order."""
    try:
        found = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        # "GPU-8a6f..." -> "8a6f...", which is how CUDA has it.
        known = {str(nvml.nvmlDeviceGetUUID(handle)).partition("-")[2]: handle for handle in found}
        order = cuda_order()
        if order is None:
            return found
        # Parts of a GPU (MIG) are not counted.
        return [
            known[name] if name in known else nvml.nvmlDeviceGetHandleByUUID(f"MIG-{name}")
            for name in order
        ]
    except nvml.NVMLError:
        return []


def cuda_order() -> list[str] | None:
    """Return the UUIDs of CUDA's devices 0, 1, ...; None where its driver cannot be asked."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)):
            return None
        return [_cuda_uuid(library, index) for index in range(count.value)]
    except (OSError, AttributeError):
        return None


def _cuda_uuid(library: Any, index: int) -> str:
    device, number = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetUuid(number, device)
    return str(uuid.UUID(bytes=bytes(number)))


def _describe(nvml: Any, handle: Any) -> dict[str, str]:
    def told(question: Callable[[], Any]) -> str:
        try:
            return str(question())
        except nvml.NVMLError:
            return UNKNOWN

    def capability() -> str:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        return f"{major}.{minor}"

    def megahertz(clock: Callable[[Any, int], int]) -> Callable[[], str]:
        return lambda: f"{clock(handle, nvml.NVML_CLOCK_SM)} MHz"

    return {
        "name": told(lambda: nvml.nvmlDeviceGetName(handle)),
        "uuid": told(lambda: nvml.nvmlDeviceGetUUID(handle)),
        "driver": told(nvml.nvmlSystemGetDriverVersion),
        "memory": told(lambda: f"{nvml.nvmlDeviceGetMemoryInfo(handle).total >> 20} MiB"),
        "compute_capability": told(capability),
        "clock": told(megahertz(nvml.nvmlDeviceGetClockInfo)),
        "max_clock": told(megahertz(nvml.nvmlDeviceGetMaxClockInfo)),
        "power_limit": told(lambda: f"{nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000:g} W"),
        "persistence": told(
            lambda: "Enabled" if nvml.nvmlDeviceGetPersistenceMode(handle) else "Disabled"
        ),
    }
