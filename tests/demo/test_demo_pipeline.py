"""Stages that run beside each other; a fake stage sleeps as long as a true one would work."""

import threading
import time

import pytest

from demo.meter import KEPT, Meter
from demo.overlapped import Overlapped


def numbers(count, seconds=0.0):
    for number in range(count):
        time.sleep(seconds)
        yield number


def working(items, seconds):
    for item in items:
        time.sleep(seconds)
        yield item


def test_stages_overlap():
    """Three stages of 20 ms for 20 frames: 1.2 s one after another, 0.44 s beside each other."""
    started = time.perf_counter()
    with Overlapped(numbers(20, 0.02), "first") as first:
        second = Overlapped(working(first, 0.02), "second", upstream=first)
        with second:
            result = list(working(second, 0.02))
    assert result == list(range(20))
    assert time.perf_counter() - started < 0.8


def test_nothing_queues_up():
    begun = []

    def noted():
        for number in range(10):
            begun.append(number)
            yield number

    with Overlapped(noted(), "noted") as stage:
        for number in stage:
            time.sleep(0.01)
            assert len(begun) <= number + 2


def test_the_newest_is_given_and_the_others_counted():
    with Overlapped(numbers(50, 0.004), "camera", newest=True) as stage:
        seen = list(working(stage, 0.03))
    assert seen == sorted(seen)
    assert seen[-1] == 49
    assert stage.dropped == 50 - len(seen) > 20


def test_errors_come_in_their_place():
    def broken():
        yield 1
        raise OSError("unplugged")

    seen = []
    with Overlapped(broken(), "broken") as stage, pytest.raises(OSError, match="unplugged"):
        seen += stage
    assert seen == [1]
    with Overlapped(broken(), "broken") as stage:
        assert next(iter(stage)) == 1


def test_nothing_for_a_while_is_said():
    with Overlapped(numbers(2, 0.1), "slow") as stage:
        given = list(stage.or_nothing(0.02))
    assert [item for item in given if item is not None] == [0, 1]
    assert given.count(None) >= 4


def test_the_generator_is_closed_in_its_thread():
    closed = []

    def held():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    with Overlapped(held(), "held") as stage:
        next(iter(stage))
    assert closed == ["held"]


def test_leaving_does_not_wait_for_a_device_that_stalls(monkeypatch):
    monkeypatch.setattr("demo.overlapped.STUCK", 0.05)
    started = time.perf_counter()
    with Overlapped(numbers(2, 5), "stalled") as first:
        second = Overlapped(working(first, 0), "second", upstream=first)
        with second:
            pass
    assert time.perf_counter() - started < 1


def test_the_rate_is_the_current_one():
    meter = Meter()
    for _ in range(3):
        meter.count()
        time.sleep(0.4)
    for _ in range(12):
        meter.count()
        time.sleep(0.1)
    assert 7 < meter.rate < 10.5
    assert meter.frames == 15


def test_lines_that_are_shown():
    meter = Meter()
    with meter.measure("inference"):
        time.sleep(0.01)
    meter.dropped = 3
    rate, inference, dropped = meter.lines()
    assert (rate, dropped) == ("0 fps", "3 dropped")
    assert float(inference.removeprefix("inference ").removesuffix(" ms")) >= 10


def test_times_do_not_pile_up():
    meter = Meter()
    for _ in range(3 * KEPT):
        with meter.measure("draw"):
            pass
        meter.count()
    assert len(meter.milliseconds["draw"]) == KEPT
    assert meter.medians()["capture"] is None
    assert list(meter.medians()) == [
        "capture", "preprocess", "inference", "postprocess", "draw", "write",
    ]  # fmt: skip
