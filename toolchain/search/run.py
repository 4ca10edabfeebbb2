"""A run folder, read back: its settings, its trials, and the candidates that it ends in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from export.system.errors import DataError, UsageError
from export.system.files import read_json
from toolchain.search.database import storage_url
from toolchain.search.pareto import (
    cost_values,
    default_objectives,
    knee,
    pareto_front,
    search_costs,
)
from toolchain.search.storage import read_study
from toolchain.search.stored_trials import Rescored, read_trial
from toolchain.search.trial import Trial, TrialState
from toolchain.settings.base import FILE_NAME, read_record
from toolchain.settings.search_settings import NOT_A_RUN, RANKING, SearchSettings


@dataclass(frozen=True)
class Run:
    """A search, read back.

    Attributes:
        path: its folder, or a published log.
        document: its settings, as they are shown.
        trials: in the order of their numbers, with the scores of the search.
        finalists: the trials that it ends in; see `finalists`.
        ranking: what `nastool rank` has found, if it has.
        settings: of the search; None: it is a published log.
    """

    path: Path
    document: Mapping[str, Any]
    trials: list[Trial]
    finalists: list[Trial]
    ranking: Mapping[str, Any] | None = None
    settings: SearchSettings | None = None

    @property
    def scored(self) -> list[Trial]:
        """The trials that have a score of the search, copied ones too."""
        return [trial for trial in self.trials if trial.score is not None]

    @property
    def complete(self) -> list[Trial]:
        """The trials that were trained to the end."""
        return [trial for trial in self.scored if trial.state is TrialState.COMPLETE]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a run folder.

        Raises:
            DataError: the folder is not a run, or one of another version.
        """
        path = Path(path)
        if not (path / FILE_NAME).is_file():
            raise DataError(path, NOT_A_RUN)
        settings, _ = read_record(path / FILE_NAME, SearchSettings)
        url = storage_url(path, settings.storage)
        stored, rescored = read_study(url)
        trials = [read_trial(trial) for trial in stored]
        ends = finalists(trials, rescored, worth_rescoring(trials, settings))
        document = settings.model_dump(mode="json")
        return cls(path, document, trials, ends, read_ranking(path), settings)


def finalists(
    trials: Sequence[Trial], rescored: Mapping[int, Rescored], chosen: Sequence[Trial]
) -> list[Trial]:
    """Return the trials that best, knee and front are chosen among.

    Those that were scored again after a longer training, with that score, its reward and seconds: a
    score of the search is that of a lucky one among many. All that have a score of the search,
    where nothing was to be scored again, or not everything has been so far.

    Args:
        trials: of the search.
        rescored: what longer trainings gave, by trial: ``score`` (None: it failed), ``reward``,
            ``seconds``.
        chosen: the trials to be scored again; see `worth_rescoring`.
    """
    again = [
        replace(trial, search_score=trial.score, **rescored[trial.id])
        for trial in chosen
        if trial.id in rescored and rescored[trial.id]["score"] is not None
    ]
    if again and all(trial.id in rescored for trial in chosen):
        return again
    return [trial for trial in trials if trial.state is TrialState.COMPLETE]


def worth_rescoring(trials: Sequence[Trial], settings: SearchSettings) -> list[Trial]:
    """Choose the candidates to score again: the front, what is a front without it, and so on.

    Fronts are of the score and all costs that the search cares for, so that the highest reward is
    on the first one. A front that is longer than what is left of ``rescore`` is thinned evenly.
    """
    tables = [path.stem for path in settings.latency_tables]
    costs = search_costs(tables, settings.objectives)
    left = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    chosen: list[Trial] = []
    while left and len(chosen) < settings.rescore:
        front = pareto_front(left, ["score", *costs])
        taken = {trial.id for trial in front}
        left = [trial for trial in left if trial.id not in taken]
        front.sort(key=lambda trial: cost_values(trial.costs, costs))
        chosen += thinned(front, settings.rescore - len(chosen))
    return chosen


def thinned(front: Sequence[Trial], count: int) -> list[Trial]:
    """Return ``count`` trials of a front, in its order: both ends and the highest reward first."""
    last = len(front) - 1
    if count > last:
        return list(front)
    best = max(range(len(front)), key=lambda place: reward_of(front[place]))
    kept = [round(step * last / max(1, count - 1)) for step in range(count)]
    # The highest reward takes the place of its neighbour; of an end only where no other is kept.
    inner = range(1, count - 1) or range(count)
    if best not in kept:
        kept[min(inner, key=lambda step: abs(kept[step] - best))] = best
    return [front[place] for place in sorted(kept)]


def read_ranking(path: Path) -> dict[str, Any] | None:
    """Read what `nastool rank` has found of the run in a folder; None: nothing.

    Raises:
        DataError: the file is damaged.
    """
    if not (file := path / RANKING).is_file():
        return None
    document = read_json(file)
    rows = document.get("trials") if isinstance(document, dict) else None
    whole = isinstance(rows, list) and all(map(_is_ranked, rows))
    if not whole or not isinstance(document.get("settings"), dict):
        raise DataError(file, "is no ranking; remove it and run nastool rank again")
    return document


def _is_ranked(row: Any) -> bool:
    numbers = ("id", "search_score", "result", "seconds")
    return (
        isinstance(row, dict)
        and isinstance(row.get("chosen"), str)
        and all(isinstance(row.get(key), int | float) for key in numbers)
    )


def pick(path: str | Path, which: str) -> list[Trial]:
    """Choose candidates of a run.

    Args:
        path: the run folder.
        which: "best" (highest reward), "knee" or "pareto" (of the front of score and costs) of the
            `finalists`, or the number of a trial that has a score.

    Raises:
        UsageError: there is no such candidate.
    """
    run = Run.load(path)
    if not run.finalists:
        raise UsageError(f"{path}: the run has no complete candidate yet")
    if which == "best":
        return [_best(run.finalists)]
    if which == "knee":
        return [_knee(run.finalists)]
    if which == "pareto":
        return pareto_front(run.finalists, default_objectives(run.finalists))
    for trial in [*run.finalists, *run.trials]:
        if str(trial.id) == which and trial.score is not None:
            return [trial]
    raise UsageError(
        f"--pick is best, knee, pareto or the number of a trial with a score, not {which!r}"
    )


def marks_of(finalists: Sequence[Trial]) -> dict[int, list[str]]:
    """Say which trials `pick` takes for best and for knee, by their numbers."""
    marks: dict[int, list[str]] = {}
    if finalists:
        marks.setdefault(_best(finalists).id, []).append("best")
        marks.setdefault(_knee(finalists).id, []).append("knee")
    return marks


def _best(finalists: Sequence[Trial]) -> Trial:
    return max(finalists, key=reward_of)


def _knee(finalists: Sequence[Trial]) -> Trial:
    objectives = default_objectives(finalists)
    return knee(pareto_front(finalists, objectives), objectives)


def reward_of(trial: Trial) -> float:
    """Return a trial's reward, 0 where it has none."""
    return trial.reward or 0.0
