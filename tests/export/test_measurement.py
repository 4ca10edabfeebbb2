from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from export.measurement import LatencySamples, Timer, measure, warm_up


def test_percentiles() -> None:
    samples = LatencySamples(tuple(float(i) for i in range(101)))
    assert samples.summary() == {"median": 50, "p90": 90, "p95": 95, "p99": 99, "iqr": 50}


def test_samples_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        LatencySamples((1.0,)).ms = ()  # type: ignore[misc]


def falling(first: float, rest: float, slow: int) -> tuple[Timer, list[int]]:
    """Make a timer whose first ``slow`` runs take longer, and the record of its calls."""
    calls: list[int] = []

    def timer(count: int) -> list[float]:
        done = sum(calls)
        calls.append(count)
        return [first if done + i < slow else rest for i in range(count)]

    return timer, calls


def test_warm_up_ends_when_the_median_is_still() -> None:
    timer, calls = falling(50, 10, 3)
    assert warm_up(timer) == 10
    assert 6 < sum(calls) < 50


def test_warm_up_gives_up_after_its_time() -> None:
    ms = iter(range(1, 100_000))
    assert warm_up(lambda count: [float(next(ms)) for _ in range(count)], seconds=1) > 10


def constant(ms: float, log: list[float]) -> Callable[[int], list[float]]:
    def timer(count: int) -> list[float]:
        log.append(ms)
        return [ms * 3] + [ms] * (count - 1)

    return timer


def test_measure_takes_turns_and_drops_first_runs() -> None:
    log: list[float] = []
    samples = measure([constant(1, log), constant(4, log)], seconds=1)
    assert [s.median for s in samples] == [1, 4]
    assert [set(s.ms) for s in samples] == [{1}, {4}]
    assert [round(sum(s.ms)) for s in samples] == [1000, 1000]
    turns = [tuple(log[-20:][i : i + 2]) for i in range(0, 20, 2)]
    assert set(turns) == {(1, 4), (4, 1)}


def test_measure_takes_at_least_one_run_of_slow_models() -> None:
    assert measure([constant(9000, [])], seconds=0.1)[0].ms == (9000,)
