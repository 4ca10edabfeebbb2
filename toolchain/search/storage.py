"""The database of a run."""

from pathlib import Path
from typing import Any

import optuna

from export.errors import DataError

STUDY = "nastool"
DATABASE = "study.db"
_SQLITE = "sqlite:///"


def storage_url(path: Path, storage: str | None) -> str:
    """Return the database URL of a run: the one that was asked for, or SQLite in the folder."""
    return storage or f"{_SQLITE}{(path / DATABASE).resolve()}"


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open a database, make its tables if it has none.

    Raises:
        DataError: it cannot be opened, or is not a database of studies.
    """
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(url, skip_compatibility_check=False)
    except Exception as error:  # drivers, SQLAlchemy and Optuna raise unrelated types here
        reason = str(error).splitlines()[0]
        raise DataError(url.removeprefix(_SQLITE), f"cannot be opened ({reason})") from None
    if url.startswith(_SQLITE):
        # A trial is some 25 small commits. With a write-ahead log a killed process still loses
        # nothing that was committed, and a commit no longer waits for the disk.
        sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()
    return storage


def _write_ahead(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
