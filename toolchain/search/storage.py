"""A search's trials: in a database for keeps, and in memory for the algorithms to ask.

Optuna writes every parameter of a trial by itself: two dozen transactions, a tenth of a second. The
algorithms therefore work on a copy of the study in memory, and the database gets a trial in one
piece where it needs no training, and else all its parameters at once when it begins, and its result
when it ends. What is there is an ordinary Optuna study, for its dashboard as for anything else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from export.errors import DataError
from toolchain.search.space import SearchSpace
from toolchain.settings.search_settings import without_password

STUDY = "nastool"
DATABASE = "study.db"
CANDIDATE = "candidate"
"""The attribute of a trial that holds what is known of its candidate."""
RESCORED = "rescored "
"""The attributes of the study that hold what longer trainings gave; a trial's number follows."""
_SQLITE = "sqlite:///"
MEMORY = "memory:"
"""The storage of a search that nobody will continue or read: it ends with the process."""


class StudyStorage:
    """The trials of one search, of which one process at a time is in charge.

    Args:
        url: of the database; a study is made in it if there is none.
        space: the decisions of a trial.
        sampler: makes the algorithm for the trial of a number. One trial's draws so depend on the
            seed, its number and the trials before it, and on nothing that an interruption loses.
        objectives: values of a result; the first is maximised, the others are minimised.

    Attributes:
        interrupted: trials that had begun and not ended when the storage was opened.
    """

    def __init__(
        self,
        url: str,
        space: SearchSpace,
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        objectives: int = 1,
    ):
        self._space, self._sampler = space, sampler
        self._file, self._database = shown(url), open_database(url, to_write=True)
        directions = ["maximize"] + ["minimize"] * (objectives - 1)
        optuna.create_study(
            study_name=STUDY, storage=self._database, directions=directions, load_if_exists=True
        )
        self._id = self._database.get_study_id_from_name(STUDY)
        self._memory = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(storage=self._memory, directions=directions)
        mine = self._memory.get_study_id_from_name(self._study.study_name)
        # Where the database and the memory keep each trial.
        self._stored: dict[int, int] = {}
        self._remembered: dict[int, int] = {}
        self.interrupted: list[FrozenTrial] = []
        for trial in self._database.get_all_trials(self._id, deepcopy=False):
            self._stored[trial.number] = trial._trial_id
            self._remembered[trial.number] = self._memory.create_new_trial(mine, trial)
            if not trial.state.is_finished():
                self.interrupted.append(trial)

    def close(self) -> None:
        """Close the database."""
        _close(self._database)

    @property
    def finished(self) -> list[FrozenTrial]:
        """The finished trials, in the order in which they finished."""
        return ended(self._study.get_trials(deepcopy=False))

    def draw(self) -> FrozenTrial:
        """Have the algorithm draw the next trial; `begin` or `finish` it before the next one."""
        self._study.sampler = self._sampler(len(self._remembered))
        trial = self._study.ask(dict(self._space.distributions))
        self._remembered[trial.number] = trial._trial_id
        return self._memory.get_trial(trial._trial_id)

    def begin(self, number: int) -> None:
        """Note that a trial has begun: were the search killed, it would come first again.

        Raises:
            DataError: somebody else writes to the study.
        """
        if number in self._stored:
            return
        trial = self._memory.get_trial(self._remembered[number])
        place = self._stored[number] = self._database.create_new_trial(self._id, trial)
        if self._database.get_trial_id_from_study_id_trial_number(self._id, number) != place:
            raise DataError(self._file, "another search writes to this study; give each its own")

    def finish(
        self,
        number: int,
        candidate: Mapping[str, Any],
        state: TrialState,
        values: Sequence[float] | None = None,
        *,
        expected: float | None = None,
        excess: float | None = None,
    ) -> FrozenTrial:
        """Note how a trial ended.

        Args:
            number: of the trial.
            candidate: what is known of it, JSON-ready.
            state: how it ended.
            values: its result, if it has one.
            expected: the reward that could be expected after stage 0 (an intermediate value).
            excess: by what share it is over its budgets (a constraint).

        Raises:
            DataError: somebody else writes to the study.
        """
        places: list[tuple[optuna.storages.BaseStorage, int]]
        places = [(self._memory, self._remembered[number])]
        if number in self._stored:
            places.append((self._database, self._stored[number]))
        for storage, place in places:
            # What has ended is whole: the attributes come first.
            storage.set_trial_user_attr(place, CANDIDATE, dict(candidate))
            if expected is not None:
                storage.set_trial_intermediate_value(place, 0, expected)
            if excess is not None:
                for key, value in _constraint(excess).items():
                    storage.set_trial_system_attr(place, key, value)
            storage.set_trial_state_values(place, state, values)
        self.begin(number)  # what was ended at once is stored in one piece
        return self._memory.get_trial(self._remembered[number])

    def rescored(self) -> dict[int, dict[str, Any]]:
        """Return what was noted by `rescore`, by the number of the trial."""
        return _rescored(self._database, self._id)

    def rescore(self, number: int, outcome: Mapping[str, Any]) -> None:
        """Note what a longer training of a finished trial gave."""
        self._database.set_study_user_attr(self._id, f"{RESCORED}{number}", dict(outcome))


def _constraint(excess: float) -> dict[str, Any]:
    """Return the attributes by which Optuna knows a constraint; over 0 it is not met."""
    trial = optuna.trial.create_trial(value=0.0)
    trial.set_constraint("budget", excess)
    return trial.system_attrs


def ended(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have ended, in the order in which they did."""
    return sorted(
        (trial for trial in trials if trial.state.is_finished()),
        key=lambda trial: trial.user_attrs[CANDIDATE].get("order", trial.number),
    )


def read_study(url: str) -> tuple[list[FrozenTrial], dict[int, dict[str, Any]]]:
    """Read the finished trials of a study by number, and what longer trainings of some gave.

    Raises:
        DataError: there is no readable study.
    """
    if is_missing(url):
        raise DataError(shown(url), "does not exist: the search has not begun")
    with _opened(url) as database:
        try:
            study = optuna.load_study(study_name=STUDY, storage=database)
        except KeyError:
            raise DataError(shown(url), "holds no search") from None
        trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
        return trials, _rescored(database, database.get_study_id_from_name(STUDY))


def _rescored(database: optuna.storages.BaseStorage, study: int) -> dict[int, dict[str, Any]]:
    return {
        int(key.removeprefix(RESCORED)): value
        for key, value in database.get_study_user_attrs(study).items()
        if key.startswith(RESCORED)
    }


def holds_search(url: str) -> bool:
    """Say whether a database has a search already; raises what `open_database` raises."""
    if is_missing(url):
        return False
    with _opened(url) as database:
        return any(study.study_name == STUDY for study in database.get_all_studies())


def storage_url(path: Path, storage: str | None) -> str:
    """Return the database URL of a run: the one that was asked for, or SQLite in the folder."""
    return storage or f"{_SQLITE}{(path / DATABASE).resolve()}"


def shown(url: str) -> str:
    """Return a database URL as messages show it: the file of SQLite; without a password."""
    return without_password(url.removeprefix(_SQLITE))


def is_missing(url: str) -> bool:
    """Say whether a database is a file that does not exist; opening it would make it."""
    return url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists()


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


def open_database(url: str, *, to_write: bool = False) -> optuna.storages.BaseStorage:
    """Open a database, make its tables if it has none.

    Args:
        url: of the database.
        to_write: a search will write its trials.

    Raises:
        DataError: it cannot be opened, or is not a database of studies.
    """
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url == MEMORY:
        return optuna.storages.InMemoryStorage()
    # A server may have closed a connection while candidates were trained: ask before use.
    options = {} if url.startswith(_SQLITE) else {"pool_pre_ping": True}
    try:
        database = _Database(url, options, skip_compatibility_check=False)
    except Exception as error:  # drivers, SQLAlchemy and Optuna raise unrelated types here
        # SQLAlchemy wraps what the driver says.
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise DataError(shown(url), f"cannot be opened ({reason})") from None
    if to_write and url.startswith(_SQLITE):
        # With a write-ahead log a killed process still loses nothing that was committed, and a
        # commit no longer waits for the disk.
        sqlalchemy.event.listen(database.engine, "connect", _write_ahead)
        database.engine.dispose()
    return database


@contextmanager
def _opened(url: str) -> Iterator[optuna.storages.BaseStorage]:
    database = open_database(url)
    try:
        yield database
    finally:
        _close(database)


def _close(database: optuna.storages.BaseStorage) -> None:
    database.remove_session()
    if isinstance(database, optuna.storages.RDBStorage):
        database.engine.dispose()


def _write_ahead(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
