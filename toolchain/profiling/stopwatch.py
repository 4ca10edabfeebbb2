"""Timing many graphs on one device, with an eye on what else the machine does.

One turn times each graph of a comparison for a short block, in random order, with the sentinel (a
fixed piece of network) before and after. A time is kept as a multiple of the sentinel's in the same
turn: what slows the whole machine for a while, other clocks or a neighbour on a shared one, slows
both and leaves the multiple alone. A turn counts only if the sentinel was near its level of the
whole session, and if other programs left the cores alone that are measured on. A comparison that
gets too few such turns is put off and tried again later; when several in a row fail, the machine is
too busy and the error says so.
"""

import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from export.errors import GateError
from export.measurement import Timer, warm_up
from export.runtimes import Session, open_session
from toolchain.profiling.contention import Contention
from toolchain.profiling.face import feeds
from toolchain.profiling.graphs import Array, GraphBuilder

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
BLOCK_MS = 10.0
SENTINEL_MS = 8.0
TURNS = 5
MOST_TURNS = 10
PRECISE = 0.02
WARM_UP_SECONDS = 0.1
# Seconds to wait after the first, second, ... of several disturbed comparisons in a row.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
# Its level is a low quantile: the median would follow a machine that is busy for most of the time,
# the minimum a single lucky reading.
LEVEL = 0.1
# Readings that the level is taken from to judge a turn. Clocks fall when a processor gets warm, and
# shared machines have slow hours: that is another level, not a disturbance.
RECENT = 100


class DisturbedError(Exception):
    """Too few turns of a comparison were quiet."""


class Stopwatch:
    """Opens and times graphs on one device; a context manager.

    Args:
        runtime: name of the runtime.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: threads of one operator on the CPU.
        seconds: time spent in each graph, at least.
        max_drift: by how much the sentinel may exceed its level, as a fraction, and how much of a
            core that is measured on other programs may take.
        attempts: turns that are taken at most, as a multiple of those that are needed.
        seed: of all random orders.
    """

    def __init__(
        self,
        runtime: str = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        seconds: float = 0.15,
        max_drift: float = 0.3,
        attempts: int = 4,
        seed: int = 0,
    ):
        self._open: Callable[[bytes], Session] = partial(
            open_session, runtime=runtime, device=device, threads=threads
        )
        self.seconds, self.max_drift, self.attempts = seconds, max_drift, attempts
        self.random = random.Random(seed)
        self._session = self._open(_sentinel())
        self._sentinel: Timer = partial(self._session.time, feeds(self._session.inputs))
        self._runs = max(1, round(SENTINEL_MS / warm_up(self._sentinel, WARM_UP_SECONDS)))
        self.readings = [self._read() for _ in range(20)]
        self._taken = self._kept = 0
        # On a GPU one thread of the host keeps it busy.
        self._contention = Contention(1 if device != "cpu" else threads or os.cpu_count() or 1)

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        log.info("%d of %d turns of measurement were quiet", self._kept, self._taken)

    @property
    def settings(self) -> dict[str, Any]:
        """What the runtime says a latency depends on."""
        return self._session.settings

    @property
    def level_ms(self) -> float:
        """What the sentinel takes when the machine is quiet: milliseconds of one multiple."""
        return float(np.quantile(self.readings, LEVEL))

    def _read(self) -> float:
        return float(np.median(self._sentinel(self._runs)))

    def _quiet(self, *readings: float) -> bool:
        level = float(np.quantile(self.readings[-RECENT:], LEVEL))
        return max(readings) <= level * (1 + self.max_drift)

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
            timers = [partial(session.time, feeds(session.inputs)) for session in sessions]
            typical = [warm_up(timer, WARM_UP_SECONDS) for timer in timers]
            blocks = [max(1, round(BLOCK_MS / ms)) for ms in typical]
            longest = max(block * ms for block, ms in zip(blocks, typical, strict=True))
            return self._turns(timers, blocks, max(TURNS, round(self.seconds * 1000 / longest)))
        finally:
            for session in sessions:
                session.close()

    def _turns(self, timers: Sequence[Timer], blocks: Sequence[int], needed: int) -> Array:
        kept: list[list[float]] = []
        before = self._read()
        for _ in range(self.attempts * max(needed, MOST_TURNS)):
            turn = {
                i: float(np.median(timers[i](blocks[i])))
                for i in self.random.sample(range(len(timers)), len(timers))
            }
            after = self._read()
            self.readings.append(after)
            self._taken += 1
            if self._quiet(before, after) and self._contention.share() <= self.max_drift:
                self._kept += 1
                kept.append([2 * turn[i] / (before + after) for i in range(len(timers))])
                if len(kept) >= needed and (len(kept) >= MOST_TURNS or _is_precise(kept)):
                    return np.array(kept).T
            before = after
        raise DisturbedError

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
        recent = self.readings[-RECENT:]
        quiet = sum(self._quiet(reading) for reading in recent) / len(recent)
        return (
            f"the machine is too busy to measure on: a fixed piece of network ran near its usual "
            f"speed in {quiet:.0%} of the readings, and other programs took "
            f"{self._contention.share():.2f} of the cores that are measured on; close them and try "
            "again"
        )


def _is_precise(turns: Sequence[Sequence[float]]) -> bool:
    """Say whether the standard error of every median is at most `PRECISE`."""
    low, median, high = np.percentile(turns, [25, 50, 75], axis=0)
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
