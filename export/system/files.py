"""Files that appear whole or not at all."""

import errno
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from export.system.errors import DataError, UsageError

Model = TypeVar("Model", bound=BaseModel)
LARGEST_DOCUMENT = 64 * 2**20
"""Bytes of a file of text."""
_UNFINISHED = ".partial-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds.

    The parent folder is made. When the block raises, ``path`` is untouched and the temporary file
    is removed; when the process is killed, the next owner of the folder removes it (`only_one`).
    The temporary name keeps the suffix, because some writers choose a format by it. A link stays
    one: what it leads to is replaced. A device or a pipe is written into instead.

    Raises:
        DataError: the folder cannot be made or written to, the disk is full, or the link leads
            nowhere.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        with _written_into(path) as temporary:
            yield temporary
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.is_symlink():
        raise DataError(path, "is a link that leads in a circle; choose another path")
    with _written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED, suffix=path.suffix)
    temporary = Path(name)
    try:
        _claim(handle)
        try:
            yield temporary
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise DataError(path, f"cannot be written ({error.strerror}); make room") from None
        with _written(path):
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


@contextmanager
def _written_into(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / f"whole{path.suffix}"
        yield temporary
        with _written(path), temporary.open("rb") as whole, path.open("wb") as device:
            shutil.copyfileobj(whole, device)


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """Yield a temporary folder, to be filled and then renamed to what it is to be in ``parent``.

    What is left of it is removed; when the process is killed, the next owner of ``parent`` does.

    Raises:
        DataError: ``parent`` cannot be made or written to, or the disk is full.
    """
    with _written(parent):
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=_UNFINISHED) as name:
            handle = os.open(name, os.O_RDONLY)
            try:
                _claim(handle)
                yield Path(name)
            finally:
                os.close(handle)


@contextmanager
def whole_folder(folder: str | Path, kind: str, marks: Sequence[str]) -> Iterator[Path]:
    """Yield an empty folder beside ``folder``; rename it to ``folder`` if the block succeeds.

    An empty folder is replaced, and one of the same kind; when the block raises it is untouched.

    Args:
        folder: the path.
        kind: what the folder is, for messages ("a bundle").
        marks: names of files by which one is known.

    Raises:
        DataError: the folder holds something else, or cannot be made or written to.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not _replaceable(folder, marks)):
        raise DataError(folder, f"exists and is not {kind}; choose another folder")
    with unfinished_folder(folder.parent) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(temporary / "old")
        new.rename(folder)


def _replaceable(folder: Path, marks: Sequence[str]) -> bool:
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or all((folder / mark).is_file() for mark in marks)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Say of a path that it cannot be written, where the block finds so."""
    try:
        yield
    except OSError as error:  # no rights, no room, a file where a folder should be, ...
        remedy = "make room" if error.errno in _NO_ROOM else "choose another path"
        raise DataError(path, f"cannot be written ({error.strerror or error}); {remedy}") from None


@contextmanager
def only_one(folder: str | Path) -> Iterator[None]:
    """Own a folder: make it, and keep other processes of this machine out of the block for it.

    A process that is killed keeps nobody out; what killed ones were writing there is removed. A
    folder that the block leaves empty is removed.

    Raises:
        UsageError: another process is in the block.
        DataError: the folder cannot be made or written to.
    """
    folder = Path(folder)
    lock = FileLock(folder / ".lock", blocking=False)
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"{folder}: another process is at work there; wait for it or end it"
            ) from None
    try:
        _remove_unfinished(folder)
        yield
    finally:
        lock.release()
        with suppress(OSError):  # the block may have removed the folder
            if {*folder.iterdir()} <= {folder / ".lock"}:
                (folder / ".lock").unlink(missing_ok=True)
                folder.rmdir()


def _claim(handle: int) -> None:
    """Lock what this process is writing; the lock ends with the process, in whatever way."""
    if sys.platform == "win32":  # where nobody can remove a file that is open
        return
    import fcntl

    with suppress(OSError):  # there are filesystems without locks
        fcntl.flock(handle, fcntl.LOCK_EX)


def _remove_unfinished(folder: Path) -> None:
    """Remove what killed processes were writing, and nothing that a process has claimed."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        with suppress(OSError), _unclaimed(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _unclaimed(path: Path) -> Iterator[None]:
    """Hold the lock of `_claim`; an OSError: another process has it."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, document: Any) -> None:
    """Write an indented JSON document, whole or not at all; see `json_text`."""
    write_text(path, json_text(document) + "\n")


def json_text(document: Any) -> str:
    """Return an indented JSON document, null where a number is not finite: JSON knows none."""
    return json.dumps(_finite_only(document), indent=2)


def _finite_only(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite_only(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite_only(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_bytes(path: str | Path, largest: int = LARGEST_DOCUMENT) -> bytes:
    """Read a file of at most ``largest`` bytes; of a larger one no more is read.

    Raises:
        DataError: the file is missing, unreadable or too large.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:  # a ValueError: its name has a null character
        raise DataError(path, f"cannot be read ({getattr(error, 'strerror', error)})") from None
    if len(content) > largest:
        raise DataError(path, f"is larger than {largest >> 20} MiB; is it the right file?")
    return content


def read_text(path: str | Path) -> str:
    """Read UTF-8 text; raises what `read_bytes` does, and DataError where it is no text."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 text ({error.reason})") from None


def parse_json(text: str) -> Any:
    """Parse a JSON document from anywhere.

    Raises:
        ValueError: it is none; has nan or infinity, which JSON does not know; or is nested deeper,
            or has longer numbers, than any document of ours.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def read_json(path: str | Path) -> Any:
    """Read a JSON document.

    Raises:
        DataError: the file is missing, unreadable, too large or not JSON.
    """
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise DataError(path, f"is not JSON ({error}); it may be truncated") from None


def validated(
    kind: type[Model], document: Any, path: str | Path, remedy: str, within: str = ""
) -> Model:
    """Make a pydantic model of a document that was read.

    Args:
        kind: the model.
        document: what a file held.
        path: of the file.
        remedy: what to do where it does not fit.
        within: the name of the part of the file that the document is.

    Raises:
        DataError: it does not fit; names the first field that does not, and others that do not
            for the same reason.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        errors = error.errors()
        alike = [each for each in errors if each["msg"] == errors[0]["msg"]]
        fields = [".".join(map(str, each["loc"])) or kind.__name__ for each in alike]
        where = ", ".join(f"{within} {field!r}" if within else field for field in fields[:9])
        raise DataError(path, f"{where}: {errors[0]['msg']}; {remedy}") from None
