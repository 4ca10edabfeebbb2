"""The database of a study: found by any name, waited for, and never another program's.

That of a run is SQLite in its folder, unless another one is named by its URL.
"""

import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna

from export.system.errors import DataError, NastoolError
from toolchain.settings.search_settings import SQLITE, without_password

log = logging.getLogger(__name__)
DATABASE = "study.db"
MEMORY = "memory:"
"""The storage of a search that nobody will continue or read: it ends with the process."""
PATIENCE = 60.0
"""Seconds for which a SQLite database is waited for that another program has locked."""
SILENCE = 3.0
"""Seconds after which it is said that a database is waited for."""


def storage_url(path: Path, storage: str | None) -> str:
    """Return the database URL of a run: the one that was asked for, or SQLite in the folder."""
    return storage or f"{SQLITE}{(path / DATABASE).resolve()}"


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite database, whatever characters are in its name."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def identity(url: str) -> tuple[int, int] | None:
    """Return what tells the file of a SQLite database from another one of its name."""
    if (file := file_of(url)) is None:
        return None
    found = file.stat()
    return found.st_dev, found.st_ino


def shown(url: str) -> str:
    """Return a database URL as messages show it: the file of SQLite; without a password."""
    return str(file_of(url) or without_password(url))


@contextmanager
def explained(url: str, what: str) -> Iterator[None]:
    """Make one line of what goes wrong with a database; say so where it keeps the block waiting.

    Args:
        url: of the database.
        what: cannot be done, and perhaps what to do.

    Raises:
        DataError: the block raises anything but a `NastoolError`.
    """
    waiting = threading.Timer(SILENCE, _say_if_locked, [url])
    waiting.daemon = True
    waiting.start()
    try:
        yield
    except NastoolError:
        raise
    except Exception as error:  # drivers, SQLAlchemy and Optuna raise unrelated types here
        cause: BaseException = error
        while cause.__cause__:  # they wrap what the driver says
            cause = cause.__cause__
        said = getattr(cause, "strerror", None) or str(cause)
        reason = (said.splitlines() or [type(cause).__name__])[0]
        raise DataError(shown(url), what.format(reason=reason)) from None
    finally:
        waiting.cancel()


def _say_if_locked(url: str) -> None:
    file = file_of(url)
    if file and file.exists():
        try:
            with closing(sqlite3.connect(file, timeout=0)) as probe:
                probe.execute("BEGIN IMMEDIATE")
            return  # what takes its time is not the database
        except sqlite3.Error as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return
    log.warning("waiting for %s: another program has locked it, or it is far away", shown(url))


def open_database(url: str) -> optuna.storages.BaseStorage:
    """Open a database for a search to write its trials; make its tables if it has none.

    Raises:
        DataError: it cannot be opened, is damaged, or is not a database of studies.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url == MEMORY:
        return optuna.storages.InMemoryStorage()
    with explained(url, "cannot be opened ({reason})"):
        has_studies(url)
        return _Database(*_address(url, to_write=True), skip_compatibility_check=False)


def close(database: optuna.storages.BaseStorage) -> None:
    """Close a database."""
    database.remove_session()
    if isinstance(database, optuna.storages.RDBStorage):
        database.engine.dispose()


@contextmanager
def opened(url: str) -> Iterator[optuna.storages.BaseStorage | None]:
    """Open a database to be read, and leave it as it is; None: it has no studies yet.

    Raises:
        DataError: it cannot be opened, is damaged, or is not a database of studies.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with ExitStack() as stack:
        stack.enter_context(explained(url, "cannot be read ({reason})"))
        if not _writable(url):
            url = _copied(url, Path(stack.enter_context(TemporaryDirectory())))
        if not has_studies(url):
            yield None
            return
        database = _Database(*_address(url), skip_compatibility_check=False)
        stack.callback(close, database)
        yield database


def has_studies(url: str) -> bool:
    """Say whether a database is there and has the tables of studies; change nothing in it.

    Raises:
        DataError: it is damaged, or another program's.
        Exception: it cannot be reached; see `explained`.
    """
    import sqlalchemy
    from optuna.storages._rdb.models import BaseModel

    file, ours = file_of(url), BaseModel.metadata.tables
    if file and not file.exists():
        return False
    if file and not file.is_file():
        raise DataError(file, "is not a file; give --storage another one")
    address, options = _address(url)
    engine = sqlalchemy.create_engine(address, **options)
    try:
        if file:
            with engine.connect() as connection:
                found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
            if found != "ok":
                problem = str(found).splitlines()[-1]
                raise DataError(file, f"is damaged ({problem}); bring back a copy of it")
        inspector = sqlalchemy.inspect(engine)
        tables = {*inspector.get_table_names()}
        for name in ours.keys() & tables:
            columns = {column["name"] for column in inspector.get_columns(name)}
            if not columns >= {*ours[name].columns.keys()}:
                raise _foreign(url, {name})
        # A server's database may be of several programs.
        foreign = tables - ours.keys() - {"alembic_version"}
        if file and foreign and ours.keys() - tables:
            raise _foreign(url, foreign)
        return bool(ours.keys() & tables)
    finally:
        engine.dispose()


def _foreign(url: str, tables: set[str]) -> DataError:
    names = ", ".join(sorted(tables)[:3])
    return DataError(
        shown(url), f"is another program's (it has a table {names}); give --storage another one"
    )


def _address(url: str, *, to_write: bool = False) -> tuple[str, dict[str, Any]]:
    """Return a URL for SQLAlchemy, and the options of its engine."""
    import sqlalchemy

    if (file := file_of(url)) is None:
        # A server may have closed a connection while candidates were trained: ask before use.
        return url, {"pool_pre_ping": True}
    # In a URL some characters of a file's name would mean something else.
    connect = partial(_connect, file, to_write)
    return "sqlite://", {"creator": connect, "poolclass": sqlalchemy.pool.QueuePool}


def _connect(file: Path, to_write: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=PATIENCE, check_same_thread=False)
    if to_write:
        # With a write-ahead log a killed process still loses nothing that was committed, and a
        # commit no longer waits for the disk.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _writable(url: str) -> bool:
    """Say whether SQLite can write beside what it reads, as it needs to."""
    file = file_of(url)
    places = (file, file.parent) if file and file.exists() else ()
    return all(os.access(place, os.W_OK) for place in places)


def _copied(url: str, folder: Path) -> str:
    """Copy a SQLite database, with what was committed to it last."""
    file = file_of(url)
    assert file
    for suffix in ("", "-wal"):
        part = file.with_name(file.name + suffix)
        if part.exists():
            shutil.copyfile(part, folder / part.name)
    return f"{SQLITE}{folder / file.name}"


class _Database(optuna.storages.RDBStorage):
    """Optuna's storage, without three queries a parameter that find nothing.

    They check that a parameter means the same in all trials, which the search space sees to. Should
    Optuna come to call this otherwise, nothing is lost but the time.
    """

    def _set_trial_param_without_commit(
        self,
        session: Any,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: optuna.distributions.BaseDistribution,
        previous_distribution: optuna.distributions.BaseDistribution | None = None,
    ) -> None:
        from optuna.storages._rdb.models import TrialParamModel

        session.add(
            TrialParamModel(
                trial_id=trial_id,
                param_name=param_name,
                param_value=param_value_internal,
                distribution_json=optuna.distributions.distribution_to_json(distribution),
            )
        )
