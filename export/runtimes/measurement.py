"""Latency samples, and how to take them so that they mean something.

The protocol: warm up until the running median is still, then time every candidate in turns of
short blocks in random order, so that what disturbs the machine disturbs all of them alike.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export.kit.protocol import Timer, warm_up

__all__ = ["LatencySamples", "Ratio", "Timer", "measure", "ratio", "warm_up"]

BLOCK_MS = 100.0
SUMMARY = ("median", "p90", "p95", "p99", "iqr")
RESAMPLES = 2000


@dataclass(frozen=True)
class LatencySamples:
    """Milliseconds of single runs, in the order in which they were taken."""

    ms: tuple[float, ...]

    @classmethod
    def pool(cls, turns: "Iterable[LatencySamples]") -> "LatencySamples":
        """Join the samples of several turns."""
        return cls(tuple(ms for turn in turns for ms in turn.ms))

    def percentile(self, percent: float) -> float:
        """Return a percentile in milliseconds."""
        return float(np.percentile(self.ms, percent))

    @cached_property
    def median(self) -> float:
        """The median, in milliseconds."""
        return self.percentile(50)

    @cached_property
    def iqr(self) -> float:
        """The distance between the quartiles, in milliseconds."""
        return self.percentile(75) - self.percentile(25)

    @cached_property
    def p90(self) -> float:
        """The 90th percentile, in milliseconds."""
        return self.percentile(90)

    @cached_property
    def p95(self) -> float:
        """The 95th percentile, in milliseconds."""
        return self.percentile(95)

    @cached_property
    def p99(self) -> float:
        """The 99th percentile, in milliseconds."""
        return self.percentile(99)

    def summary(self) -> dict[str, float]:
        """Return ``median``, ``p90``, ``p95``, ``p99`` and ``iqr`` in milliseconds."""
        return {name: round(getattr(self, name), 4) for name in SUMMARY}


@dataclass(frozen=True)
class Ratio:
    """How long one thing takes as a multiple of another, with a 95 % interval."""

    median: float
    low: float
    high: float


def measure(
    timers: Sequence[Timer], *, seconds: float = 2.0, seed: int = 0
) -> list[list[LatencySamples]]:
    """Time several things in turns, after warming each up.

    Args:
        timers: what to time.
        seconds: to spend on each.
        seed: of the order within the turns.

    Returns:
        For each timer the samples of each turn; turn k of all of them is of the same moment.
    """
    order = random.Random(seed)
    typical = [warm_up(timer) for timer in timers]
    blocks = [max(1, round(BLOCK_MS / ms)) for ms in typical]
    taken: list[list[LatencySamples]] = [[] for _ in timers]
    for _ in range(max(1, round(seconds * 1000 / max(BLOCK_MS, *typical)))):
        for i in order.sample(range(len(timers)), len(timers)):
            # The first run of a block finds the caches full of another model.
            taken[i].append(LatencySamples(tuple(timers[i](blocks[i] + 1)[1:])))
    return taken


def ratio(times: Sequence[float], first: Sequence[float], seed: int = 0) -> Ratio:
    """Compare two things that were timed in turns: the median of the ratios within each turn.

    A slow moment falls on both halves of a turn and leaves their ratio alone. The interval is
    that of the percentile bootstrap of the median over the turns (95 %; Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993, chapter 13); of fewer than about ten turns it is
    hardly more than their range.

    Args:
        times: one time a turn.
        first: what it is compared with, in the same turns.
        seed: of the resampling.
    """
    ratios = np.asarray(times) / np.asarray(first)
    draws = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[draws], axis=1), (2.5, 97.5))
    return Ratio(float(np.median(ratios)), float(low), float(high))
