"""How much of the cores that are measured on other programs take."""

import os
import time
from collections import deque

import psutil

# The system counts in hundredths of a second: shorter spans say nothing.
SPAN_SECONDS = 0.5


class Contention:
    """Watches the whole machine's use of its cores, this process's own left out.

    Time that a hypervisor gives to others counts as theirs. Other programs on cores that are free
    disturb nobody and do not count.

    Args:
        threads: cores that the measured work keeps busy.
    """

    def __init__(self, threads: int):
        self._free = max((os.cpu_count() or 1) - threads, 0)
        self._past: deque[tuple[float, float]] = deque([self._now()])

    def _now(self) -> tuple[float, float]:
        """Return the time, and the seconds of all cores that others have used so far."""
        times = psutil.cpu_times()._asdict()
        idle = times.get("idle", 0.0) + times.get("iowait", 0.0)
        # Linux counts the time of guests in that of the users as well.
        guests = times.get("guest", 0.0) + times.get("guest_nice", 0.0)
        own = psutil.Process().cpu_times()
        return time.monotonic(), sum(times.values()) - idle - guests - own.user - own.system

    def share(self) -> float:
        """Return how many cores' worth others took of ours, over the last half second or more."""
        self._past.append(self._now())
        while len(self._past) > 2 and self._past[-1][0] - self._past[1][0] >= SPAN_SECONDS:
            self._past.popleft()
        (start, before), (end, after) = self._past[0], self._past[-1]
        if end - start < SPAN_SECONDS:
            return 0.0
        return max((after - before) / (end - start) - self._free, 0.0)
