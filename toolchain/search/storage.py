"""The database of a run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from export.errors import DataError

STUDY = "nastool"
DATABASE = "study.db"
FACTS = "candidate"
"""The attribute of a trial that holds what is known of the candidate."""
_SQLITE = "sqlite:///"


class _Storage(optuna.storages.RDBStorage):
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


def storage_url(path: Path, storage: str | None) -> str:
    """Return the database URL of a run: the one that was asked for, or SQLite in the folder."""
    return storage or f"{_SQLITE}{(path / DATABASE).resolve()}"


def shown(url: str) -> str:
    """Return a database URL as messages show it: the file of SQLite; without a password."""
    without = re.sub(r"([^:/@]*):(?!//)[^@]*@", r"\1:***@", url.removeprefix(_SQLITE))
    return re.sub(r"([?&]password=)[^&]*", r"\1***", without)


def is_missing(url: str) -> bool:
    """Say whether a database is a file that does not exist; opening it would make it."""
    return url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists()


def open_storage(url: str, *, to_write: bool = False) -> optuna.storages.RDBStorage:
    """Open a database, make its tables if it has none.

    Args:
        url: of the database.
        to_write: a search will write its trials.

    Raises:
        DataError: it cannot be opened, or is not a database of studies.
    """
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # A server may have closed a connection while candidates were trained: ask before use.
    options = {} if url.startswith(_SQLITE) else {"pool_pre_ping": True}
    try:
        storage = _Storage(url, options, skip_compatibility_check=False)
    except Exception as error:  # drivers, SQLAlchemy and Optuna raise unrelated types here
        # SQLAlchemy wraps what the driver says.
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise DataError(shown(url), f"cannot be opened ({reason})") from None
    if to_write and url.startswith(_SQLITE):
        # With a write-ahead log a killed process still loses nothing that was committed, and a
        # commit no longer waits for the disk.
        sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()
    return storage


def close_storage(storage: optuna.storages.RDBStorage) -> None:
    """Close the connections to a database."""
    storage.remove_session()
    storage.engine.dispose()


@contextmanager
def opened(url: str) -> Iterator[optuna.storages.RDBStorage]:
    """Open a database for a while, to read; raises what `open_storage` raises."""
    storage = open_storage(url)
    try:
        yield storage
    finally:
        close_storage(storage)


def holds_search(url: str) -> bool:
    """Say whether a database has a search already; raises what `open_storage` raises."""
    if is_missing(url):
        return False
    with opened(url) as storage:
        return any(study.study_name == STUDY for study in storage.get_all_studies())


def _write_ahead(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
