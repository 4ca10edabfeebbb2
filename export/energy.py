"""Energy of a frame, where the machine tells.

CPUs: the kernel's powercap counters (RAPL, of Intel and AMD alike), summed over the packages.
NVIDIA GPUs: the power that ``nvidia-smi`` reads, sampled and averaged. Both are gross: idle power
and whatever else runs are in them.
"""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
SAMPLE_MS = 50


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
    return _gpu(work, device.partition(":")[2] or "0") if device != "cpu" else _cpu(work, root)


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


def _gpu(work: Callable[[], int], index: str) -> Energy:
    if not shutil.which("nvidia-smi"):
        return Energy(None, "nvidia-smi is missing; it comes with the driver")
    sampler = subprocess.Popen(
        [
            *("nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"),
            *(f"--id={index}", f"--loop-ms={SAMPLE_MS}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        start = time.perf_counter()
        frames = work()
        seconds = time.perf_counter() - start
    finally:
        sampler.terminate()
        text = sampler.communicate()[0]
    watts = _numbers(text)
    if not watts:
        return Energy(None, "nvidia-smi gives no power.draw for this GPU")
    note = f"nvidia-smi power.draw, mean of {len(watts)}, gross"
    return Energy(sum(watts) / len(watts) * seconds / frames, note)


def _numbers(text: str) -> list[float]:
    # The last line may be cut; "[N/A]" where the GPU does not tell.
    lines = text.splitlines(keepends=True)
    words = [line.strip() for line in lines if line.endswith("\n")]
    return [float(word) for word in words if word.replace(".", "", 1).isdecimal()]
