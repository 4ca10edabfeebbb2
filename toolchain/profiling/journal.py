"""What an interrupted profiling has measured so far, so that it can go on."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import DataError
from export.files import parse_json, read_text
from toolchain.profiling.graphs import Array

MOST_SETTINGS = 100_000
"""Characters of the first line."""


class Journal:
    """A file of one line a measurement, written as soon as there is one.

    The first line holds the settings: a journal of other settings is of no use. Times are kept as
    multiples of the sentinel's, which hold for any session on the same machine.

    Args:
        path: the file.
        settings: everything that the measurements depend on, JSON-ready.
        resume: go on with what is there; otherwise start anew.

    Raises:
        DataError: what is there cannot be gone on with.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, resume: bool = False):
        self.path = path
        self.measured: dict[str, Array] = {}
        self._head = json.dumps(settings) + "\n"
        # Nothing is written, or overwritten, before there is something to lose.
        self._begun = resume and path.exists()
        if self._begun:
            self._load(settings)

    def _load(self, settings: dict[str, Any]) -> None:
        try:
            # A line that was cut off by the interruption has no end.
            head, *lines = read_text(self.path).split("\n")[:-1]
            found = dict(parse_json(head))
            for line in lines:
                key, turns = parse_json(line)
                self.measured[str(key)] = np.array(turns, float)
        except (TypeError, ValueError) as error:
            raise DataError(
                self.path, f"cannot be gone on with ({error}); leave out --resume to start anew"
            ) from None
        for name, value in settings.items():
            if found.get(name) != value:
                raise DataError(
                    self.path,
                    f"was begun with {name} {found.get(name)}, not {value}; give that, or leave "
                    "out --resume to start anew",
                )
        whole = "\n".join([head, *lines, ""])
        self.path.write_text(whole, encoding="utf-8")

    def add(self, key: str, turns: Array) -> None:
        """Note the turns of one measurement.

        Raises:
            DataError: the file cannot be written.
        """
        line = json.dumps([key, np.round(turns, 6).tolist()]) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a" if self._begun else "w", encoding="utf-8") as file:
                file.write(line if self._begun else self._head + line)
        except OSError as error:
            raise DataError(self.path, f"cannot be written ({error.strerror})") from None
        self._begun = True
        self.measured[key] = turns

    def remove(self) -> None:
        """Delete the file: the table holds it all."""
        self.path.unlink(missing_ok=True)


def settings_of(path: Path) -> dict[str, Any]:
    """Return what a journal was begun with; nothing if there is none that can be read."""
    try:
        with path.open(encoding="utf-8") as file:
            return dict(parse_json(file.readline(MOST_SETTINGS)))
    except (OSError, TypeError, ValueError):
        return {}
