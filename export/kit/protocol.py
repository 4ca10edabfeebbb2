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

from __future__ import annotations

import math
import random
import time
from collections import deque
from typing import Any, Callable, Iterator, NamedTuple, Sequence, Tuple, TypeVar

import numpy as np

from export.kit.contention import Contention
from export.kit.journal import Measurements

T = TypeVar("T")
R = TypeVar("R")
# Takes a number of runs, returns the milliseconds of each.
Timer = Callable[[int], Sequence[float]]
# What was compared, by key.
Compared = Iterator[Tuple[str, np.ndarray]]

STILL = 0.01
LEAST = 6
WARMING_BLOCK_MS = 100.0
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
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
# The best is a low quantile of the last readings: a median would follow a machine that is busy for
# most of the time, the minimum a single lucky reading. Clocks fall when a processor gets warm, and
# shared machines have slow hours: older readings do not count.
BEST = 0.005
MEMORY_SECONDS = 90.0
JUDGE_SECONDS = 0.5
# How much of a core other programs may take, whatever the sentinel says: it does not notice those
# that were there from the beginning.
CONTENTION = 0.3
# Share of quiet moments with which a measurement comes to an end.
LEAST_QUIET = 0.3
# Between two lines on what is waited for.
SAY_SECONDS = 5.0


class DisturbedError(Exception):
    """Too few turns of a comparison were quiet."""


class BusyError(Exception):
    """Nothing could be measured any more, in spite of waiting."""


class Opened(NamedTuple):
    """A graph that is ready to run: its timer, and what frees it."""

    timer: Timer
    close: Callable[[], None]


def timed(run: Callable[[], object], count: int) -> list[float]:
    """Run so often and return the milliseconds of each."""
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def warm_up(timer: Timer, seconds: float = 5.0) -> float:
    """Run until the running median moves by less than 1 %, or for ``seconds``.

    The number of runs is doubled between two looks at the median.

    Returns:
        The last median, in milliseconds.
    """
    samples = list(timer(2))[1:]
    while True:
        before = float(np.median(samples))
        samples += timer(max(1, min(len(samples), int(WARMING_BLOCK_MS / before))))
        median = float(np.median(samples))
        still = len(samples) >= LEAST and abs(median - before) < STILL * median
        if still or sum(samples) > seconds * 1000:
            return median


class Protocol:
    """Times graphs in turns beside a sentinel.

    Args:
        open_graph: opens a graph, whatever names or holds it.
        sentinel: such a graph, of the kinds of work that the others have.
        threads: cores that a graph keeps busy.
        seconds: time spent in each graph, at least.
        max_drift: by how much the sentinel may exceed its best, as a fraction; as much of a core,
            but at least `CONTENTION`, may other programs take.
        seed: of all random orders.
        say: is told in a line what is waited for.

    Attributes:
        sentinel_ms: what the sentinel took in the turns of the last comparison: milliseconds of
            one multiple.
        kept: turns that were quiet.
        lost: seconds that went by in others.
    """

    def __init__(
        self,
        open_graph: Callable[[Any], Opened],
        sentinel: Any,
        threads: int,
        seconds: float = 0.1,
        max_drift: float = 0.1,
        seed: int = 0,
        say: Callable[[str], None] = lambda line: None,
    ):
        self._open = open_graph
        self.seconds, self.max_drift, self._say = seconds, max_drift, say
        self.random = random.Random(seed)
        self._sentinel = open_graph(sentinel)
        self._runs = max(1, round(SENTINEL_MS / warm_up(self._sentinel.timer, WARM_UP_SECONDS)))
        self._contention = Contention(threads)
        # The moment of each, and milliseconds.
        self.readings: deque[tuple[float, float]] = deque()
        self._best, self._judged = 0.0, -math.inf
        self.sentinel_ms = math.nan
        self.kept, self.lost = 0, 0.0
        self._waiting = self._said = time.monotonic()
        settled = time.monotonic() + SETTLE_SECONDS
        while not self.readings or time.monotonic() < settled:
            self._look()

    def close(self) -> None:
        """Free the sentinel."""
        self._sentinel.close()

    @property
    def quiet_share(self) -> float:
        """Share of the readings in which the sentinel ran near its best, 0 to 1."""
        return sum(self._quiet(ms) for _, ms in self.readings) / len(self.readings)

    @property
    def contention(self) -> float:
        """How many cores' worth other programs take just now."""
        return self._contention.share()

    @property
    def is_calm(self) -> bool:
        """Whether a measurement would find quiet moments now."""
        return self._alone() and self.quiet_share >= LEAST_QUIET

    def _read(self) -> float:
        return float(np.median(self._sentinel.timer(self._runs)))

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

    def compare(self, graphs: Sequence[Any]) -> np.ndarray:
        """Time graphs in turns.

        Returns:
            [graphs, turns]: what each graph takes in every quiet turn, as a multiple of the
            sentinel's time in that turn.

        Raises:
            DisturbedError: too few turns were quiet.
        """
        opened: list[Opened] = []
        try:
            opened += (self._open(graph) for graph in graphs)
            timers = [graph.timer for graph in opened]
            typical = [warm_up(timer, WARM_UP_SECONDS) for timer in timers]
            blocks = [max(1, round(BLOCK_MS / ms)) for ms in typical]
            longest = max(block * ms for block, ms in zip(blocks, typical))
            return self._turns(timers, blocks, max(TURNS, round(self.seconds * 1000 / longest)))
        finally:
            for graph in opened:
                graph.close()

    def _turns(self, timers: Sequence[Timer], blocks: Sequence[int], needed: int) -> np.ndarray:
        kept: list[list[float]] = []
        readings: list[float] = []
        given_up = self.lost + PATIENCE_SECONDS
        before = self._look()
        while len(kept) < needed or not (len(kept) >= MOST_TURNS or is_precise(kept)):
            if self.lost > given_up:
                raise DisturbedError
            begun = time.monotonic()
            turn = self._turn(timers, blocks) if self._quiet(before) else []
            after = self._look()
            if turn and self._quiet(after) and self._alone():
                readings += [before, after]
                kept.append([2 * ms / (before + after) for ms in turn])
                self._waiting = time.monotonic()
            else:
                self.lost += time.monotonic() - begun
                self._say_what_is_waited_for()
            before = after
        self.kept += len(kept)
        self.sentinel_ms = float(np.median(readings))
        return np.array(kept).T

    def _turn(self, timers: Sequence[Timer], blocks: Sequence[int]) -> list[float]:
        turn = {
            i: float(np.median(timers[i](blocks[i])))
            for i in self.random.sample(range(len(timers)), len(timers))
        }
        return [turn[i] for i in range(len(timers))]

    def _say_what_is_waited_for(self) -> None:
        now = time.monotonic()
        if now - max(self._waiting, self._said) >= SAY_SECONDS:
            self._said = now
            self._say(
                f"waiting for a quiet moment since {now - self._waiting:.0f} s: "
                f"{self._disturbance()}"
            )

    def _disturbance(self) -> str:
        share = self._contention.share()
        if share > max(CONTENTION, self.max_drift):
            return f"other programs take {share:.2f} of the cores that are measured on"
        slow = self.readings[-1][1] / self._best
        return f"a fixed piece of network takes {slow:.2f} times as long as at its best"

    def compare_all(
        self,
        keys: Sequence[str],
        graphs: Callable[[str], Sequence[Any]],
        found: Measurements,
        watch: Callable[[Compared, int, bool], Compared],
    ) -> None:
        """Compare what has not been compared yet; then what was at another speed once more.

        Args:
            keys: of the comparisons.
            graphs: returns those of a comparison.
            found: knows what has been compared, and is told of the rest.
            watch: passes comparisons on as they are made, and says how far they are. Is given how
                many there will be, and whether they are made once more.

        Raises:
            BusyError: nothing could be measured any more, in spite of waiting.
        """

        def go_through(left: Sequence[str], again: bool) -> None:
            compared = self.each(left, lambda key: self.compare(graphs(key)))
            for key, turns in watch(compared, len(left), again):
                found.add(key, turns, self.sentinel_ms)

        go_through([key for key in keys if key not in found.measured], False)
        # An interrupted measurement may have been of more than this one.
        others = set(found.at_other_speeds(self.max_drift))
        go_through([key for key in keys if key in others], True)

    def each(self, items: Sequence[T], measure: Callable[[T], R]) -> Iterator[tuple[T, R]]:
        """Apply ``measure`` to every item in random order; to those that are disturbed again later.

        Yields:
            Each item with its result, as soon as there is one.

        Raises:
            BusyError: nothing could be measured any more, in spite of waiting.
        """
        queue = deque(self.random.sample(items, len(items)))
        failures = 0
        while queue:
            item = queue.popleft()
            try:
                result = measure(item)
            except DisturbedError:
                if failures == len(PAUSES):
                    raise BusyError(self._complaint()) from None
                time.sleep(PAUSES[failures])
                failures += 1
                queue.append(item)
            else:
                failures = 0
                yield item, result

    def _complaint(self) -> str:
        return (
            f"the machine is too busy to measure on: a fixed piece of network ran near its best "
            f"speed in {self.quiet_share:.0%} of the readings, and other programs took "
            f"{self._contention.share():.2f} of the cores that are measured on; close them and try "
            "again"
        )


def is_precise(turns: Sequence[Sequence[float]]) -> bool:
    """Say whether the standard error of the median of what is measured is at most `PRECISE`.

    Of two graphs that is the difference: what disturbs both alike is not in it, and a small one
    needs more turns than either graph would.
    """
    times = np.array(turns)
    wanted = times[:, -1] - times[:, 0] if times.shape[1] == 2 else times
    low, median, high = np.percentile(wanted, [25, 50, 75], axis=0)
    # Of a normal distribution, sigma = IQR / 1.35 and the median's error 1.25 sigma / sqrt(n).
    return bool(np.all(1.25 / 1.35 * (high - low) / np.sqrt(len(turns)) <= PRECISE * median))
