"""A whole search in one call, as the command line makes it."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from export.errors import UsageError
from export.files import only_one
from toolchain.datasets import FaceDataset, open_dataset
from toolchain.search.configuration import SearchConfiguration, check_resumable, settle
from toolchain.search.evaluation import CandidateEvaluator, part_numbers
from toolchain.search.executors import Executor
from toolchain.search.executors.base import Start
from toolchain.search.memory import SearchMemory, memory_bytes, prepare_memory
from toolchain.search.pareto import default_objectives, pareto_front
from toolchain.search.progress import Progress
from toolchain.search.run import TrialRecord, TrialState
from toolchain.search.settings import EvaluationSettings
from toolchain.search.shelf import MEMORY_DISK, Shelf, place_shelf
from toolchain.search.study import Search, counts
from toolchain.training.device import torch_device

log = logging.getLogger(__name__)
TENSORBOARD = "tensorboard"


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
        failures = Counter(trial.failure for trial in self.trials if trial.failure)
        return {
            "run": str(self.path),
            "trials": counts(self.trials),
            "failures": dict(failures),
            "stopped_early": sum(
                trial.stopped and trial.state is TrialState.COMPLETE for trial in self.trials
            ),
            "seconds": round(self.seconds, 1),
            "pareto": [trial_document(trial) for trial in self.front],
        }


def trial_document(trial: TrialRecord) -> dict[str, Any]:
    """Return the promised keys of one candidate."""
    keys = ("id", "genotype", "encoder", "score", "reward", "parameters", "flops", "latency_ms")
    return {key: value for key, value in asdict(trial).items() if key in keys}


def run_search(
    configuration: SearchConfiguration, path: Path, resume: bool, tensorboard: bool = False
) -> SearchResult:
    """Run a search, or continue one, in a folder.

    Args:
        configuration: what to do.
        path: the run's folder.
        resume: continue the search that the folder holds.
        tensorboard: write curves into the folder.

    Raises:
        UsageError, DataError: the configuration, the data or a file is wrong.
        UnavailableError: a device or a package is missing.
        GateError: no candidate fits the budgets, or one after the other fails.
    """
    start = time.perf_counter()
    dataset = open_dataset(configuration.data, "train", configuration.dataset)
    search = Search(configuration, path, len(dataset.label_set.classes))
    # Everything that can be refused is, before the folder is touched and the images are read.
    check_resumable(configuration, path, resume)
    part_numbers(configuration.parts, dataset.label_set.classes)
    _check_devices(configuration)
    with ExitStack() as stack:
        stack.enter_context(only_one(path))
        shelf = stack.enter_context(_shelf(configuration, path, len(dataset.label_set.classes)))
        memory = _memory(configuration, dataset, shelf)
        executor = stack.enter_context(_executor(configuration, memory, shelf))
        folder = path / TENSORBOARD if tensorboard else None
        progress = Progress(search.records, configuration.trials, folder)
        stack.callback(progress.close)
        settle(configuration, path, resume)
        trials = search.run(executor, progress)
    front = pareto_front(trials, default_objectives(trials))
    return SearchResult(path, trials, time.perf_counter() - start, front)


def _check_devices(c: SearchConfiguration) -> None:
    if c.executor == "ray":
        if len(c.devices) > 1:
            raise UsageError("Ray gives each worker its GPU: with --executor ray say --device cuda")
        return
    for device in c.devices:
        torch_device(device)


def _shelf(c: SearchConfiguration, path: Path, classes: int) -> Shelf:
    """Say what the search will hold, and make the place for it."""
    needed = memory_bytes(c.evaluation, c.encoders, classes, teacher=c.teacher is not None)
    total = sum(needed.values())
    budget = None if c.memory_budget is None else int(c.memory_budget * 2**30)
    shelf = place_shelf(total, path, budget)
    log.info(
        "%d images to train on, %d to score on, %d pixels: %.0f MiB (%s), %s",
        c.search_images,
        c.search_validation,
        c.search_size,
        total / 2**20,
        ", ".join(f"{part} {size / 2**20:.0f}" for part, size in needed.items() if size),
        "in memory" if MEMORY_DISK in shelf.folder.parents else f"on disk in {shelf.folder}",
    )
    return shelf


def _memory(c: SearchConfiguration, dataset: FaceDataset, shelf: Shelf) -> SearchMemory:
    start = time.perf_counter()
    # The machine that a search on a cluster is started from may have no GPU.
    device = c.devices[0] if c.executor == "local" or torch.cuda.is_available() else "cpu"
    memory = prepare_memory(
        shelf, dataset, c.evaluation, c.encoders, c.weights, c.teacher, device, c.seed
    )
    log.info("images, features and targets are ready after %.0f s", time.perf_counter() - start)
    return memory


def _executor(c: SearchConfiguration, memory: SearchMemory, shelf: Shelf) -> Executor:
    # Imported here: a search without Ray needs none.
    if c.executor == "ray":
        from toolchain.search.executors.ray import RayExecutor

        on_gpu = c.devices[0] != "cpu"
        # Ray shows each worker its own GPU only.
        device = "cuda" if on_gpu else "cpu"
        judge = partial(CandidateEvaluator, memory, c.evaluation, c.seed, device)
        return RayExecutor(judge, c.workers, c.timeout, gpus=c.gpu_share if on_gpu else 0)
    from toolchain.search.executors.local import LocalExecutor

    threads = max(1, torch.get_num_threads() // c.workers)
    starts: Sequence[Start] = [
        partial(
            _open_evaluator,
            shelf.folder,
            c.evaluation,
            c.seed,
            c.devices[worker % len(c.devices)],
            threads,
        )
        for worker in range(c.workers)
    ]
    return LocalExecutor(starts, c.timeout)


def _open_evaluator(
    folder: Path, settings: EvaluationSettings, seed: int, device: str, threads: int
) -> CandidateEvaluator:
    """Make the judge in a process of its own."""
    torch.set_num_threads(threads)
    return CandidateEvaluator(SearchMemory.open(folder), settings, seed, device)
