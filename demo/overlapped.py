"""An iterator that runs in a thread of its own, beside whoever takes its items."""

import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
STUCK = 2.0  # seconds after which a thread is left behind that waits for a device


class Overlapped(Generic[T]):
    """Items of a generator, computed before they are asked for; a context manager.

    The generator is advanced and closed in the thread, which frees what it holds there. Its error
    is raised to whoever takes the items, in the place of the next one.

    Attributes:
        dropped: items that were replaced by a newer one before anybody took them.
    """

    def __init__(
        self,
        items: Generator[T, None, None],
        name: str,
        *,
        ahead: int = 1,
        newest: bool = False,
        upstream: "Overlapped[Any] | None" = None,
    ):
        """Prepare; the thread starts on entry.

        Args:
            items: what to iterate.
            name: of the thread.
            ahead: items that may wait; the next is computed when there is room.
            newest: never wait for room: a new item replaces the one that waits.
            upstream: what the generator takes its own items from, to be stopped first.
        """
        self.dropped = 0
        self._items, self._ahead, self._newest, self._upstream = items, ahead, newest, upstream
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._stopped = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._thread.join(STUCK)

    def __iter__(self) -> Iterator[T]:
        for item in self.or_nothing(None):
            if item is not None:
                yield item

    def or_nothing(self, seconds: float | None) -> Iterator[T | None]:
        """Yield the items, and None each time that none has come for so many seconds."""
        while True:
            item = None
            with self._changed:
                self._changed.wait_for(
                    lambda: self._waiting or self._ended or self._stopped, seconds
                )
                if self._waiting:
                    item = self._waiting.popleft()
                    self._changed.notify_all()
                elif self._ended or self._stopped:
                    break
            yield item
        if self._error:
            raise self._error

    def stop(self) -> None:
        """Let the thread end; items that wait are still given."""
        if self._upstream:
            self._upstream.stop()
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            with closing(self._items):
                while self._room():
                    try:
                        item = next(self._items)
                    except StopIteration:
                        break
                    with self._changed:
                        if self._newest and self._waiting:
                            self._waiting.clear()
                            self.dropped += 1
                        self._waiting.append(item)
                        self._changed.notify_all()
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _room(self) -> bool:
        with self._changed:
            if not self._newest:
                self._changed.wait_for(lambda: self._stopped or len(self._waiting) < self._ahead)
            return not self._stopped
