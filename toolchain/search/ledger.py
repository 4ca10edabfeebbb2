"""A search's study: in the database for keeps, and in memory for the algorithms to ask.

Optuna writes every parameter of a trial by itself: two dozen transactions, a tenth of a second. The
algorithms therefore work on a copy of the study in memory, and the database gets a trial in two
pieces: its parameters when it begins, its result when it ends. What is there is an ordinary Optuna
study, for its dashboard as for anything else.
"""

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from export.errors import DataError
from toolchain.search.space import SearchSpace
from toolchain.search.storage import FACTS, STUDY, close_storage, open_storage, shown


class Ledger:
    """The trials of one search, of which one process at a time is in charge.

    Args:
        url: of the database; a study is made in it if there is none.
        space: the decisions of a trial.
        sampler: makes the algorithm for the trial of a number. One trial's draws so depend on the
            seed, its number and the trials before it, and on nothing that an interruption loses.
        objectives: values of a result; the first is maximised, the others are minimised.

    Attributes:
        interrupted: trials that had begun and not ended when the ledger was opened.
    """

    def __init__(
        self,
        url: str,
        space: SearchSpace,
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        objectives: int = 1,
    ):
        self._space, self._sampler = space, sampler
        self._file, self._storage = shown(url), open_storage(url, to_write=True)
        directions = ["maximize"] + ["minimize"] * (objectives - 1)
        optuna.create_study(
            study_name=STUDY, storage=self._storage, directions=directions, load_if_exists=True
        )
        self._id = self._storage.get_study_id_from_name(STUDY)
        self._memory = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(storage=self._memory, directions=directions)
        mine = self._memory.get_study_id_from_name(self._study.study_name)
        # Where the database keeps each trial.
        self._places: dict[int, int] = {}
        self.interrupted: list[FrozenTrial] = []
        for trial in self._storage.get_all_trials(self._id, deepcopy=False):
            self._places[trial.number] = trial._trial_id
            self._memory.create_new_trial(mine, trial)
            if not trial.state.is_finished():
                self.interrupted.append(trial)

    def close(self) -> None:
        """Close the database."""
        close_storage(self._storage)

    @property
    def finished(self) -> list[FrozenTrial]:
        """The finished trials, in the order in which they finished."""
        trials = self._study.get_trials(deepcopy=False)
        return sorted(filter(_is_finished, trials), key=ending_order)

    def begin(self) -> FrozenTrial:
        """Have the algorithm draw the next trial, and note that it has begun.

        Raises:
            DataError: somebody else writes to the study.
        """
        self._study.sampler = self._sampler(len(self._places))
        number = self._study.ask(dict(self._space.distributions)).number
        trial = self._study.get_trials(deepcopy=False)[number]
        place = self._places[number] = self._storage.create_new_trial(self._id, trial)
        if self._storage.get_trial_id_from_study_id_trial_number(self._id, number) != place:
            raise DataError(self._file, "another search writes to this study; give each its own")
        return trial

    def finish(
        self, number: int, facts: dict[str, Any], state: TrialState, values: Sequence[float] | None
    ) -> FrozenTrial:
        """Note how a trial ended.

        Args:
            number: of the trial.
            facts: what is known of the candidate, JSON-ready.
            state: how it ended.
            values: its result, if it has one.
        """
        trial = self._study.get_trials(deepcopy=False)[number]
        for storage, place in (
            (self._storage, self._places[number]),
            (self._memory, trial._trial_id),
        ):
            # The facts come first: a trial that has ended is whole.
            storage.set_trial_user_attr(place, FACTS, facts)
            storage.set_trial_state_values(place, state, values)
        return self._memory.get_trial(trial._trial_id)


def ending_order(trial: FrozenTrial) -> int:
    """Return how many trials had ended before this one."""
    order: int = trial.user_attrs[FACTS].get("order", trial.number)
    return order


def _is_finished(trial: FrozenTrial) -> bool:
    return trial.state.is_finished()
