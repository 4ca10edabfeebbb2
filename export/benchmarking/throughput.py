"""Frames per second with several frames in flight, each in a session and a thread of its own."""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from export.runtimes import Session
from export.runtimes.base import Array
from export.runtimes.measurement import LatencySamples

TURN_SECONDS = 0.5
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class StreamTurn:
    """What the streams of one model did in one turn.

    Attributes:
        samples: milliseconds of each frame, of all streams, while all of them were busy.
        fps: frames per second of all streams together.
    """

    samples: LatencySamples
    fps: float


class Streams:
    """Several sessions of one model, each opened and run by its own thread; a context manager.

    Args:
        open_one: opens a session.
        feeds: what each frame is.
        streams: how many.
    """

    def __init__(self, open_one: Callable[[], Session], feeds: dict[str, Array], streams: int):
        self.feeds = feeds
        self._threads: list[ThreadPoolExecutor] = []
        self._sessions: list[Session] = []
        with ExitStack() as stack:
            for _ in range(streams):
                thread = stack.enter_context(ThreadPoolExecutor(1))
                session = thread.submit(open_one).result()
                stack.callback(_close, thread, session)
                self._threads.append(thread)
                self._sessions.append(session)
            self.turn(WARM_UP_SECONDS)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def turn(self, seconds: float = TURN_SECONDS) -> StreamTurn:
        """Keep every stream busy for some seconds, and at least for one frame that counts."""
        until = time.perf_counter() + seconds
        running = [
            thread.submit(_frames, session, self.feeds, until)
            for thread, session in zip(self._threads, self._sessions, strict=True)
        ]
        streams = [LatencySamples(tuple(future.result())) for future in running]
        return StreamTurn(
            LatencySamples.pool(streams),
            sum(1000 * len(stream.ms) / sum(stream.ms) for stream in streams),
        )

    def frames(self, seconds: float) -> int:
        """Keep every stream busy for some seconds; return how many frames that were."""
        # Of each stream the first is not among the samples.
        return len(self.turn(seconds).samples.ms) + len(self._threads)


def _close(thread: ThreadPoolExecutor, session: Session) -> None:
    thread.submit(session.close).result()


def _frames(session: Session, feeds: dict[str, Array], until: float) -> list[float]:
    times: list[float] = []
    session.run(feeds)  # finds the caches full of another model
    while not times or time.perf_counter() < until:
        start = time.perf_counter_ns()
        session.run(feeds)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def measure_throughput(
    models: Sequence[Streams], *, seconds: float = 5.0, seed: int = 0
) -> list[list[StreamTurn]]:
    """Run the streams of several models in turns, in random order.

    Args:
        models: the streams of each.
        seconds: to spend on each.
        seed: of the order within the turns.

    Returns:
        For each model its turns; turn k of all of them is of the same moment.
    """
    order = random.Random(seed)
    taken: list[list[StreamTurn]] = [[] for _ in models]
    turn_seconds = min(seconds, TURN_SECONDS)
    for _ in range(max(1, round(seconds / turn_seconds))):
        for i in order.sample(range(len(models)), len(models)):
            taken[i].append(models[i].turn(turn_seconds))
    return taken
