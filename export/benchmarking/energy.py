"""Energy of a frame, where the machine tells.

CPUs: the kernel's powercap counters (RAPL, of Intel and AMD alike), summed over the packages.
NVIDIA GPUs: their own counter, read through NVML. Both are gross: idle power and whatever else runs
are in them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.machine import gpus

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Energy:
    """Energy of one frame.

    Attributes:
        joules: of a frame, gross; None where the machine does not tell.
        note: where the figure comes from, or why there is none.
    """

    joules: float | None
    note: str


@dataclass(frozen=True)
class Counter:
    """The energy counter of one processor package, in microjoules; starts over at ``range_uj``."""

    path: Path
    range_uj: int

    def read(self) -> int:
        """Return the counter's state."""
        return int(self.path.read_text())

    def spent(self, before: int, after: int) -> float:
        """Return the joules between two states, less than one round apart."""
        return ((after - before) % (self.range_uj + 1)) / 1e6


def counters(root: Path = POWERCAP) -> list[Counter]:
    """Find the counters of the processor packages.

    What is inside a package (cores, uncore) and around it (psys) is left out, not to count twice.

    Raises:
        PermissionError: they exist, but this user may not read them.
    """
    found = []
    for zone in sorted(root.glob("intel-rapl:*")):
        if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
            counter = Counter(zone / "energy_uj", int((zone / "max_energy_range_uj").read_text()))
            counter.read()
            found.append(counter)
    return found


def energy_per_frame(work: Callable[[], int], device: str, root: Path = POWERCAP) -> Energy:
    """Measure the energy that each frame of some work takes.

    Args:
        work: runs for a second or more, and returns the number of frames.
        device: ``"cpu"`` or ``"cuda:N"``; whose energy is read.
        root: the powercap folder.
    """
    return _gpu(work, device) if device != "cpu" else _cpu(work, root)


def _cpu(work: Callable[[], int], root: Path) -> Energy:
    try:
        found = counters(root)
    except PermissionError as error:
        return Energy(
            None, f"only root may read {error.filename}: sudo chmod a+r {root}/*/energy_uj"
        )
    if not found:
        return Energy(None, f"this machine has no energy counter (no package in {root})")
    before = [counter.read() for counter in found]
    frames = work()
    joules = sum(
        counter.spent(start, counter.read()) for counter, start in zip(found, before, strict=True)
    )
    return Energy(joules / frames, f"RAPL, {len(found)} package(s), gross")


def _gpu(work: Callable[[], int], device: str) -> Energy:
    before = gpus.ask(device, _millijoules)
    frames = work()
    after = gpus.ask(device, _millijoules)
    if before is None or after is None:
        return Energy(None, "this GPU has no energy counter (Volta and newer have one)")
    return Energy((after - before) / 1000 / frames, "NVML's energy counter, gross")


def _millijoules(nvml: Any, handle: Any) -> int:
    return int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
