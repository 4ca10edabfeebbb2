"""What is resumed without its flags being given again, and what an interrupted command says."""

import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from export.system.errors import DataError
from export.system.files import read_json
from toolchain.settings.base import FILE_NAME, Settings, read_record

Given = Mapping[str, Any]


def recall(
    model: type[Settings], folder: Path, given: Given, *, without: Collection[str] = ()
) -> dict[str, Any]:
    """Return the settings that a folder's record holds, for flags that are not given.

    Args:
        model: of the settings.
        folder: that holds the record.
        given: values of flags, by parameter name.
        without: settings that are settled in another way.

    Raises:
        DataError: there is no record, and not enough is given for something new; or it cannot be
            read.
    """
    path = folder / FILE_NAME
    if not is_begun(path, given):
        return {}
    settings, _ = read_record(path, model)
    return defaults(settings.model_dump(), without)


def is_begun(record: Path, given: Given) -> bool:
    """Say whether there is something to resume; what is begun anew has its flags.

    Raises:
        DataError: there is nothing, and not enough is given for something new.
    """
    if record.is_file() or "data" in given or "config" in given:
        return record.is_file()
    raise DataError(
        record.parent,
        f"holds nothing to resume (it has no {record.name}); check the path, or give all flags and "
        "leave out --resume",
    )


def defaults(values: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Return values as flags would give them; what is unset is left out."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in without and value is not None
    }


def read_settings(path: Path) -> dict[str, Any]:
    """Read what a command has noted of its flags."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise DataError(path, "is no record of settings; begin anew without --resume")
    return document


def go_on(what: str, *arguments: object) -> str:
    """Say what is kept of an interrupted command, and which command goes on."""
    return f"{what}; go on with: nastool {shlex.join(map(str, arguments))} --resume"


NOTHING_YET = "nothing was done yet; run the same command again"
Kept = Callable[[Given], str]
