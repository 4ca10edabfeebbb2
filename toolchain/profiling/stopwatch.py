"""Timing many graphs on one device, with an eye on what else the machine does.

A shared machine changes between a few speeds, for a fraction of a second or for minutes: with its
cores to itself, and with a neighbour on one or more of them. What a neighbour costs differs from
graph to graph, so that only quiet moments compare. A fixed piece of network, the sentinel, tells
them: it is read until it runs near its best, then each graph of a comparison runs for a short
block, in random order, and the sentinel once more. Such a turn counts if that reading is near the
best as well, and if other programs left the cores alone that are measured on. A time is kept as a
multiple of the sentinel's in the same turn, which takes out slow changes of the clocks. A
comparison that finds too few quiet turns is put off and tried again later; when several in a row
fail, the machine is too busy and the error says so.
"""

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from export.errors import GateError
from export.measurement import Timer, warm_up
from export.processor import usable_cores
from export.runtimes import Session, open_session
from export.runtimes.tensorrt.binding import BINDINGS
from toolchain.profiling.contention import Contention
from toolchain.profiling.face import feeds
from toolchain.profiling.graphs import Array, GraphBuilder

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
BLOCK_MS = 10.0
SENTINEL_MS = 6.0
TURNS = 5
MOST_TURNS = 10
PRECISE = 0.02
WARM_UP_SECONDS = 0.05
# To get to know the sentinel's best.
SETTLE_SECONDS = 2.0
# Lost to disturbances, before a comparison is put off.
PATIENCE_SECONDS = 12.0
# Seconds to wait after the first, second, ... of several disturbed comparisons in a row.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
# The best is a low quantile of the last readings: a median would follow a machine that is busy for
# most of the time, the minimum a single lucky reading. Clocks fall when a processor gets warm, and
# shared machines have slow hours: older readings do not count.
BEST = 0.005
MEMORY_SECONDS = 90.0
JUDGE_SECONDS = 0.5
# How much of a core other programs may take, whatever the sentinel says: it does not notice those
# that were there from the beginning.
CONTENTION = 0.3


class DisturbedError(Exception):
    """Too few turns of a comparison were quiet."""


class Stopwatch:
    """Opens and times graphs on one device; a context manager.

    Args:
        runtime: name of the runtime.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: threads of one operator on the CPU.
        seconds: time spent in each graph, at least.
        max_drift: by how much the sentinel may exceed its best, as a fraction; as much of a core,
            but at least `CONTENTION`, may other programs take.
        seed: of all random orders.
    """

    def __init__(
        self,
        runtime: str = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        seconds: float = 0.1,
        max_drift: float = 0.1,
        seed: int = 0,
    ):
        self._open: Callable[[bytes], Session] = partial(
            open_session, runtime=runtime, device=device, threads=threads
        )
        if device != "cpu":
            # What an image takes on its way to the GPU and back says nothing of a network.
            self._open = partial(self._open, copies=False)
        self._kernels: TemporaryDirectory[str] | None = None
        if runtime in BINDINGS:
            # Hundreds of graphs of a few kinds of layers: what was measured for one serves all.
            self._kernels = TemporaryDirectory()
            cache = Path(self._kernels.name) / "timing.cache"
            self._open = partial(self._open, timing_cache=cache)
        self.seconds, self.max_drift = seconds, max_drift
        self.random = random.Random(seed)
        self._session = self._open(_sentinel())
        self._sentinel = self._session.timer(feeds(self._session.inputs))
        self._runs = max(1, round(SENTINEL_MS / warm_up(self._sentinel, WARM_UP_SECONDS)))
        # On a GPU one thread of the host keeps it busy.
        self._contention = Contention(1 if device != "cpu" else threads or usable_cores())
        # The moment of each, and milliseconds.
        self.readings: deque[tuple[float, float]] = deque()
        self._best, self._judged = 0.0, -math.inf
        self._quiet_readings: list[float] = []
        self._kept, self._lost = 0, 0.0
        settled = time.monotonic() + SETTLE_SECONDS
        while not self.readings or time.monotonic() < settled:
            self._look()

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        if self._kernels:
            self._kernels.cleanup()
        log.info(
            "%d turns of measurement were quiet; %.0f s went by in others", self._kept, self._lost
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What the runtime says a latency depends on."""
        return self._session.settings

    @property
    def level_ms(self) -> float:
        """What the sentinel takes in quiet turns: milliseconds of one multiple."""
        return float(np.median(self._quiet_readings or [ms for _, ms in self.readings]))

    def _read(self) -> float:
        return float(np.median(self._sentinel(self._runs)))

    def _look(self) -> float:
        now, reading = time.monotonic(), self._read()
        self.readings.append((now, reading))
        if now - self._judged > JUDGE_SECONDS:
            while now - self.readings[0][0] > MEMORY_SECONDS:
                self.readings.popleft()
            self._judged = now
            self._best = float(np.quantile([ms for _, ms in self.readings], BEST))
        return reading

    def _quiet(self, reading: float) -> bool:
        return reading <= self._best * (1 + self.max_drift)

    def _alone(self) -> bool:
        return self._contention.share() <= max(CONTENTION, self.max_drift)

    def compare(self, models: Sequence[bytes]) -> Array:
        """Time graphs in turns.

        Returns:
            [graphs, turns]: what each graph takes in every quiet turn, as a multiple of the
            sentinel's time in that turn.

        Raises:
            DisturbedError: too few turns were quiet.
        """
        sessions = [self._open(model) for model in models]
        try:
            timers = [session.timer(feeds(session.inputs)) for session in sessions]
            typical = [warm_up(timer, WARM_UP_SECONDS) for timer in timers]
            blocks = [max(1, round(BLOCK_MS / ms)) for ms in typical]
            longest = max(block * ms for block, ms in zip(blocks, typical, strict=True))
            return self._turns(timers, blocks, max(TURNS, round(self.seconds * 1000 / longest)))
        finally:
            for session in sessions:
                session.close()

    def _turns(self, timers: Sequence[Timer], blocks: Sequence[int], needed: int) -> Array:
        kept: list[list[float]] = []
        given_up = self._lost + PATIENCE_SECONDS
        before = self._look()
        while len(kept) < needed or not (len(kept) >= MOST_TURNS or _is_precise(kept)):
            if self._lost > given_up:
                raise DisturbedError
            begun = time.monotonic()
            turn = self._turn(timers, blocks) if self._quiet(before) else []
            after = self._look()
            if turn and self._quiet(after) and self._alone():
                self._quiet_readings += [before, after]
                kept.append([2 * ms / (before + after) for ms in turn])
            else:
                self._lost += time.monotonic() - begun
            before = after
        self._kept += len(kept)
        return np.array(kept).T

    def _turn(self, timers: Sequence[Timer], blocks: Sequence[int]) -> list[float]:
        turn = {
            i: float(np.median(timers[i](blocks[i])))
            for i in self.random.sample(range(len(timers)), len(timers))
        }
        return [turn[i] for i in range(len(timers))]

    def each(self, items: Sequence[T], measure: Callable[[T], R]) -> Iterator[tuple[T, R]]:
        """Apply ``measure`` to every item in random order; to those that are disturbed again later.

        Yields:
            Each item with its result, as soon as there is one.

        Raises:
            GateError: nothing could be measured any more, in spite of waiting.
        """
        queue = deque(self.random.sample(items, len(items)))
        failures = 0
        while queue:
            item = queue.popleft()
            try:
                result = measure(item)
            except DisturbedError:
                if failures == len(PAUSES):
                    raise GateError(self._complaint()) from None
                time.sleep(PAUSES[failures])
                failures += 1
                queue.append(item)
            else:
                failures = 0
                yield item, result

    def _complaint(self) -> str:
        quiet = sum(self._quiet(ms) for _, ms in self.readings) / len(self.readings)
        return (
            f"the machine is too busy to measure on: a fixed piece of network ran near its best "
            f"speed in {quiet:.0%} of the readings, and other programs took "
            f"{self._contention.share():.2f} of the cores that are measured on; close them and try "
            "again"
        )


def _is_precise(turns: Sequence[Sequence[float]]) -> bool:
    """Say whether the standard error of the median of what is measured is at most `PRECISE`.

    Of two graphs that is the difference: what disturbs both alike is not in it, and a small one
    needs more turns than either graph would.
    """
    times = np.array(turns)
    wanted = times[:, -1] - times[:, 0] if times.shape[1] == 2 else times
    low, median, high = np.percentile(wanted, [25, 50, 75], axis=0)
    # Of a normal distribution, sigma = IQR / 1.35 and the median's error 1.25 sigma / sqrt(n).
    return bool(np.all(1.25 / 1.35 * (high - low) / np.sqrt(len(turns)) <= PRECISE * median))


def _sentinel() -> bytes:
    """Make a piece of what networks consist of: it must feel what they feel, caches included."""
    builder = GraphBuilder()
    x = builder.input(48, (128, 128))
    for kind in ("conv1x1", "sep_conv_3x3", "conv1x1", "sep_conv_5x5"):
        x = builder.operation(kind, x)
    small = builder.project(builder.input(48, (64, 64)))
    return builder.model(builder.add(x, builder.upsample(small, (128, 128))))
