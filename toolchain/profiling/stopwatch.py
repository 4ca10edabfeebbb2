"""Timing many graphs on one device, with an eye on what else the machine does.

One turn times each graph of a comparison for a short block, in random order, with the sentinel (a
fixed convolution) before and after. A turn counts only if both readings of the sentinel are near
its level of the whole session: what was measured an hour ago and what is measured now were then
measured on the same machine. A comparison that gets too few such turns is put off and tried again
later; when several in a row fail, the machine is too busy and the error says so.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from export.errors import GateError
from export.measurement import LatencySamples, Timer, warm_up
from export.runtimes import Session, open_session
from toolchain.profiling.face import feeds
from toolchain.profiling.graphs import GraphBuilder

T = TypeVar("T")
R = TypeVar("R")
BLOCK_MS = 10.0
TURNS = 7
SENTINEL_RUNS = 5
RECENT = 1000
WARM_UP_SECONDS = 0.3
# Seconds to wait after the first, second, ... of several disturbed comparisons in a row.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)


class DisturbedError(Exception):
    """Too few turns of a comparison were quiet."""


class Stopwatch:
    """Opens and times graphs on one device; a context manager.

    Args:
        runtime: name of the runtime.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: threads of one operator on the CPU.
        seconds: time spent in each graph, at least.
        max_drift: by how much the sentinel may exceed its level, as a fraction.
        attempts: turns that are taken at most, as a multiple of those that are needed.
        seed: of all random orders.
    """

    def __init__(
        self,
        runtime: str = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        seconds: float = 0.15,
        max_drift: float = 0.05,
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
        warm_up(self._sentinel, WARM_UP_SECONDS)
        self.readings = [self._read() for _ in range(20)]

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @property
    def settings(self) -> dict[str, Any]:
        """What the runtime says a latency depends on."""
        return self._session.settings

    @property
    def limit_ms(self) -> float:
        """The highest reading of the sentinel at which a turn still counts."""
        # Its level is a low quantile: the median would follow a machine that is busy throughout,
        # the minimum a single lucky reading.
        return float(np.quantile(self.readings[-RECENT:], 0.05)) * (1 + self.max_drift)

    def _read(self) -> float:
        return float(np.median(self._sentinel(SENTINEL_RUNS)))

    def compare(self, models: Sequence[bytes]) -> list[LatencySamples]:
        """Time graphs in turns.

        Returns:
            For each graph its median in every quiet turn; sample i of all of them is of one turn.

        Raises:
            DisturbedError: too few turns were quiet.
        """
        sessions = [self._open(model) for model in models]
        try:
            timers = [partial(session.time, feeds(session.inputs)) for session in sessions]
            typical = [warm_up(timer, WARM_UP_SECONDS) for timer in timers]
            blocks = [max(1, round(BLOCK_MS / ms)) for ms in typical]
            longest = max(block * ms for block, ms in zip(blocks, typical, strict=True))
            needed = max(TURNS, round(self.seconds * 1000 / longest))
            return self._turns(timers, blocks, needed)
        finally:
            for session in sessions:
                session.close()

    def _turns(
        self, timers: Sequence[Timer], blocks: Sequence[int], needed: int
    ) -> list[LatencySamples]:
        kept: list[list[float]] = [[] for _ in timers]
        before = self._read()
        for _ in range(self.attempts * needed):
            turn = {
                i: float(np.median(timers[i](blocks[i])))
                for i in self.random.sample(range(len(timers)), len(timers))
            }
            after = self._read()
            self.readings.append(after)
            if max(before, after) <= self.limit_ms:
                for i, ms in turn.items():
                    kept[i].append(ms)
                if len(kept[0]) == needed:
                    return [LatencySamples(tuple(ms)) for ms in kept]
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
        quiet = float(np.mean(np.array(self.readings[-RECENT:]) <= self.limit_ms))
        return (
            f"the machine is too busy to measure on: a fixed convolution ran at its usual speed in "
            f"only {quiet:.0%} of the readings; close other programs and try again"
        )


def _sentinel() -> bytes:
    builder = GraphBuilder()
    x = builder.input(48, (32, 32))
    return builder.model(builder.operation("conv3x3", builder.operation("conv3x3", x)))
