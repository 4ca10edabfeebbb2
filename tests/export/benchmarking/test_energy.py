from collections.abc import Callable
from pathlib import Path

import pytest
from fake_gpus import fake_gpus

from export.benchmarking import energy
from export.benchmarking.energy import energy_per_frame

RANGE = 262_143_328_850


def zone(root: Path, name: str, kind: str, microjoules: int) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "name").write_text(f"{kind}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def work(spends: dict[Path, int], frames: int = 10) -> Callable[[], int]:
    def run() -> int:
        for counter, microjoules in spends.items():
            counter.write_text(str((int(counter.read_text()) + microjoules) % (RANGE + 1)))
        return frames

    return run


def test_packages_are_added_up_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 1000)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 0)
    platform = zone(tmp_path, "intel-rapl:2", "psys", 0)
    spends = {first: 3_000_000, second: 1_000_000, core: 2_000_000, platform: 9_000_000}
    found = energy_per_frame(work(spends), "cpu", tmp_path)
    assert found.joules == pytest.approx(0.4)
    assert "2 package" in found.note


def test_counter_that_starts_over(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 10)
    assert energy_per_frame(work({counter: 5_000_000}, 5), "cpu", tmp_path).joules == 1


def test_machine_without_counters(tmp_path: Path) -> None:
    found = energy_per_frame(lambda: 1, "cpu", tmp_path / "none")
    assert found.joules is None
    assert "no energy counter" in found.note


def test_counters_that_only_root_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def refuse(self: energy.Counter) -> int:
        raise PermissionError(13, "Permission denied", str(self.path))

    monkeypatch.setattr(energy.Counter, "read", refuse)
    found = energy_per_frame(lambda: 1, "cpu", tmp_path)
    assert found.joules is None
    assert f"only root may read {counter}: sudo chmod" in found.note


def test_a_gpus_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch, ["a fake GPU"], millijoules=[5_000, 105_000])
    found = energy_per_frame(lambda: 100, "cuda:0")
    assert (found.joules, found.note) == (1.0, "NVML's energy counter, gross")


def test_a_gpu_without_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch, ["a fake GPU"], silent=("nvmlDeviceGetTotalEnergyConsumption",))
    found = energy_per_frame(lambda: 100, "cuda")
    assert (found.joules, "no energy counter" in found.note) == (None, True)
