"""A run folder: the study's database, the configuration, and reading them back as records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from export.errors import DataError, UsageError
from export.files import read_json
from toolchain.search.storage import FACTS, STUDY, is_missing, opened, shown, storage_url

CONFIGURATION = "config.json"


class TrialState(StrEnum):
    """How a candidate ended."""

    COMPLETE = "complete"
    REUSED = "reused"  # an earlier candidate computes the same: its result was copied
    PRUNED = "pruned"  # over a budget, never trained
    FAILED = "failed"  # its training ended without a score


@dataclass(frozen=True)
class TrialRecord:
    """One candidate of a search.

    Attributes:
        id: its number in the run.
        genotype: published text.
        canonical: text that equal candidates share.
        score: mean F1 of the searched parts, 0..1; None unless complete or reused.
        reward: score after costs.
        parameters: of the network as it runs, encoder included.
        flops: likewise, 2 x MAC, at the deployment size.
        latency_ms: predicted median, by latency table.
        seconds: spent on the evaluation.
        split: seconds by phase.
        stage0_score: after stage 0, where a hopeless candidate could have been stopped.
        stopped: it was, and ``score`` is ``stage0_score``.
        failure: kind of failure, see `Failure`.
        reason: why it failed or was rejected.
        order: how many trials had ended before.
        finished_at: Unix time.
    """

    id: int
    genotype: str
    canonical: str
    encoder: str
    state: TrialState
    score: float | None
    reward: float | None
    parameters: int
    flops: int
    latency_ms: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    split: dict[str, float] = field(default_factory=dict)
    stage0_score: float | None = None
    stopped: bool = False
    failure: str | None = None
    reason: str | None = None
    order: int = 0
    finished_at: float | None = None

    @property
    def costs(self) -> dict[str, float]:
        """The costs in the form that objectives and budgets read."""
        return named_costs(self.parameters, self.flops, self.latency_ms)


def named_costs(parameters: int, flops: int, latency_ms: dict[str, float]) -> dict[str, float]:
    """Name the costs of a candidate as objectives and budgets read them."""
    latencies = {f"latency:{table}": ms for table, ms in latency_ms.items()}
    return {"parameters": parameters, "flops": flops, **latencies}


@dataclass(frozen=True)
class Run:
    """A search's folder, read back."""

    path: Path
    configuration: dict[str, Any]
    trials: list[TrialRecord]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a run folder.

        Raises:
            DataError: the folder is not a run.
        """
        path = Path(path)
        if not (path / CONFIGURATION).is_file():
            raise DataError(path, f"is not a run folder (it has no {CONFIGURATION})")
        configuration = read_json(path / CONFIGURATION)
        return cls(path, configuration, read_trials(storage_url(path, configuration["storage"])))


def read_trials(url: str) -> list[TrialRecord]:
    """Read the finished trials of a study, in the order of their numbers.

    Raises:
        DataError: there is no readable study.
    """
    import optuna

    if is_missing(url):
        raise DataError(shown(url), "does not exist: the search has not begun")
    with opened(url) as storage:
        try:
            study = optuna.load_study(study_name=STUDY, storage=storage)
        except KeyError:
            raise DataError(shown(url), "holds no search") from None
        trials = study.get_trials(deepcopy=False)
    return [record(trial) for trial in trials if trial.state.is_finished()]


def record(trial: Any) -> TrialRecord:
    """Make a record of a finished Optuna trial."""
    facts = trial.user_attrs[FACTS]
    ended = {"finished_at": trial.datetime_complete.timestamp()}
    return TrialRecord(id=trial.number, **ended | facts | {"state": TrialState(facts["state"])})


def pick(path: str | Path, which: str) -> list[TrialRecord]:
    """Choose candidates of a run.

    Args:
        path: the run folder.
        which: "best" (highest reward), "knee" or "pareto" (of the front of score and the run's
            costs), or a trial's number.

    Raises:
        UsageError: there is no such candidate.
    """
    from toolchain.search.pareto import default_objectives, knee, pareto_front

    trials = [trial for trial in Run.load(path).trials if trial.score is not None]
    if not trials:
        raise UsageError(f"{path}: the run has no complete candidate yet")
    if which == "best":
        return [max(trials, key=_reward)]
    objectives = default_objectives(trials)
    if which == "knee":
        return [knee(pareto_front(trials, objectives), objectives)]
    if which == "pareto":
        return pareto_front(trials, objectives)
    return [_by_number(trials, which)]


def _reward(trial: TrialRecord) -> float:
    return trial.reward or 0.0


def _by_number(trials: Sequence[TrialRecord], which: str) -> TrialRecord:
    for trial in trials:
        if str(trial.id) == which:
            return trial
    raise UsageError(
        f"--pick is best, knee, pareto or the number of a complete trial, not {which!r}"
    )
