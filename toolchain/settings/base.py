"""Settings that are stated once: name, meaning, default and bounds, in one field of a model.

The flags of a command, its help, the keys of its TOML file and ``config.json`` all follow from the
model; `toolchain.cli.flags` makes the flags.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from export.system.errors import DataError, UsageError
from export.system.files import read_json, validated, write_json
from export.system.numbers import LARGEST

FILE_NAME = "config.json"
FORMAT_VERSION = 2
"""Of the file. Version 1 was of runs whose images for training and judging overlapped."""
Kind = TypeVar("Kind", bound="Settings")


def setting(
    default: Any = ...,
    help: str = "",  # noqa: A002  (what click calls it)
    *,
    flag: str | None = None,
    formerly: tuple[str, ...] = (),
    free: bool = False,
    may_rise: bool = False,
    compared: Callable[[str], str] | None = None,
    known_by_name: bool = False,
    reads: str | None = None,
    **bounds: Any,
) -> Any:
    """State a setting.

    Args:
        default: its value where nobody says otherwise; left out: it must be given.
        help: what it means, for ``--help`` and readers.
        flag: its flag without the dashes; None: the field's name. Of a tuple the flag is given once
            for each value, so its name is the singular.
        formerly: earlier names of the flag, which are still taken.
        free: it may change when what it set up is resumed.
        may_rise: it may become larger when what it set up is resumed.
        compared: makes of its text what must stay the same when what it set up is resumed.
        known_by_name: of files: their names matter beside their contents.
        reads: of texts: what they may name instead, ``data`` or a file of a ``genotype``; of paths:
            ``folder`` where they name one.
        bounds: of pydantic: ``ge``, ``gt``, ``le``, ``lt``, ``multiple_of``; `LARGEST` bounds a
            number that has no other limit above.
    """
    extra: Any = {
        "flag": flag,
        "formerly": formerly,
        "free": free,
        "may_rise": may_rise,
        "compared": compared,
        "known_by_name": known_by_name,
        "reads": reads,
    }
    if {"ge", "gt"} & bounds.keys() and not {"le", "lt"} & bounds.keys():
        bounds["le"] = LARGEST
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def _located(data: str) -> str:
    """Make the folder of a dataset absolute; drawn faces have none."""
    return data if data.startswith("synthetic:") else str(Path(data).absolute())


def data_problem(data: str) -> str | None:
    """Say what is wrong with where images are from, at a glance; None: nothing."""
    if data.startswith("synthetic:") or Path(data).is_dir():
        return None
    return "is not a folder; give one, or synthetic:COUNT[:SEED]"


# Free, since the images themselves are compared.
Data = Annotated[
    str,
    AfterValidator(_located),
    setting(help="Folder, or synthetic:COUNT[:SEED].", free=True, reads="data"),
]
"""The setting of where images are from."""


class Settings(BaseModel):
    """Base of the settings of a command; frozen.

    Paths are made absolute: what is resumed or read later may be so from another folder.

    Attributes:
        command: what the settings are of.
        groups: settings, and further flags of the command, that belong together, by a heading for
            ``--help``; the first are those that matter most.
        presets: named sets of values, each for those settings that are not given otherwise.
    """

    command: ClassVar[str] = ""
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    # pydantic counts nan and inf among numbers; no setting does.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and cls.presets:
            return {**cls.presets.get(str(values.get("preset")), {}), **values}
        return values

    @field_validator("*", mode="after")
    @classmethod
    def _absolute(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(cls._absolute, value))
        return value.absolute() if isinstance(value, Path) else value

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
    def file_settings(cls) -> list[str]:
        """Return the settings that name files."""
        paths = [
            name for name, field in cls.model_fields.items() if "Path" in str(field.annotation)
        ]
        return [name for name in paths if cls.attribute(name, "reads") != "folder"]

    def files(self) -> dict[str, tuple[Path, ...]]:
        """Return the files that settings name, by setting; those without are left out."""
        values = {name: getattr(self, name) for name in self.file_settings()}
        listed = {n: v if isinstance(v, tuple) else (v,) for n, v in values.items() if v}
        return {name: files for name, files in listed.items() if files}

    def digest(self, name: str, file: Path) -> str:
        """Return the digest of what counts of a file of a setting: its contents, perhaps its name.

        Raises:
            DataError: it cannot be read.
        """
        known_by = f"{file.stem} " if self.attribute(name, "known_by_name") else ""
        return known_by + file_digest(file)

    def digests(self) -> dict[str, str]:
        """Return the digests of all files, by flag and path; raises what `digest` raises."""
        return {
            f"--{self.flag(name)} {file}": self.digest(name, file)
            for name, files in self.files().items()
            for file in files
        }

    def difference(self, earlier: Self) -> str | None:
        """Say which setting was another one before; files count by their contents, elsewhere."""
        compared = set(type(self).model_fields) - set(self.files())
        known = earlier.model_dump(mode="json")
        for name, now in self.model_dump(mode="json").items():
            before = known[name]
            if shorten := self.attribute(name, "compared"):
                before, now = (text and shorten(text) for text in (before, now))
            if name not in compared or self.attribute(name, "free") or before == now:
                continue
            risen = self.attribute(name, "may_rise") and before is not None and now > before
            if not risen:
                return f"--{self.flag(name)} was {before}, now it is {now}"
        return None


class Record:
    """The settings of a run or a training in its folder, with what its files held.

    Args:
        folder: of the run.
        settings: of the command.
        contents: digests of further inputs, by a name that a message can show and that begins with
            a flag.
    """

    def __init__(self, folder: Path, settings: Settings, contents: Mapping[str, str] = {}):
        self.path, self._settings = folder / FILE_NAME, settings
        self._contents = settings.digests() | dict(contents)

    def write(self) -> None:
        """Write the record, over an earlier one."""
        own = _Document(
            format_version=FORMAT_VERSION,
            command=type(self._settings).command,
            contents=self._contents,
        )
        write_json(self.path, own.model_dump() | self._settings.model_dump(mode="json"))

    def check(self, *, partly: bool = False) -> None:
        """Check that an earlier record is of the same command, settings and contents.

        Args:
            partly: the digests of further inputs are not known yet.

        Raises:
            DataError: it is not; names the setting, or the file that has changed.
        """
        earlier, contents = read_record(self.path, type(self._settings))
        if difference := self._settings.difference(earlier):
            raise DataError(self.path, f"{difference}; use the same settings")
        if partly:
            files = {f"--{self._settings.flag(name)}" for name in self._settings.file_settings()}
            contents = {name: d for name, d in contents.items() if _what(name) in files}
        then, today = _by_content(contents), _by_content(self._contents)
        for name in sorted(contents.keys() | self._contents.keys()):
            before, now = contents.get(name), self._contents.get(name)
            # A file may have moved, and several of one flag may come in another order.
            known = now is None or (_what(name), now) in then
            kept = before is None or (_what(name), before) in today
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


def check_files(
    path: Path, settings: Settings, names: Iterable[str], remedy: str = "bring it back"
) -> None:
    """Check that files of some settings hold what they held when a record was written.

    Args:
        path: of the record.
        settings: that were read from it.
        names: of the settings.
        remedy: what to do.

    Raises:
        DataError: a file is gone or has changed; it is named.
    """
    _, contents = read_record(path, type(settings))
    files = settings.files()
    for name in names:
        for file in files.get(name, ()):
            if not file.is_file():
                raise DataError(file, f"is gone, and {path} names it; {remedy}")
            if settings.digest(name, file) not in contents.values():
                raise DataError(file, f"has changed since {path} was written; {remedy}")


def _by_content(contents: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(_what(name), digest) for name, digest in contents.items()}


def _what(name: str) -> str:
    """Return the flag that the name of an input begins with."""
    return name.partition(" ")[0]


class _Document(BaseModel):
    """What a record has beside its settings."""

    model_config = ConfigDict(extra="allow")

    format_version: int
    command: str
    contents: dict[str, str]


def read_record(path: Path, kind: type[Kind]) -> tuple[Kind, dict[str, str]]:
    """Read a record: the settings and the digests of contents.

    Args:
        path: the file.
        kind: of settings that it must hold.

    Raises:
        DataError: it cannot be read, is of another version or command, or does not hold what it
            must.
    """
    document, remedy = read_json(path), "begin in a new folder"
    if not isinstance(document, dict):
        raise DataError(path, f"is not a record of settings; {remedy}")
    if (version := document.get("format_version")) != FORMAT_VERSION:
        raise DataError(
            path,
            f"was written by {'an earlier' if version is None else 'another'} nastool, whose "
            f"figures do not compare with this one's; {remedy}",
        )
    if (command := document.get("command")) != kind.command:
        raise DataError(path, f"is of nastool {command}, not {kind.command}; take another folder")
    record = validated(_Document, document, path, remedy)
    return validated(kind, record.model_extra, path, remedy), record.contents


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
