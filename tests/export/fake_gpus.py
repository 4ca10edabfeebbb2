"""NVIDIA's management library and CUDA's driver, as `gpus` asks them, without a GPU."""

import ctypes
import sys
import uuid
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from export.machine import gpus


class NVMLError(Exception):
    pass


def number(index: int) -> str:
    return str(uuid.UUID(int=index))


def fake_gpus(
    monkeypatch: pytest.MonkeyPatch,
    names: Sequence[str],
    order: Sequence[int] | None = None,
    millijoules: Sequence[int] = (),
    silent: Sequence[str] = (),
) -> None:
    """Pretend that there are GPUs.

    Args:
        monkeypatch: undoes it.
        names: of the GPUs, as they are on the bus.
        order: their positions there, as CUDA counts those that it sees; None: it has no driver.
        millijoules: what the counter of energy shows, one reading after the other.
        silent: functions of the library that fail.
    """
    readings = iter(millijoules)

    def refuse(*_: object) -> None:
        raise NVMLError("Not Supported")

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(names),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{number(handle)}",
        nvmlDeviceGetName=lambda handle: names[handle],
        nvmlSystemGetDriverVersion=lambda: "580.1",
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(total=81559 << 20, used=5 << 20),
        nvmlDeviceGetCudaComputeCapability=lambda _: (9, 0),
        nvmlDeviceGetClockInfo=lambda *_: 345,
        nvmlDeviceGetMaxClockInfo=lambda *_: 1980,
        nvmlDeviceGetEnforcedPowerLimit=lambda _: 700_000,
        nvmlDeviceGetPersistenceMode=lambda _: 1,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: next(readings),
    )
    for name in silent:
        setattr(nvml, name, refuse)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)

    def driver(_: str) -> SimpleNamespace:
        if order is None:
            raise OSError("libcuda.so.1: cannot open shared object file")

        def fill(where: object, value: int) -> int:
            where._obj.value = value  # type: ignore[attr-defined]
            return 0

        def fill_number(where: ctypes.Array[ctypes.c_ubyte], device: ctypes.c_int) -> int:
            where[:] = uuid.UUID(number(order[device.value])).bytes
            return 0

        def fill_name(where: ctypes.Array[ctypes.c_char], size: int, device: ctypes.c_int) -> int:
            where.value = names[order[device.value]].encode()
            return 0

        return SimpleNamespace(
            cuInit=lambda _: 0,
            cuDeviceGetCount=lambda where: fill(where, len(order)),
            cuDeviceGet=lambda where, index: fill(where, index),
            cuDeviceGetUuid=fill_number,
            cuDeviceGetName=fill_name,
            cuDeviceGetAttribute=lambda where, wanted, _: fill(where, {75: 9, 76: 0}[wanted]),
        )

    monkeypatch.setattr(gpus.ctypes, "CDLL", driver)
