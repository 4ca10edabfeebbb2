"""Files that appear whole or not at all."""

import errno
import json
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

from export.errors import DataError, UsageError

Model = TypeVar("Model", bound=BaseModel)
_UNFINISHED = ".partial-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds.

    The parent folder is made. When the block raises, ``path`` is untouched and the temporary file
    is removed; when the process is killed, the next owner of the folder removes it (`only_one`).
    The temporary name keeps the suffix, because some writers choose a format by it.

    Raises:
        DataError: the folder cannot be made or written to, or the disk is full.
    """
    path = Path(path)
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
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


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
    """Write an indented JSON document, whole or not at all."""
    write_text(path, json.dumps(document, indent=2) + "\n")


def read_text(path: str | Path) -> str:
    """Read UTF-8 text.

    Raises:
        DataError: the file is missing, unreadable or something else.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not text ({error})") from None


def read_json(path: str | Path) -> Any:
    """Read a JSON document.

    Raises:
        DataError: the file is missing, unreadable or not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
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
        DataError: it does not fit; names the first field that does not.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or kind.__name__
        where = f"{within} {field!r}" if within else field
        raise DataError(path, f"{where}: {first['msg']}; {remedy}") from None
