"""How long the stages take, and how many frames a second come out now."""

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("capture", "preprocess", "inference", "postprocess", "draw", "write")
KEPT = 1000  # times of a stage that medians are of, so that memory does not grow
RECENT = 30  # times of a stage that are shown
RATE_SECONDS = 1.0  # over which the current rate is counted


class Meter:
    """Milliseconds of the last frames in every stage, and rates.

    Stages run beside each other in several threads, so the sum of the medians is more than the
    time per frame. Each stage is measured by one thread.

    Attributes:
        milliseconds: by stage.
        frames: how many are done.
        dropped: how many of a camera came while the one before was at work.
        faceless: in how many a face was looked for and not found.
        held: seconds in which the user paused or looked at a still image; not counted.
    """

    def __init__(self) -> None:
        self.milliseconds: dict[str, deque[float]] = {stage: deque(maxlen=KEPT) for stage in STAGES}
        self.frames = self.dropped = self.faceless = 0
        self.held = 0.0
        self._started = time.perf_counter()
        self._done: deque[float] = deque()

    def start(self) -> None:
        """Count the seconds from here."""
        self._started = time.perf_counter()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        start = time.perf_counter()
        yield
        self.milliseconds[stage].append(1e3 * (time.perf_counter() - start))

    def count(self) -> None:
        """Note that a frame is done."""
        self.frames += 1
        now = time.perf_counter()
        self._done.append(now)
        while self._done[0] < now - RATE_SECONDS and len(self._done) > 2:
            self._done.popleft()

    @property
    def rate(self) -> float:
        """Frames per second now."""
        spent = self._done[-1] - self._done[0] if len(self._done) > 1 else 0.0
        return (len(self._done) - 1) / spent if spent else 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the start, without those in which the user held a frame."""
        return time.perf_counter() - self._started - self.held

    def medians(self) -> dict[str, float | None]:
        """Return the median of each stage in ms; None where nothing was done."""
        return {
            stage: round(statistics.median(values), 3) if values else None
            for stage, values in self.milliseconds.items()
        }

    def lines(self) -> list[str]:
        """Return what is shown: current rate, last times of each stage, what was dropped."""
        # A stage's thread may add to it meanwhile.
        last = {stage: list(values.copy())[-RECENT:] for stage, values in self.milliseconds.items()}
        return [
            f"{self.rate:.0f} fps",
            *(f"{stage} {statistics.median(each):.1f} ms" for stage, each in last.items() if each),
            *([f"{self.dropped} dropped"] if self.dropped else []),
        ]
