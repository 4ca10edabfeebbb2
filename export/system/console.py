"""What people see: tables, progress, one line a message."""

import io
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

T = TypeVar("T")
log = logging.getLogger(__name__)
LINE_SECONDS = 5.0
LONGEST_LINE = 2000
"""Characters of a message: what a user wrote may be in it, however long it is."""


@dataclass(frozen=True)
class Outcome:
    """What a command has to say.

    Attributes:
        document: the promised JSON document, printed by ``--json``.
        text: what people read instead; anything rich can print.
        failure: why a gate failed (exit code 1), or None.
    """

    document: Any
    text: Any
    failure: str | None = None


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> Any:
    """Make a plain table for `Outcome.text`; columns after the first are set flush right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    result = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for position, column in enumerate(columns):
        result.add_column(column, justify="right" if position else "left", overflow="fold")
    for row in rows:
        result.add_row(*(one_line(str(cell)) for cell in row))
    return result


def unbroken(text: str) -> Any:
    """Make a line for `Outcome.text` that stays one, to be copied, however narrow the place is."""
    from rich.text import Text

    return Text(one_line(text), no_wrap=True, overflow="ignore")


def lines(*parts: Any) -> Any:
    """Stack several texts or tables under each other for `Outcome.text`."""
    from rich.console import Group

    return Group(*parts)


def track(
    items: Iterable[T], description: str, total: int | None = None, done: int = 0
) -> Iterator[T]:
    """Yield ``items`` with the progress and the time left on stderr.

    On a terminal that is a bar, elsewhere a line every few seconds, fewer in work of hours.

    Args:
        items: what is worked on.
        description: of the work.
        total: how many there are, those that are done included; None: not known.
        done: how many are done before the first of ``items``.
    """
    if not sys.stderr.isatty():
        yield from _in_lines(items, description, total, done)
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(
        items,
        description,
        total=total,
        completed=done,
        console=Console(stderr=True),
        transient=True,
    )


def _in_lines(items: Iterable[T], description: str, total: int | None, done: int) -> Iterator[T]:
    started = said = time.monotonic()
    for number, item in enumerate(items):
        now = time.monotonic()
        # The longer it takes, the fewer lines.
        if number and now - said >= max(LINE_SECONDS, (now - started) / 20):
            said = now
            of, left = "", ""
            if total:
                of = f" of {total}"
                left = f", {duration((total - done - number) * (now - started) / number)} left"
            log.info("%s: %d%s%s", description, done + number, of, left)
        yield item


def duration(seconds: float) -> str:
    """Write a span of time for people: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def silence_opencv() -> None:
    """Keep OpenCV from writing of cameras that are not there; its 4 and 5 name that differently."""
    import cv2

    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_level(0)


def one_line(text: str) -> str:
    """Write out line breaks and codes for terminals, which names of files may hold; bounded."""
    text = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(text: Any) -> None:
    """Print what `Outcome.text` holds."""
    # A name of a file may be no text of the terminal's encoding, brackets or colons no markup.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(text, str):
        click.echo(text)
        return
    from rich.console import Console

    # A pipe has no width: wide enough for a genotype beside its figures.
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False, markup=False, emoji=False).print(text)
