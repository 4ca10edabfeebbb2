"""Files that appear whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from export.errors import DataError, UsageError

Model = TypeVar("Model", bound=BaseModel)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds.

    The parent folder is made. When the block raises, ``path`` is untouched and the temporary file
    is removed. The temporary name keeps the suffix, because some writers choose a format by it.

    Raises:
        DataError: the folder cannot be made or written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=path.suffix)
    except OSError as error:
        raise DataError(
            path, f"cannot be written ({error.strerror}); choose another path"
        ) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        try:
            temporary.replace(path)
        except OSError as error:  # a folder is there
            raise DataError(
                path, f"cannot be written ({error.strerror}); choose another path"
            ) from None
    finally:
        temporary.unlink(missing_ok=True)


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
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            yield new
            if folder.exists():
                folder.rename(Path(temporary) / "old")
            new.rename(folder)
    except OSError as error:
        raise DataError(
            folder, f"cannot be written ({error.strerror or error}); choose another folder"
        ) from None


def _replaceable(folder: Path, marks: Sequence[str]) -> bool:
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or all((folder / mark).is_file() for mark in marks)


@contextmanager
def only_one(folder: str | Path) -> Iterator[None]:
    """Make a folder, and keep other processes of this machine out of the block for it.

    A process that is killed keeps nobody out. A folder that the block leaves empty is removed.

    Raises:
        UsageError: another process is in the block.
        DataError: the folder cannot be made.
    """
    folder = Path(folder)
    lock = FileLock(folder / ".lock", blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"{folder}: another process is at work there; wait for it or end it"
        ) from None
    except OSError as error:
        raise DataError(
            folder, f"cannot be made ({error.strerror}); choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # the block may have removed the folder
            if {*folder.iterdir()} <= {folder / ".lock"}:
                (folder / ".lock").unlink(missing_ok=True)
                folder.rmdir()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, document: Any) -> None:
    """Write an indented JSON document, whole or not at all."""
    write_text(path, json.dumps(document, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON document.

    Raises:
        DataError: the file is missing, unreadable or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
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
