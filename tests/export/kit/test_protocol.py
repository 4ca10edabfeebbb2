import time
from collections.abc import Iterator

import numpy as np
import pytest

from export.kit import protocol as module
from export.kit.protocol import BusyError, DisturbedError, Opened, Protocol


class Script(Protocol):
    """Its sentinel and other programs do what the test says; graphs are their milliseconds."""

    def __init__(self, *readings: float, others: float = 0.0, **settings):
        self.script = iter([1.0])
        self.closed: list[float] = []
        self.said: list[str] = []
        super().__init__(
            self._opened, 1.0, threads=1, seconds=0.001, say=self.said.append, **settings
        )
        self.script = iter(readings)
        self._contention.share = lambda: others

    def _opened(self, ms: float) -> Opened:
        return Opened(lambda count: [ms] * count, lambda: self.closed.append(ms))

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> float:
        return next(self.script, 1.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_MS", 0.5)
    monkeypatch.setattr(module, "WARM_UP_SECONDS", 0.01)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(module, "PRECISE", 1.0)


def test_times_graphs_in_the_same_turns():
    with Script() as stopwatch:
        turns = stopwatch.compare([2.0, 3.0])
    assert module.TURNS <= turns.shape[1] <= module.MOST_TURNS
    np.testing.assert_allclose(turns, np.array([[2.0], [3.0]]) * np.ones_like(turns))
    assert stopwatch.closed == [2.0, 3.0, 1.0]


def test_graphs_are_closed_whatever_happens():
    with Script(*[2.0] * 1_000_000) as stopwatch:
        stopwatch._best = 1.0
        with pytest.raises(ZeroDivisionError):
            stopwatch.compare([5.0, 0.0])
    assert stopwatch.closed == [5.0, 0.0, 1.0]


def test_times_are_multiples_of_the_sentinel():
    with Script(*[1.2] * 100, max_drift=0.5) as stopwatch:
        turns = stopwatch._turns([lambda count: [6.0] * count], [1], 5)
        np.testing.assert_allclose(turns, [[5.0] * 5])
        assert stopwatch.sentinel_ms == 1.2


def test_what_varies_takes_more_turns(monkeypatch):
    monkeypatch.setattr(module, "PRECISE", 0.01)
    times = iter([1.0, 2.0] * 100)
    with Script() as stopwatch:
        still = stopwatch._turns([lambda count: [1.0] * count], [1], 7)
        varied = stopwatch._turns([lambda _: [next(times)]], [1], 7)
    assert still.shape == (1, 7)
    assert varied.shape == (1, module.MOST_TURNS)


@pytest.mark.parametrize(
    ("short", "long", "precise"),
    [
        # Whatever disturbs both graphs of a turn alike is not in their difference.
        ([10, 14, 11, 13, 12, 10, 14], [12, 16, 13, 15, 14, 12, 16], True),
        # Both still within a hundredth, and the difference is anything.
        ([10, 10.1, 10, 10.1, 10, 10.1, 10], [10.2, 10.1, 10.2, 10.1, 10.2, 10.1, 10.2], False),
    ],
)
def test_precision_is_judged_on_the_difference(monkeypatch, short, long, precise):
    monkeypatch.setattr(module, "PRECISE", 0.02)
    assert module.is_precise(list(zip(short, long, strict=True))) is precise


def test_graphs_run_only_beside_a_quick_sentinel():
    runs = []
    # Waits for the fourth reading; the turn that the fifth ends does not count, nor begins another.
    with Script(1.3, 1.2, 1.2, 1.0, 1.2, 1.2) as stopwatch:
        turns = stopwatch._turns([lambda count: runs.append(count) or [1.0]], [1], 5)
    assert turns.shape == (1, 5)
    assert len(runs) == 6


def test_patience_is_for_disturbances_not_for_slow_devices(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)

    def slow(count: int) -> list[float]:
        time.sleep(0.02)
        return [20.0]

    with Script() as stopwatch:
        assert stopwatch._turns([slow], [1], 5).shape == (1, 5)


def test_the_best_is_of_the_last_minutes(monkeypatch):
    monkeypatch.setattr(module, "JUDGE_SECONDS", 0.0)
    monkeypatch.setattr(module, "MEMORY_SECONDS", 0.02)
    with Script(*[2.0] * 1_000_000) as stopwatch:
        # Slower for good: a level, once the quick readings are forgotten.
        assert stopwatch._turns([lambda count: [1.0] * count], [1], 5).shape == (1, 5)
        assert stopwatch.sentinel_ms == 2.0


@pytest.mark.parametrize(
    ("readings", "others", "words"),
    [
        ([1.0, 2.0] * 1_000_000, 0.0, "near its best speed in 5"),
        ([], 0.8, r"other programs took 0\.80 of the cores"),
    ],
)
def test_gives_up_with_a_reason_when_the_machine_stays_busy(readings, others, words):
    with Script(*readings, others=others) as stopwatch:
        with pytest.raises(DisturbedError):
            stopwatch.compare([1.0])
        with pytest.raises(BusyError, match=f"too busy to measure on.*{words}"):
            list(stopwatch.each([1.0], lambda graph: stopwatch.compare([graph])))


def test_what_was_disturbed_is_measured_later():
    failures = {"b": 2}
    seen: list[str] = []

    def measure(item: str) -> str:
        seen.append(item)
        if failures.get(item, 0):
            failures[item] -= 1
            raise DisturbedError
        return item.upper()

    with Script() as stopwatch:
        results: Iterator[tuple[str, str]] = stopwatch.each(["a", "b", "c"], measure)
        assert dict(results) == {"a": "A", "b": "B", "c": "C"}
    assert seen.count("b") == 3
    assert seen[-1] == "b"


@pytest.mark.parametrize(
    ("readings", "others", "words"),
    [
        ([], 0.33, "other programs take 0.33 of the cores that are measured on"),
        ([1.0, 1.5] * 1_000_000, 0.0, "takes 1.50 times as long as at its best"),
    ],
)
def test_waiting_is_said_with_who_disturbs(monkeypatch, readings, others, words):
    monkeypatch.setattr(module, "SAY_SECONDS", 0.02)
    with Script(*readings, others=others) as stopwatch, pytest.raises(DisturbedError):
        stopwatch.compare([1.0])
    assert 1 < len(stopwatch.said) < 10
    assert stopwatch.said[0].startswith("waiting for a quiet moment since 0 s: ")
    assert any(words in line for line in stopwatch.said)


@pytest.mark.parametrize(
    ("quiet", "others", "calm"), [(0.9, 0.0, True), (0.9, 0.4, False), (0.2, 0.0, False)]
)
def test_whether_a_measurement_would_find_quiet_moments(quiet, others, calm):
    with Script(others=others) as stopwatch:
        stopwatch.readings.clear()
        stopwatch.readings.extend((0.0, 1.0 if n < 100 * quiet else 2.0) for n in range(100))
        assert stopwatch.quiet_share == quiet
        assert stopwatch.contention == others
        assert stopwatch.is_calm is calm
