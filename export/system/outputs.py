"""Files that a command writes: what is there and is something else is not replaced."""

from pathlib import Path
from typing import Any

import click

from export.system.errors import DataError
from export.system.inputs import Input


class OutputFile(click.Path):
    """Type of a flag that names a file to be written, over an earlier one of its kind alone.

    Args:
        begins: what such a file begins with, white space left out.
        called: the kind, for messages ("a page").
    """

    def __init__(self, begins: bytes, called: str):
        super().__init__(path_type=Path, dir_okay=False)
        self._begins, self._called = begins, called

    def problem(self, path: Path) -> str | None:
        """Say why what is there is not to be replaced; None: nothing is, or it is of the kind."""
        if not path.is_file():
            return None
        with path.open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        return None if start[:1] in (b"", self._begins) else f"exists and is not {self._called}"


PAGE = OutputFile(b"<", "a page")
JSON = OutputFile(b"{", "such a JSON file")


def check_outputs(context: click.Context) -> None:
    """Look at what a command would replace.

    Raises:
        DataError: it is a file that the command reads, or one of another kind; names the flag.
    """
    inputs = [
        Path(value)
        for parameter in context.command.params
        if isinstance(parameter.type, Input)
        for value in _values(context.params.get(parameter.name or ""))
    ]
    for parameter in context.command.params:
        if isinstance(parameter.type, OutputFile):
            for path in _values(context.params.get(parameter.name or "")):
                if problem := _problem(parameter.type, path, inputs):
                    raise DataError(path, f"{problem} ({parameter.opts[0]}); choose another path")


def _values(given: Any) -> tuple[Any, ...]:
    values = given if isinstance(given, tuple) else (given,)
    return tuple(value for value in values if value is not None)


def _problem(kind: OutputFile, path: Path, inputs: list[Path]) -> str | None:
    try:
        if path.is_file() and any(each.exists() and each.samefile(path) for each in inputs):
            return "is what the command reads"
        return kind.problem(path)
    except (OSError, ValueError) as error:  # a ValueError: it has a null character
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
