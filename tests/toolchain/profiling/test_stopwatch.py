from collections.abc import Iterator

import pytest

from export.errors import GateError
from toolchain.profiling import stopwatch as module
from toolchain.profiling.graphs import GraphBuilder
from toolchain.profiling.stopwatch import DisturbedError, Stopwatch


def graph(kind: str = "conv1x1") -> bytes:
    builder = GraphBuilder()
    return builder.model(builder.operation(kind, builder.input(8, (8, 8))))


class Script(Stopwatch):
    """A stopwatch whose sentinel reads what the test says."""

    def __init__(self, *readings: float, **settings):
        super().__init__(threads=1, seconds=0.001, **settings)
        self.script = iter(readings)
        self.readings = [1.0] * 20

    def _read(self) -> float:
        return next(self.script, 1.0) if hasattr(self, "script") else 1.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_MS", 0.5)
    monkeypatch.setattr(module, "WARM_UP_SECONDS", 0.01)
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))


def test_times_graphs_in_the_same_turns():
    with Script() as stopwatch:
        first, second = stopwatch.compare([graph(), graph("conv3x3")])
    assert len(first.ms) == len(second.ms) == module.TURNS
    assert all(ms > 0 for ms in first.ms + second.ms)


def test_turns_beside_a_slow_sentinel_do_not_count():
    with Script(1.0, 1.5, 1.0, 1.0, 1.2) as stopwatch:
        stopwatch.compare([graph()])
    # Two slow readings spoil two turns each.
    assert len(stopwatch.readings) - 20 == module.TURNS + 4


def test_gives_up_with_a_reason_when_the_machine_stays_busy():
    with Script(*[1.0, 2.0] * 500) as stopwatch:
        with pytest.raises(DisturbedError):
            stopwatch.compare([graph()])
        with pytest.raises(GateError, match=r"too busy to measure on.*readings"):
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
