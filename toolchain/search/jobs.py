"""A whole search in one call, as the command line makes it."""

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolchain.datasets import FaceDataset, open_dataset
from toolchain.search.configuration import SearchConfiguration, check_resumable, settle
from toolchain.search.evaluation import CandidateEvaluator
from toolchain.search.memory import EvaluationSettings, SearchMemory
from toolchain.search.pareto import default_objectives, pareto_front
from toolchain.search.run import TrialRecord, TrialState
from toolchain.search.study import Search, counts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        seconds: of this call.
        front: Pareto front of score and costs, best score first.
    """

    path: Path
    trials: list[TrialRecord]
    seconds: float
    front: list[TrialRecord]

    def document(self) -> dict[str, Any]:
        """Return the JSON document of the command."""
        return {
            "run": str(self.path),
            "trials": counts(self.trials),
            "seconds": round(self.seconds, 1),
            "pareto": [trial_document(trial) for trial in self.front],
        }


def trial_document(trial: TrialRecord) -> dict[str, Any]:
    """Return the promised keys of one candidate."""
    keys = ("id", "genotype", "encoder", "score", "reward", "parameters", "flops", "latency_ms")
    return {key: value for key, value in asdict(trial).items() if key in keys}


def run_search(configuration: SearchConfiguration, path: Path, resume: bool) -> SearchResult:
    """Run a search, or continue one, in a folder.

    Raises:
        UsageError, DataError: the configuration, the data or a file is wrong.
        GateError: no candidate fits the budgets, or all fail.
    """
    start = time.perf_counter()
    dataset = open_dataset(configuration.data, "train", configuration.dataset)
    search = Search(configuration, path, len(dataset.label_set.classes))
    # Everything that can be refused is, before the folder is touched.
    check_resumable(configuration, path, resume)
    judge = _evaluator(configuration, dataset)
    settle(configuration, path, resume)
    trials = search.run(judge, _Progress(search))
    front = pareto_front(trials, default_objectives(trials))
    return SearchResult(path, trials, time.perf_counter() - start, front)


def _evaluator(c: SearchConfiguration, dataset: FaceDataset) -> CandidateEvaluator:
    settings = EvaluationSettings(
        c.search_size,
        c.search_images,
        c.search_validation,
        c.decoder_epochs,
        c.joint_epochs,
        c.batch_size,
        c.parts,
    )
    start = time.perf_counter()
    memory = SearchMemory(dataset, settings, c.encoders, c.weights, c.teacher, c.device, c.seed)
    log.info(
        "%d images to train on, %d to score on, %d MiB in memory, ready after %.0f s",
        c.search_images,
        c.search_validation,
        memory.nbytes / 2**20,
        time.perf_counter() - start,
    )
    return CandidateEvaluator(memory, settings, c.seed)


class _Progress:
    """Logs a line for each candidate: how it did, the best, the front, the time left."""

    def __init__(self, search: Search):
        self._records, self._wanted = search.records, search.configuration.trials
        self._start, self._done = time.perf_counter(), 0

    def __call__(self, trial: TrialRecord) -> None:
        if trial.state is TrialState.PRUNED:
            return
        self._done += 1
        judged = sum(t.state is not TrialState.PRUNED for t in self._records)
        left = (time.perf_counter() - self._start) / self._done * (self._wanted - judged)
        scored = [t for t in self._records if t.score is not None]
        front = pareto_front(scored, default_objectives(scored))
        best = max((t.reward or 0.0 for t in scored), default=0.0)
        if trial.score is None:
            result = f"{trial.state}: {trial.reason}"
        else:
            latency = " ".join(f"{ms:.1f} ms" for ms in trial.latency_ms.values())
            result = (
                f"score {trial.score:.3f}  reward {trial.reward:.3f}  "
                f"{trial.parameters / 1e6:.2f} M  {trial.flops / 1e9:.2f} GFLOPs  {latency}"
            )
        log.info(
            "%4d/%d  %s  | best %.3f  front %d  %.0f s, %.0f min left",
            judged,
            self._wanted,
            result,
            best,
            len(front),
            trial.seconds,
            left / 60,
        )
