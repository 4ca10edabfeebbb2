"""Settings that are stated once: name, meaning, default and bounds, in one field of a model.

The flags of a command, its help, the keys of its TOML file and ``config.json`` all follow from the
model; `toolchain.cli.flags` makes the flags.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.errors import DataError, UsageError
from export.files import read_json, write_json

FILE_NAME = "config.json"
FORMAT_VERSION = 2
"""Of the file. Version 1 was of runs whose images for training and judging overlapped."""
_RECORD = ("format_version", "contents")


def setting(
    default: Any = ...,
    help: str = "",  # noqa: A002  (what click calls it)
    *,
    flag: str | None = None,
    free: bool = False,
    shown: str | None = None,
    compared: Callable[[str], str] | None = None,
    known_by_name: bool = False,
    **bounds: Any,
) -> Any:
    """State a setting.

    Args:
        default: its value where nobody says otherwise; left out: it must be given.
        help: what it means, for ``--help`` and readers.
        flag: its flag without the dashes; None: the field's name. Of a tuple the flag is given once
            for each value, so its name is the singular.
        free: it may change when what it set up is resumed.
        shown: what ``--help`` shows in place of the default.
        compared: makes of its text what must stay the same when what it set up is resumed.
        known_by_name: of files: their names matter beside their contents.
        bounds: of pydantic: ``ge``, ``gt``, ``le``, ``lt``, ``multiple_of``.
    """
    extra: Any = {
        "flag": flag,
        "free": free,
        "shown": shown,
        "compared": compared,
        "known_by_name": known_by_name,
    }
    return Field(default, description=help, json_schema_extra=extra, **bounds)


class Settings(BaseModel):
    """Base of the settings of a command; frozen."""

    # pydantic counts nan and inf among numbers; no setting does.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Make settings of the values of flags.

        Raises:
            UsageError: a value is out of bounds; names the flag.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            # What a validator of the whole model says names its flags itself.
            where = f"--{cls.flag(name)}: " if name else ""
            problem = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"{where}{problem}") from None

    @classmethod
    def attribute(cls, name: str, key: str) -> Any:
        """Return what `setting` was told of a field under a key."""
        extra = cls.model_fields[name].json_schema_extra
        return extra.get(key) if isinstance(extra, Mapping) else None

    @classmethod
    def flag(cls, name: str) -> str:
        """Return the flag of a field, without the dashes."""
        return cls.attribute(name, "flag") or name.replace("_", "-")

    @classmethod
    def prefix(cls, name: str, file: Path) -> str:
        """Return what of a file's name counts beside its contents; usually nothing."""
        return f"{file.stem} " if cls.attribute(name, "known_by_name") else ""

    def files(self) -> dict[str, tuple[Path, ...]]:
        """Return the files that settings name, by setting."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        listed = {n: v if isinstance(v, tuple) else (v,) for n, v in values.items()}
        found = {n: tuple(f for f in files if isinstance(f, Path)) for n, files in listed.items()}
        return {name: files for name, files in found.items() if files}


class Record:
    """The settings of a run or a training in its folder, with what its files held.

    Args:
        folder: of the run.
        settings: of the command.
        contents: digests of further inputs, by a name that a message can show.
    """

    def __init__(self, folder: Path, settings: Settings, contents: Mapping[str, str] = {}):
        self.path, self._settings = folder / FILE_NAME, settings
        files = {
            f"--{settings.flag(name)} {file}": settings.prefix(name, file) + file_digest(file)
            for name, files in settings.files().items()
            for file in files
        }
        self._contents = files | dict(contents)

    def write(self) -> None:
        """Write the record, over an earlier one."""
        document = self._settings.model_dump(mode="json")
        own = dict(zip(_RECORD, (FORMAT_VERSION, self._contents), strict=True))
        write_json(self.path, own | document)

    def check(self, *, partly: bool = False) -> None:
        """Check that an earlier record is of the same settings and contents.

        Args:
            partly: the digests of further inputs are not known yet.

        Raises:
            DataError: it is not; names the setting, or the file that has changed.
        """
        settings, contents = read_record(self.path)
        by_content = set(self._settings.files())
        for name, now in self._settings.model_dump(mode="json").items():
            before = settings.get(name)
            free = self._settings.attribute(name, "free")
            if compared := self._settings.attribute(name, "compared"):
                before, now = (text and compared(text) for text in (before, now))
            if not free and name not in by_content and before != now:
                flag = self._settings.flag(name)
                raise DataError(
                    self.path, f"--{flag} was {before}, now it is {now}; use the same settings"
                )
        earlier, later = _by_content(contents), _by_content(self._contents)
        names = self._contents.keys() if partly else contents.keys() | self._contents.keys()
        for name in sorted(names):
            before, now = contents.get(name), self._contents.get(name)
            # A file may have moved, and several of one flag may come in another order.
            known = now is None or (_what(name), now) in earlier
            kept = before is None or (_what(name), before) in later
            if known and kept:
                continue
            change = (
                f"{name} is new"
                if before is None
                else f"{name} was there, and is missing now"
                if now is None
                else f"{name} has changed since"
            )
            raise DataError(
                self.path, f"{change}; bring back what was there, or begin in a new folder"
            )


def _by_content(contents: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(_what(name), digest) for name, digest in contents.items()}


def _what(name: str) -> str:
    """Return the flag in the name of an input, or what else it begins with."""
    return name.partition(" ")[0]


def read_record(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a record: the settings and the digests of contents.

    Raises:
        DataError: it cannot be read, or is of another version.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise DataError(path, "is not a record of settings; begin in a new folder")
    if (version := document.get("format_version")) != FORMAT_VERSION:
        raise DataError(
            path,
            f"was written by {'an earlier' if version is None else 'another'} nastool, whose "
            "figures do not compare with this one's; begin in a new folder",
        )
    settings = {name: value for name, value in document.items() if name not in _RECORD}
    return settings, dict(document["contents"])


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's contents.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None


def array_digest(arrays: Iterable[Any]) -> str:
    """Return the SHA-256 of the contents of numpy arrays, one after the other."""
    digest = sha256()
    for array in arrays:
        digest.update(array.data)
    return digest.hexdigest()
