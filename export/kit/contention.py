"""How much of the cores that are measured on other programs take."""

from __future__ import annotations

import os
import sys
import time
from collections import deque

from export.machine.processor import allowed_cores

# The system counts in hundredths of a second: shorter spans say nothing.
SPAN_SECONDS = 0.5


class Contention:
    """Watches the use of the cores that this process is allowed on, its own use left out.

    Time that a hypervisor gives to others counts as theirs. Other programs on cores that are free
    disturb nobody and do not count.

    Args:
        threads: cores that the measured work keeps busy.
    """

    def __init__(self, threads: int):
        self._cores = allowed_cores()
        self._free = max(len(self._cores) - threads, 0)
        self._past: deque[tuple[float, float]] = deque([self._now()])

    def _now(self) -> tuple[float, float]:
        """Return the time, and the seconds of our cores that others have used so far."""
        return time.monotonic(), (busy_seconds(self._cores) or 0.0) - time.process_time()

    def share(self) -> float:
        """Return how many cores' worth others took of ours, over the last half second or more.

        0 where the system does not tell.
        """
        self._past.append(self._now())
        while len(self._past) > 2 and self._past[-1][0] - self._past[1][0] >= SPAN_SECONDS:
            self._past.popleft()
        (start, before), (end, after) = self._past[0], self._past[-1]
        if end - start < SPAN_SECONDS:
            return 0.0
        return max((after - before) / (end - start) - self._free, 0.0)


def busy_seconds(cores: set[int]) -> float | None:
    """Return for how long some cores have been busy so far, all added up; None: not known."""
    if sys.platform == "linux":
        return _linux(cores)
    try:
        import psutil
    except ImportError:
        return None
    each = enumerate(psutil.cpu_times(percpu=True))
    return float(sum(sum(times) - times.idle for core, times in each if core in cores))


def _linux(cores: set[int], path: str = "/proc/stat") -> float | None:
    # Lines "cpu3 user nice system idle iowait irq softirq steal guest guest_nice"; guests are
    # counted among the users as well.
    names = {f"cpu{core}" for core in cores}
    ticks = 0
    try:
        with open(path) as file:
            for line in file:
                name, *fields = line.split()
                if name in names:
                    times = [int(field) for field in fields[:8]]
                    ticks += sum(times) - times[3] - times[4]
    except OSError:  # a container need not have it
        return None
    return ticks / os.sysconf("SC_CLK_TCK")
