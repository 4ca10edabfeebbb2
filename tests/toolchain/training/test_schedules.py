import pytest

from toolchain.training.schedules import cosine_with_warm_up


def test_the_rate_rises_then_falls_to_nothing():
    factors = [cosine_with_warm_up(step, 100, 10) for step in range(101)]
    assert factors[:11] == sorted(factors[:11])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)


def test_without_warm_up_it_starts_at_the_top():
    assert cosine_with_warm_up(0, 1, 0) == 1
