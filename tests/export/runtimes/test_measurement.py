from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from export.runtimes.measurement import LatencySamples, Timer, measure, ratio, warm_up


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
    taken = measure([constant(1, log), constant(4, log)], seconds=1)
    assert [len(turns) for turns in taken] == [10, 10]
    samples = [LatencySamples.pool(turns) for turns in taken]
    assert [s.median for s in samples] == [1, 4]
    assert [set(s.ms) for s in samples] == [{1}, {4}]
    assert [round(sum(s.ms)) for s in samples] == [1000, 1000]
    turns = [tuple(log[-20:][i : i + 2]) for i in range(0, 20, 2)]
    assert set(turns) == {(1, 4), (4, 1)}


def test_measure_takes_at_least_one_run_of_slow_models() -> None:
    assert measure([constant(9000, [])], seconds=0.1)[0][0].ms == (9000,)


def test_ratio_does_not_see_what_slows_both() -> None:
    first = [10.0, 30.0, 11.0, 90.0, 10.0]
    found = ratio([2 * ms for ms in first], first)
    assert (found.median, found.low, found.high) == (2, 2, 2)


def test_ratio_is_that_of_the_turns_not_of_the_medians() -> None:
    assert ratio([1.0, 40.0, 9.0], [1.0, 10.0, 3.0]).median == 3  # the medians' is 9 / 3 too
    assert ratio([1.0, 40.0, 5.0], [1.0, 8.0, 10.0]).median == 1  # the medians' is 5 / 8


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held, widths = 0, []
    for seed in range(200):
        first = generator.lognormal(0, 0.5, 25)
        noisy = first * generator.lognormal(np.log(1.5), 0.1, 25)
        found = ratio(noisy, first, seed)
        assert found.low <= found.median <= found.high
        held += found.low <= 1.5 <= found.high
        widths.append(found.high - found.low)
    assert 0.88 < held / 200 < 0.99
    assert 0 < np.mean(widths) < 0.3


def test_interval_is_the_same_every_time() -> None:
    times, first = [1.0, 2.0, 3.0, 4.0], [1.0, 1.5, 4.0, 2.0]
    assert ratio(times, first) == ratio(times, first)
