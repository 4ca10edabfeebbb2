"""Signals that ask a program to end: it ends once, in order, however often it is asked.

Ctrl-C, what a terminal sends when it is closed, and what a scheduler, a container or a shutdown
sends first are all one thing: what is whole stays, what is shared or half-written is removed.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Not every system has all.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
GRACE = 10.0
"""Seconds after a signal in which further ones do not disturb the end."""


def raise_on_signals() -> None:
    """Have `SIGNALS` raise KeyboardInterrupt, in the main thread; the ignored ones stay so."""
    last = -GRACE

    def interrupt(_: int, __: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= GRACE:
            last = now
            raise KeyboardInterrupt

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup wants it so
            signal.signal(number, interrupt)


def ignore_signals() -> None:
    """Ignore `SIGNALS` from now on: this process ends already, or its parent sees to its end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold `SIGNALS` back while the block runs; processes that it starts never get them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
