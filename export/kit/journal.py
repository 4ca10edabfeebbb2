"""What an interrupted measurement has measured so far, so that it can go on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LARGEST = 64 * 2**20
"""Bytes of a journal."""
MOST_SETTINGS = 100_000
"""Characters of its first line."""


class JournalError(Exception):
    """A journal cannot be read, gone on with or written.

    Args:
        path: of the file.
        problem: what is wrong, and what to do.
    """

    def __init__(self, path: Path, problem: str):
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, problem


class Measurements:
    """What has been measured, and how fast the machine was meanwhile.

    Attributes:
        measured: [graphs, turns] by key, in multiples of the sentinel's time.
        levels: what the sentinel took meanwhile, milliseconds by key.
    """

    def __init__(self) -> None:
        self.measured: dict[str, np.ndarray] = {}
        self.levels: dict[str, float] = {}

    def add(self, key: str, turns: np.ndarray, level_ms: float) -> None:
        """Note the turns of one measurement; those of before are forgotten."""
        self.measured[key], self.levels[key] = turns, level_ms

    @property
    def level_ms(self) -> float:
        """What the sentinel takes at the usual speed of the machine."""
        return float(np.median(list(self.levels.values())))

    def at_other_speeds(self, tolerance: float) -> list[str]:
        """Return what was measured while the sentinel was faster or slower than usual.

        A neighbour on the cores of a shared machine slows the sentinel and other graphs unequally.

        Args:
            tolerance: by how much, as a fraction.
        """
        if not self.levels:
            return []
        low, high = self.level_ms / (1 + tolerance), self.level_ms * (1 + tolerance)
        return [key for key, ms in self.levels.items() if not low <= ms <= high]

    def share_at_other_speeds(self, tolerance: float) -> float:
        """Return the share of what was measured so, 0 to 1."""
        return round(len(self.at_other_speeds(tolerance)) / len(self.levels), 3)


class Journal(Measurements):
    """A file of one line a measurement, written as soon as there is one.

    The first line holds the settings: a journal of other settings is of no use. Times are kept as
    multiples of the sentinel's, and its own beside them. A last line, once all is measured, holds
    what is known then.

    Args:
        path: the file.
        settings: everything that the measurements depend on, JSON-ready.
        resume: go on with what is there; otherwise start anew.
        anew: how to start anew, in words.

    Raises:
        JournalError: what is there cannot be gone on with.
    """

    def __init__(
        self,
        path: Path,
        settings: dict[str, Any],
        *,
        resume: bool = False,
        anew: str = "leave out --resume to start anew",
    ):
        super().__init__()
        self.path = path
        self._head = json.dumps(settings) + "\n"
        # Nothing is written, or overwritten, before there is something to lose.
        self._begun = resume and path.exists()
        if self._begun:
            self._load(settings, anew)

    def _load(self, settings: dict[str, Any], anew: str) -> None:
        recorded = read_journal(self.path, anew)
        for name, value in settings.items():
            if (found := recorded.settings.get(name)) != value:
                raise JournalError(
                    self.path, f"was begun with {name} {found}, not {value}; give that, or {anew}"
                )
        self.measured, self.levels = recorded.found.measured, recorded.found.levels
        # A line that was cut off by the interruption must not run into the next.
        lines = [json.dumps(recorded.settings)]
        lines += [_line(key, turns, self.levels[key]) for key, turns in self.measured.items()]
        self.path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def add(self, key: str, turns: np.ndarray, level_ms: float) -> None:
        """Note the turns of one measurement.

        Raises:
            JournalError: the file cannot be written.
        """
        self._append(_line(key, turns, level_ms))
        super().add(key, turns, level_ms)

    def end(self, facts: dict[str, Any]) -> None:
        """Note that all is measured, and what is known now.

        Raises:
            JournalError: the file cannot be written.
        """
        self._append(json.dumps(facts))

    def _append(self, line: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a" if self._begun else "w", encoding="utf-8") as file:
                file.write(f"{line}\n" if self._begun else f"{self._head}{line}\n")
        except OSError as error:
            raise JournalError(self.path, f"cannot be written ({error.strerror})") from None
        self._begun = True

    def remove(self) -> None:
        """Delete the file: the table holds it all."""
        if self.path.exists():
            self.path.unlink()


class Recorded(NamedTuple):
    """A journal as read.

    Attributes:
        settings: its first line.
        found: its other lines.
        facts: its last line; None: the measurement was interrupted.
    """

    settings: dict[str, Any]
    found: Measurements
    facts: dict[str, Any] | None


def read_journal(path: Path, remedy: str) -> Recorded:
    """Read a journal; a line that was cut off by an interruption is left out.

    Args:
        path: the file.
        remedy: what to do if it cannot be read.

    Raises:
        JournalError: it is none.
    """
    found = Measurements()
    facts = None
    try:
        with path.open("rb") as file:  # what is no file has no size, or no end
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
        head, *lines = content.decode("utf-8").split("\n")[:-1]
        settings = json.loads(head, parse_constant=_refuse)
        for line in lines:
            value = json.loads(line, parse_constant=_refuse)
            if isinstance(value, dict):
                facts = value
            else:
                key, turns, level_ms = value
                found.add(str(key), np.array(turns, dtype=float), float(level_ms))
        whole = all(t.ndim == 2 and np.isfinite(t).all() for t in found.measured.values())
        whole = whole and all(0 < ms < math.inf for ms in found.levels.values())
        if not isinstance(settings, dict) or not whole:
            raise ValueError("its lines are not those of a measurement")
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise JournalError(path, f"cannot be read as a measurement ({error}); {remedy}") from None
    return Recorded(settings, found, facts)


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no finite number")


def _line(key: str, turns: np.ndarray, level_ms: float) -> str:
    return json.dumps([key, np.round(turns, 6).tolist(), round(level_ms, 6)])


def settings_of(path: Path) -> dict[str, Any]:
    """Return what a journal was begun with; nothing if there is none that can be read."""
    try:
        with path.open(encoding="utf-8") as file:
            found = json.loads(file.readline(MOST_SETTINGS))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
