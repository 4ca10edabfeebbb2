"""The trials that a database says a search has made: a database may come from anywhere."""

import math
from typing import Annotated

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from export.system.errors import DataError, UsageError
from toolchain.search.database import explained, shown
from toolchain.search.trial import Trial, TrialState

CANDIDATE = "candidate"
"""The attribute of a trial that holds what is known of its candidate."""
RESCORED = "rescored "
"""The attributes of the study that hold what longer trainings gave; a trial's number follows."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
_UNREADABLE = "cannot be read ({reason}); bring back a copy of it"


class Rescored(TypedDict):
    """What a longer training of a finished trial gave; without a score it failed."""

    score: Finite | None
    reward: Finite | None
    seconds: Finite


_TRIAL, _RESCORED = TypeAdapter(Trial), TypeAdapter(Rescored)


def read_trial(stored: FrozenTrial) -> Trial:
    """Make a record of a finished trial of a study.

    Raises:
        UsageError: it is none of a search.
    """
    try:
        trial = _TRIAL.validate_python(stored.user_attrs.get(CANDIDATE))
    except ValidationError as error:
        raise _foreign(stored, error) from None
    problem = None
    if trial.id != stored.number:
        problem = f"id: it is {trial.id}"
    elif trial.state is TrialState.COMPLETE and (trial.score is None or trial.reward is None):
        problem = "score: a complete trial has one"
    if problem:
        raise _foreign(stored, problem)
    return trial


def _foreign(stored: FrozenTrial, problem: str | ValidationError) -> UsageError:
    if isinstance(problem, ValidationError):
        first = problem.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return UsageError(
        f"trial {stored.number} of the study is none of nastool search ({problem}); take another "
        "run or --storage"
    )


def stored_trials(url: str, database: optuna.storages.BaseStorage, study: int) -> list[FrozenTrial]:
    """Return the trials of a study by number; the finished ones are those of a search.

    Raises:
        DataError: the database cannot be read, or has what no search has written.
    """
    with explained(url, _UNREADABLE):
        trials = database.get_all_trials(study, deepcopy=False)
        objectives = len(database.get_study_directions(study))
        for number, trial in enumerate(trials):
            if trial.number != number or not _has_values(trial, objectives):
                raise DataError(
                    shown(url), f"is damaged (trial {number} is not whole); bring back a copy of it"
                )
            if trial.state.is_finished():
                try:
                    read_trial(trial)
                except UsageError as error:
                    raise DataError(shown(url), str(error)) from None
    return trials


def _has_values(trial: FrozenTrial, objectives: int) -> bool:
    """Say whether a trial has the values that one of its state has."""
    values = trial.values
    if values is None:
        return trial.state is not OptunaState.COMPLETE
    return len(values) == objectives and all(map(math.isfinite, values))


def rescored_trials(
    url: str, database: optuna.storages.BaseStorage, study: int
) -> dict[int, Rescored]:
    """Return what longer trainings gave, by the number of the trial.

    Raises:
        DataError: the database cannot be read, or has what no search has written.
    """
    with explained(url, _UNREADABLE):
        return {
            int(key.removeprefix(RESCORED)): _RESCORED.validate_python(value)
            for key, value in database.get_study_user_attrs(study).items()
            if key.startswith(RESCORED)
        }
