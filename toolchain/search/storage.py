"""A search's trials: in a database for keeps, and in memory for the algorithms to ask.

Optuna writes every parameter of a trial by itself: two dozen transactions, a tenth of a second. The
algorithms therefore work on a copy of the study in memory, and the database gets a trial in one
piece where it needs no training, and else all its parameters at once when it begins, and its result
when it ends. What is there is an ordinary Optuna study, for its dashboard as for anything else.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from export.system.errors import DataError
from toolchain.search.database import close, explained, identity, open_database, opened, shown
from toolchain.search.kept_result import NAME, KeptResult
from toolchain.search.space import SearchSpace
from toolchain.search.stored_trials import (
    CANDIDATE,
    RESCORED,
    Rescored,
    rescored_trials,
    stored_trials,
)

log = logging.getLogger(__name__)
STUDY = "nastool"


class StudyStorage:
    """The trials of one search, of which one process at a time is in charge.

    Args:
        url: of the database; a study is made in it if there is none.
        space: the decisions of a trial.
        sampler: makes the algorithm for the trial of a number. One trial's draws so depend on the
            seed, its number and the trials before it, and on nothing that an interruption loses.
        objectives: values of a result; the first is maximised, the others are minimised.
        folder: of the run, where a result is kept that the database does not take.

    Attributes:
        interrupted: trials that had begun and not ended when the storage was opened.
    """

    def __init__(
        self,
        url: str,
        space: SearchSpace,
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        objectives: int = 1,
        folder: Path | None = None,
    ):
        self._space, self._sampler, self._folder = space, sampler, folder
        self._url, self._database = url, open_database(url)
        self._identity = identity(url)
        directions = ["maximize"] + ["minimize"] * (objectives - 1)
        with self._explained():
            optuna.create_study(
                study_name=STUDY, storage=self._database, directions=directions, load_if_exists=True
            )
            self._id = self._database.get_study_id_from_name(STUDY)
        begun = stored_trials(url, self._database, self._id)
        self._memory = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(storage=self._memory, directions=directions)
        mine = self._memory.get_study_id_from_name(self._study.study_name)
        # Where the database and the memory keep each trial.
        self._stored: dict[int, int] = {}
        self._remembered: dict[int, int] = {}
        self.interrupted: list[FrozenTrial] = []
        for trial in begun:
            if trial.distributions != dict(self._space.distributions):
                problem = f"has other decisions in trial {trial.number}; give --storage another one"
                raise DataError(shown(url), problem)
            self._stored[trial.number] = trial._trial_id
            self._remembered[trial.number] = self._memory.create_new_trial(mine, trial)
            if not trial.state.is_finished():
                self.interrupted.append(trial)
        self._take_over()

    def close(self) -> None:
        """Close the database."""
        close(self._database)

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
        with self._explained():
            place = self._stored[number] = self._database.create_new_trial(self._id, trial)
            if self._database.get_trial_id_from_study_id_trial_number(self._id, number) != place:
                raise DataError(
                    shown(self._url), "another search writes to this study; give each its own"
                )

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
        result = {"candidate": candidate, "state": state, "values": values}
        result |= {"expected": expected, "excess": excess}
        with self._keeping(number, **result), self._explained():
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

    def rescored(self) -> dict[int, Rescored]:
        """Return what was noted by `rescore`, by the number of the trial."""
        return rescored_trials(self._url, self._database, self._id)

    def rescore(self, number: int, outcome: Rescored) -> None:
        """Note what a longer training of a finished trial gave."""
        with self._keeping(number, rescored=outcome), self._explained():
            self._database.set_study_user_attr(self._id, f"{RESCORED}{number}", dict(outcome))

    @contextmanager
    def _keeping(self, number: int, **result: Any) -> Iterator[None]:
        """Keep the result of a training where the block cannot write it into the database."""
        try:
            yield
        except DataError as error:
            kept = self._folder and KeptResult(number=number, **result).save(self._folder)
            then = f"{NAME} keeps the result" if kept else "what was not stored is trained again"
            raise DataError(error.path, f"{error.problem}: {then}") from None

    def _take_over(self) -> None:
        """Note the result that the database did not take when it was there."""
        if self._folder is None or (kept := KeptResult.load(self._folder)) is None:
            return
        fits, number = False, kept.number
        if kept.rescored is not None:
            fits = number in {trial.number for trial in self.finished}
            if fits:
                self.rescore(number, kept.rescored)
        for drawn in [trial for trial in self.interrupted if trial.number == number]:
            fits = kept.is_of(self._space.decode(drawn.params))
            if fits and kept.candidate:
                self.interrupted.remove(drawn)
                candidate, ended = asdict(kept.candidate), TrialState(kept.state)
                more: Any = {"expected": kept.expected, "excess": kept.excess}
                self.finish(number, candidate, ended, kept.values, **more)
        if fits:
            (self._folder / NAME).unlink()
        else:
            log.warning("%s is of other trials; it is left alone", self._folder / NAME)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what goes wrong with the database; SQLite would go on in a file that is removed."""
        what = "cannot be written ({reason}); put that right, then go on with --resume"
        with explained(self._url, what):
            yield
            if identity(self._url) != self._identity:
                raise DataError(
                    shown(self._url), "was replaced while the search wrote to it; bring it back"
                )


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


def read_study(url: str) -> tuple[list[FrozenTrial], dict[int, Rescored]]:
    """Read the finished trials of a study by number, and what longer trainings of some gave.

    Raises:
        DataError: there is no study, or none that can be read.
    """
    with opened(url) as database:
        if (study := _study_in(database)) is None:
            raise DataError(
                shown(url),
                "is gone or empty, and the run's config.json is there; bring its trials back, or "
                "search into a new folder",
            )
        assert database
        trials = stored_trials(url, database, study)
        ended = [trial for trial in trials if trial.state.is_finished()]
        return ended, rescored_trials(url, database, study)


def holds_search(url: str) -> bool:
    """Say whether a database has a search that has begun; raises what `opened` raises."""
    with opened(url) as database:
        study = _study_in(database)
        return study is not None and bool(database and database.get_all_trials(study))


def _study_in(database: optuna.storages.BaseStorage | None) -> int | None:
    """Return our study's number in a database; None: it has none."""
    studies = database.get_all_studies() if database else []
    return next((study._study_id for study in studies if study.study_name == STUDY), None)
