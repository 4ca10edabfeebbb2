"""GPUs as CUDA counts them; the libraries are fakes."""

import sys
from types import SimpleNamespace

import pytest
from fake_gpus import fake_gpus, number

from export.machine import gpus

TWO = ("NVIDIA T4", "NVIDIA H100")


def names() -> list[str]:
    return [gpu["name"] for gpu in gpus.describe()]


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch, TWO[1:], [0])
    assert gpus.describe() == [
        {
            "name": "NVIDIA H100",
            "uuid": number(0),
            "driver": "580.1",
            "memory": "81559 MiB",
            "compute_capability": "9.0",
            "clock": "345 MHz",
            "max_clock": "1980 MHz",
            "power_limit": "700 W",
            "persistence": "Enabled",
        }
    ]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([1, 0], ["NVIDIA H100", "NVIDIA T4"]),  # the fastest first
        ([1], ["NVIDIA H100"]),  # CUDA_VISIBLE_DEVICES
        ([], []),
        (None, ["NVIDIA T4", "NVIDIA H100"]),  # no CUDA: as on the bus
    ],
)
def test_gpus_are_counted_as_cuda_counts_them(
    monkeypatch: pytest.MonkeyPatch, order: list[int] | None, expected: list[str]
) -> None:
    fake_gpus(monkeypatch, TWO, order)
    assert names() == expected
    for index, name in enumerate(expected):
        assert gpus.ask(f"cuda:{index}", lambda nvml, gpu: nvml.nvmlDeviceGetName(gpu)) == name
    assert gpus.ask(f"cuda:{len(expected)}", lambda nvml, gpu: gpu) is None


def test_what_a_gpu_does_not_tell_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch, TWO, None, silent=("nvmlDeviceGetClockInfo", "nvmlDeviceGetName"))
    first = gpus.describe()[0]
    assert (first["clock"], first["name"], first["driver"]) == ("unknown", "unknown", "580.1")


@pytest.mark.parametrize("broken", ["nvmlDeviceGetCount", "nvmlDeviceGetUUID"])
def test_a_management_library_that_fails_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    fake_gpus(monkeypatch, TWO, [1], silent=(broken,))
    (gpu,) = gpus.describe()
    assert (gpu["name"], gpu["compute_capability"]) == ("NVIDIA H100", "9.0")
    assert (gpu["driver"], gpu["clock"]) == ("unknown", "unknown")
    assert gpus.ask("cuda:0", lambda nvml, gpu: gpu) is None
    fake_gpus(monkeypatch, TWO, None, silent=(broken,))
    assert gpus.describe() == []


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise RuntimeError("NVML Shared Library Not Found")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=missing))
    assert gpus.describe() == []
    assert gpus.ask("cuda:0", lambda nvml, gpu: gpu) is None
