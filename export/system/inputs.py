"""Paths that a command reads: they are looked for before anything large is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from export.system.errors import DataError

_ZIP = b"PK\3\4"
"""What archives begin with, such as torch writes, and no model that a runtime opens."""


class Input(click.Path):
    """Type of a flag or an argument that names what must be there.

    The command looks for it (`check_inputs`), not the parser: what is wrong with the flags
    themselves comes first.
    """

    called = "path"
    """What stands for a value in the help, in capitals."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)
        self.name = self.called

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value, at a glance; None: nothing."""
        return None if Path(value).exists() else "does not exist"


class InputFile(Input):
    """A file, or a device or a pipe."""

    def problem(self, value: Any) -> str | None:
        """See `Input`."""
        return "is a folder, not a file" if Path(value).is_dir() else super().problem(value)


class InputFolder(Input):
    """A folder."""

    called = "folder"

    def problem(self, value: Any) -> str | None:
        """See `Input`."""
        return super().problem(value) or (None if Path(value).is_dir() else "is not a folder")


class ModelFile(InputFile):
    """A file that a runtime opens."""

    def problem(self, value: Any) -> str | None:
        """See `Input`."""
        return super().problem(value) or checkpoint_problem(value)


def checkpoint_problem(path: str | Path) -> str | None:
    """Say what to do with a checkpoint that was given for a model; None: it is none."""
    path = Path(path)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return None
    return f"is a checkpoint, not a model that runs; export it first: nastool export {path}"


def check_paths(context: click.Context, given: Mapping[str, Any]) -> None:
    """Refuse a path that is empty, as that of a variable without a value: it is no folder.

    Args:
        context: of the command.
        given: texts by parameter, as they are on the command line or in a file.

    Raises:
        click.BadParameter: names the flag.
    """
    for parameter in context.command.params:
        values = given.get(parameter.name or "")
        values = values if isinstance(values, (list, tuple)) else (values,)
        is_path = isinstance(parameter.type, click.Path) or parameter.name == "data"
        if is_path and "" in values:
            raise click.BadParameter("it is empty.", context, parameter)


def check_inputs(context: click.Context) -> None:
    """Look for all that a command is to read.

    Raises:
        DataError: something is not there; names the flag.
    """
    for parameter in context.command.params:
        if not isinstance(parameter.type, Input):
            continue
        given = context.params.get(parameter.name or "")
        for value in given if isinstance(given, tuple) else (given,):
            if value is not None and (problem := _problem(parameter.type, value)):
                flag = parameter.opts[0] if isinstance(parameter, click.Option) else ""
                of = f" ({flag})" if flag else ""
                raise DataError(value, f"{problem}{of}")


def _problem(kind: Input, value: Any) -> str | None:
    try:
        return kind.problem(value)
    except (OSError, ValueError) as error:  # a ValueError: it has a null character
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
