import time
from collections.abc import Iterator

import numpy as np
import pytest

from export.errors import GateError
from toolchain.profiling import stopwatch as module
from toolchain.profiling.graphs import GraphBuilder
from toolchain.profiling.stopwatch import DisturbedError, Stopwatch


def graph(kind: str = "conv1x1") -> bytes:
    builder = GraphBuilder()
    return builder.model(builder.operation(kind, builder.input(8, (8, 8))))


class Script(Stopwatch):
    """A stopwatch whose sentinel and other programs do what the test says."""

    def __init__(self, *readings: float, others: float = 0.0, **settings):
        self.script = iter([1.0])
        super().__init__(threads=1, seconds=0.001, **settings)
        self.script = iter(readings)
        self._contention.share = lambda: others

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
        turns = stopwatch.compare([graph(), graph("conv3x3")])
    assert len(turns) == 2
    assert module.TURNS <= len(turns[0]) <= module.MOST_TURNS
    assert (turns > 0).all()


def test_times_are_multiples_of_the_sentinel():
    with Script(*[1.2] * 100, max_drift=0.5) as stopwatch:
        turns = stopwatch._turns([lambda count: [6.0] * count], [1], 5)
        np.testing.assert_allclose(turns, [[5.0] * 5])
        assert stopwatch.level_ms == 1.2


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
    assert module._is_precise(list(zip(short, long, strict=True))) is precise


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
        assert stopwatch.level_ms == 2.0


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
            stopwatch.compare([graph()])
        with pytest.raises(GateError, match=f"too busy to measure on.*{words}"):
            list(stopwatch.each([graph()], lambda model: stopwatch.compare([model])))


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
