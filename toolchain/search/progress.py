"""What a search tells those who watch it: a line a candidate, curves for TensorBoard."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from export.system.console import duration
from export.system.errors import UnavailableError
from toolchain.search.pareto import default_objectives, pareto_front
from toolchain.search.trial import Trial, TrialState

log = logging.getLogger(__name__)


class Progress:
    """Logs a line for each trained candidate: how it did, how the search does, the time left.

    Args:
        records: all trials; the search adds each before it reports it here. What is in it besides
            the first that is reported was found by an earlier run of the search.
        wanted: candidates to train in all.
        tensorboard: folder for curves, if any.
        seconds_left: says how much time is left, where that is limited.

    Raises:
        UnavailableError: TensorBoard is wanted and not installed.
    """

    def __init__(
        self,
        records: list[Trial],
        wanted: int,
        tensorboard: Path | None = None,
        seconds_left: Callable[[], float | None] = lambda: None,
    ):
        self._records, self._wanted, self._seconds_left = records, wanted, seconds_left
        self._start = time.perf_counter()
        self._counts: Counter[TrialState] = Counter()
        self._front: list[Trial] = []
        self._best = 0.0
        self._before: int | None = None
        self._curves = _summary_writer(tensorboard) if tensorboard else None

    def __call__(self, trial: Trial) -> None:
        """Take note of a stored trial, and say so."""
        if self._before is None:
            for earlier in self._records[:-1]:
                self._count(earlier)
            self._before = self._trained
        self._count(trial)
        if self._curves:
            self._draw(trial)
        if trial.state.trained:
            log.info("%s  | %s", _result(trial), self._standing(self._trained - self._before))

    def close(self) -> None:
        """End the curves."""
        if self._curves:
            self._curves.close()

    @property
    def _trained(self) -> int:
        return sum(count for state, count in self._counts.items() if state.trained)

    def _count(self, trial: Trial) -> None:
        self._counts[trial.state] += 1
        if trial.score is not None:
            self._best = max(self._best, trial.reward or 0.0)
            candidates = [*self._front, trial]
            self._front = pareto_front(candidates, default_objectives(candidates))

    def _standing(self, done: int) -> str:
        """Say how the search does, which has trained so many candidates since it was started."""
        each = (time.perf_counter() - self._start) / done
        left = each * (self._wanted - self._trained)
        if (limit := self._seconds_left()) is not None:
            left = min(left, max(0.0, limit))
        return (
            f"{self._trained}/{self._wanted}  best {self._best:.3f}  front {len(self._front)}  "
            f"stopped {self._counts[TrialState.PRUNED]}  failed {self._counts[TrialState.FAILED]}  "
            f"over budget {self._counts[TrialState.INFEASIBLE]}  "
            f"reused {self._counts[TrialState.REUSED]}  {each:.1f} s each, {duration(left)} left"
        )

    def _draw(self, trial: Trial) -> None:
        values = {
            "score": trial.score,
            "reward": trial.reward,
            "parameters": trial.parameters,
            "flops": trial.flops,
            "best reward": self._best,
            "front size": len(self._front),
            **{state.value: self._counts[state] for state in TrialState},
            **{f"latency_ms/{table}": ms for table, ms in trial.latency_ms.items()},
            **{f"seconds/{phase}": seconds for phase, seconds in trial.phases.items()},
        }
        assert self._curves
        for name, value in values.items():
            if value is not None:
                self._curves.add_scalar(name, value, trial.id)
        self._curves.flush()


def _result(trial: Trial) -> str:
    if trial.score is None:
        return f"{'stopped' if trial.state is TrialState.PRUNED else trial.state}: {trial.reason}"
    latency = "".join(f"  {ms:.1f} ms" for ms in trial.latency_ms.values())
    return (
        f"score {trial.score:.3f}  reward {trial.reward:.3f}  "
        f"{trial.parameters / 1e6:.2f} M  {trial.flops / 1e9:.2f} GFLOPs{latency}"
    )


def _summary_writer(folder: Path):  # type: ignore[no-untyped-def]
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UnavailableError(
            "--tensorboard needs the package tensorboard: pip install 'nastool[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder))
