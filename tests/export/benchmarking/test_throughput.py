import threading
import time
from typing import Any

import pytest

from export.benchmarking.throughput import Streams, measure_throughput
from export.system.errors import DataError


class Sleeper:
    """A session whose frames take 20 ms, whatever else runs."""

    opened: list["Sleeper"]

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = False

    def run(self, feeds: Any) -> dict[str, Any]:
        assert threading.get_ident() == self.thread, "run by a thread that did not open it"
        time.sleep(0.02)
        return {}

    def close(self) -> None:
        self.closed = True


def test_each_stream_has_a_thread_and_their_rates_add_up() -> None:
    sessions: list[Sleeper] = []

    def open_one() -> Any:
        sessions.append(Sleeper())
        return sessions[-1]

    with Streams(open_one, {}, 4) as streams:
        turn = streams.turn(0.3)
        assert len({session.thread for session in sessions}) == 4
    assert all(session.closed for session in sessions)
    assert 100 < turn.fps <= 200  # 4 frames in 20 ms or, on a busy machine, somewhat more
    assert 20 <= turn.samples.median < 40


def test_every_stream_gives_a_sample_even_when_a_frame_is_longer_than_the_turn() -> None:
    with Streams(Sleeper, {}, 3) as streams:  # type: ignore[arg-type]
        assert len(streams.turn(0.001).samples.ms) == 3
        assert streams.frames(0.001) == 6


def test_models_take_turns() -> None:
    with Streams(Sleeper, {}, 1) as one, Streams(Sleeper, {}, 3) as three:  # type: ignore[arg-type]
        taken = measure_throughput([one, three], seconds=1.0)
    assert [len(turns) for turns in taken] == [2, 2]
    for first, second in zip(*taken, strict=True):
        assert 2 < second.fps / first.fps < 4


def test_what_was_opened_is_closed_when_one_cannot_be() -> None:
    sessions: list[Sleeper] = []

    def open_one() -> Any:
        if sessions:
            raise DataError("model.onnx", "is too large")
        sessions.append(Sleeper())
        return sessions[0]

    with pytest.raises(DataError):
        Streams(open_one, {}, 2)
    assert sessions[0].closed
