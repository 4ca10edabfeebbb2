"""A run folder, read back: its settings, its trials, and the candidates that it ends in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from optuna.trial import FrozenTrial
from pydantic import ValidationError

from export.errors import DataError, UsageError
from export.files import read_json
from toolchain.search.pareto import default_objectives, knee, pareto_front
from toolchain.search.storage import CANDIDATE, read_study, storage_url
from toolchain.search.trial import Trial, TrialState
from toolchain.settings.base import FILE_NAME, read_record
from toolchain.settings.search_settings import SearchSettings

RANKING = "rank.json"


@dataclass(frozen=True)
class Run:
    """A search, read back.

    Attributes:
        path: its folder, or a published log.
        document: its settings, as they are shown.
        trials: in the order of their numbers, with the scores of the search.
        finalists: the trials that it ends in; see `finalists`.
        ranking: what `nastool rank` has found, if it has.
    """

    path: Path
    document: Mapping[str, Any]
    trials: list[Trial]
    finalists: list[Trial]
    ranking: Mapping[str, Any] | None = None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a run folder.

        Raises:
            DataError: the folder is not a run, or one of another version.
        """
        path = Path(path)
        if not (path / FILE_NAME).is_file():
            raise DataError(path, f"is not a run folder (it has no {FILE_NAME})")
        document, _ = read_record(path / FILE_NAME)
        trials, rescored = read_study(storage_url(path, document.get("storage")))
        records = [read_trial(trial) for trial in trials]
        ranking = read_json(path / RANKING) if (path / RANKING).is_file() else None
        return cls(path, document, records, finalists(records, rescored), ranking)

    @property
    def settings(self) -> SearchSettings:
        """The settings of the search.

        Raises:
            DataError: the file does not hold those of a search.
        """
        try:
            return SearchSettings(**self.document)
        except (ValidationError, TypeError):
            raise DataError(
                self.path / FILE_NAME, "does not hold the settings of a search"
            ) from None


def read_trial(stored: FrozenTrial) -> Trial:
    """Make a record of a finished trial of a study."""
    known = stored.user_attrs[CANDIDATE]
    return Trial(**known | {"state": TrialState(known["state"])})


def finalists(trials: Sequence[Trial], rescored: Mapping[int, Mapping[str, Any]]) -> list[Trial]:
    """Return the trials that best, knee and front are chosen among.

    Those that were scored again after a longer training, with that score and its reward: a score of
    the search is that of a lucky one among many. Where there are none, all that have a score.
    """
    scored = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    again = [
        replace(
            trial,
            search_score=trial.score,
            score=rescored[trial.id]["score"],
            reward=rescored[trial.id]["reward"],
        )
        for trial in scored
        if trial.id in rescored
    ]
    return again or scored


def worth_rescoring(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Choose the candidates to score again: the front, what is a front without it, and so on.

    Within one front the highest reward comes first.
    """
    left = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    chosen: list[Trial] = []
    while left and len(chosen) < count:
        front = pareto_front(left, default_objectives(left))
        chosen += sorted(front, key=reward_of, reverse=True)
        taken = {trial.id for trial in front}
        left = [trial for trial in left if trial.id not in taken]
    return chosen[:count]


def pick(path: str | Path, which: str) -> list[Trial]:
    """Choose candidates of a run.

    Args:
        path: the run folder.
        which: "best" (highest reward), "knee" or "pareto" (of the front of score and costs) of the
            `finalists`, or a trial's number.

    Raises:
        UsageError: there is no such candidate.
    """
    run = Run.load(path)
    if not run.finalists:
        raise UsageError(f"{path}: the run has no complete candidate yet")
    objectives = default_objectives(run.finalists)
    if which == "best":
        return [max(run.finalists, key=reward_of)]
    if which == "knee":
        return [knee(pareto_front(run.finalists, objectives), objectives)]
    if which == "pareto":
        return pareto_front(run.finalists, objectives)
    for trial in run.trials:
        if str(trial.id) == which and trial.state is not TrialState.INFEASIBLE:
            return [trial]
    raise UsageError(
        f"--pick is best, knee, pareto or the number of a trial that is no infeasible one, "
        f"not {which!r}"
    )


def reward_of(trial: Trial) -> float:
    """Return a trial's reward, 0 where it has none."""
    return trial.reward or 0.0
