import pytest

from toolchain.search.early_stop import FEWEST, LAST, RunningRecord


def record(*scores):
    result = RunningRecord()
    for score in scores:
        result.add(score)
    return result


def test_nobody_is_stopped_before_enough_is_known():
    assert record(*range(FEWEST - 1)).threshold is None


def test_the_worst_third_is_stopped():
    assert record(*range(10)).threshold == pytest.approx(3)
    assert record(*reversed(range(10))).threshold == pytest.approx(3)


def test_old_scores_are_forgotten():
    assert record(*[0.1] * LAST, *[0.5] * LAST).threshold == 0.5
