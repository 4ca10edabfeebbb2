"""A whole search in one call."""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from export.system.errors import DataError, UsageError
from export.system.files import only_one
from toolchain.datasets.splits import Part
from toolchain.search.database import file_of, shown, storage_url
from toolchain.search.evaluator import CandidateEvaluator, part_numbers
from toolchain.search.executors import Executor
from toolchain.search.executors.base import StartEvaluator
from toolchain.search.feature_cache import FeatureCache, SearchImages, fill_cache
from toolchain.search.forecast import FEWEST, search_forecast
from toolchain.search.pareto import default_objectives, pareto_front
from toolchain.search.progress import Progress
from toolchain.search.shared_arrays import MEMORY_DISK, SharedArrays, place_arrays
from toolchain.search.storage import holds_search, read_study
from toolchain.search.study import Search
from toolchain.search.trial import Trial, counts, trial_document
from toolchain.settings.base import Record
from toolchain.settings.search_settings import EvaluationSettings, SearchSettings
from toolchain.training.checkpoints import is_checkpoint, read_checkpoint
from toolchain.training.device import torch_device
from toolchain.training.initialisation import match_weights

log = logging.getLogger(__name__)
TENSORBOARD = "tensorboard"


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        trials: all, with the scores of the search.
        seconds: of this call.
        front: Pareto front of score and costs of the finalists, best score first.
    """

    path: Path
    trials: list[Trial]
    seconds: float
    front: list[Trial]

    def document(self) -> dict[str, Any]:
        """Return the JSON document of the command."""
        failures = Counter(trial.failure for trial in self.trials if trial.failure)
        return {
            "run": str(self.path),
            "trials": counts(self.trials),
            "failures": dict(failures),
            "seconds": round(self.seconds, 1),
            "pareto": [trial_document(trial) for trial in self.front],
        }


def run_search(
    settings: SearchSettings, path: Path, resume: bool, tensorboard: bool = False
) -> SearchResult:
    """Run a search, or continue one, in a folder.

    Args:
        settings: what to do.
        path: the run's folder.
        resume: continue the search that the folder holds.
        tensorboard: write curves into the folder.

    Raises:
        UsageError, DataError: the settings, the data or a file is wrong.
        UnavailableError: a device or a package is missing.
        GateError: no candidate fits the budgets, or one after the other fails.
    """
    start = time.perf_counter()
    parts: tuple[Part, Part] = ("search-train", "search-score")
    images = SearchImages.open(
        settings.data, settings.dataset, settings, parts, again=settings.rescore > 0
    )
    search = Search(settings, path, len(images.train.label_set.classes))
    # Nearly everything that can be refused is, before the images are read.
    check_free(settings, path, resume)
    with ExitStack() as stack:
        stack.enter_context(only_one(path))
        cache, executor = stack.enter_context(open_executor(settings, images, path))
        record = Record(path, settings, cache.digests())
        if record.path.exists():
            record.check()
        elif settings.trials >= FEWEST and settings.executor == "local":
            evaluator = CandidateEvaluator(cache, settings, settings.seed, settings.devices[0])
            log.info(search_forecast(settings, evaluator))
        progress = Progress(
            search.trials,
            settings.trials,
            path / TENSORBOARD if tensorboard else None,
            lambda: search.seconds_left,
        )
        stack.callback(progress.close)
        # A record without a study is that of a run whose trials were lost.
        trials = search.run(executor, progress, begun=record.write)
    front = pareto_front(search.finalists, default_objectives(search.finalists))
    return SearchResult(path, trials, time.perf_counter() - start, front)


def check_free(settings: SearchSettings, path: Path, resume: bool) -> None:
    """Check that the run folder is free, or holds a search of the same settings to resume.

    Raises:
        UsageError: the folder holds a search and ``resume`` is off, or the folder is free and the
            storage holds the search of another.
        DataError: the folder's search had other settings or files, or lacks one of its own, or the
            storage cannot be used.
    """
    record, url = Record(path, settings), storage_url(path, settings.storage)
    if record.path.exists():
        if not resume:
            raise UsageError(
                f"{path} holds a search already; add --resume, or choose another --run"
            )
        record.check(partly=True)
        read_study(url)
    elif holds_search(url):
        if settings.storage:
            raise UsageError(
                f"{shown(url)} holds another run's search; give each run its own database"
            )
        raise DataError(record.path, f"is gone, and {shown(url)} holds its search; bring it back")
    file = file_of(url)
    place = file and (file if file.exists() else file.parent)
    if settings.storage and place and not os.access(place, os.W_OK):
        raise DataError(shown(url), "cannot be written; give --storage another file")


@contextmanager
def open_executor(
    settings: SearchSettings, images: SearchImages, path: Path
) -> Iterator[tuple[FeatureCache, Executor]]:
    """Compute what candidates share, and start the workers that evaluate them.

    Args:
        settings: of the search: how candidates are trained, from which weights and where.
        images: of the data.
        path: the run's folder, where the cache goes if memory has no room.

    Raises:
        UsageError, DataError: parts, weights or the teacher do not fit.
        UnavailableError: a device or a package is missing.
    """
    part_numbers(settings.parts, images.train.label_set.classes)
    _check_devices(settings)
    weights = match_weights(settings.encoders, settings.weights)
    if not weights:
        log.warning(
            "%s: random weights, for want of --weights; nastool encoders says where some are "
            "published, nastool pretrain makes some",
            ", ".join(settings.encoders),
        )
    teacher = (settings.teacher,) if settings.teacher else ()
    _check_unseen(images, [*weights.values(), *teacher])
    with ExitStack() as stack:
        if settings.executor == "ray":  # a search without Ray needs none
            from toolchain.search.executors.ray import joined_cluster

            stack.enter_context(joined_cluster(settings.workers, gpus=_gpus(settings)))
        shared = stack.enter_context(_place(settings, images, path))
        cache = _fill(settings, images, weights, shared)
        yield cache, stack.enter_context(_executor(settings, cache, shared))


def _check_unseen(images: SearchImages, files: Sequence[Path]) -> None:
    """Check that nothing that candidates start from was trained on what they are scored on."""
    for file in files:
        if not is_checkpoint(file):
            continue
        seen = read_checkpoint(file)[0].seen_images
        if seen is None:
            log.warning("%s does not say which images it was trained on", file)
        elif count := seen.count(images.score):
            raise DataError(
                file,
                f"was trained on {count} of the {len(images.score)} images that candidates are "
                "scored on; train it again with this nastool, whose splits keep them apart",
            )


def _check_devices(settings: SearchSettings) -> None:
    if settings.executor == "ray":
        if len(settings.devices) > 1:
            raise UsageError("Ray gives each worker its GPU: with --executor ray say --device cuda")
        return
    for device in settings.devices:
        torch_device(device)


def _place(settings: SearchSettings, images: SearchImages, path: Path) -> SharedArrays:
    """Say what the cache will hold, and make the place for it."""
    needed = images.bytes_needed(settings, settings.encoders, teacher=settings.teacher is not None)
    total = sum(needed.values())
    budget = None if settings.memory_budget is None else int(settings.memory_budget * 2**30)
    shared = place_arrays(total, path, budget)
    log.info(
        "%d images to train on, %d to score on, %d to score again on, %d pixels: %.0f MiB (%s), %s",
        len(images.train),
        images.scored,
        len(images.score),
        settings.search_size,
        total / 2**20,
        ", ".join(f"{part} {size / 2**20:.0f}" for part, size in needed.items() if size),
        "in memory" if MEMORY_DISK in shared.folder.parents else f"on disk in {shared.folder}",
    )
    return shared


def _fill(
    settings: SearchSettings,
    images: SearchImages,
    weights: Mapping[str, Path],
    shared: SharedArrays,
) -> FeatureCache:
    start = time.perf_counter()
    # The machine that a search on a cluster is started from may have no GPU.
    local = settings.executor == "local" or torch.cuda.is_available()
    cache = fill_cache(
        shared,
        images,
        settings,
        settings.encoders,
        weights,
        settings.teacher,
        settings.devices[0] if local else "cpu",
        settings.seed,
    )
    log.info("images, features and targets are ready after %.0f s", time.perf_counter() - start)
    return cache


def _executor(
    settings: SearchSettings,
    cache: FeatureCache,
    shared: SharedArrays,
) -> Executor:
    workers, timeout = settings.workers, settings.timeout
    # Imported here: a search without Ray needs none.
    if settings.executor == "ray":
        from toolchain.search.executors.ray import RayExecutor

        gpus = _gpus(settings)
        # Ray shows each worker its own GPU only.
        device = "cuda" if gpus else "cpu"
        start = partial(CandidateEvaluator, cache, settings, settings.seed, device)
        return RayExecutor(start, workers, timeout, gpus=gpus)
    from toolchain.search.executors.local import LocalExecutor

    threads = max(1, torch.get_num_threads() // workers)
    devices = settings.devices
    starts: Sequence[StartEvaluator] = [
        partial(
            _open_evaluator,
            shared.folder,
            settings,
            settings.seed,
            devices[worker % len(devices)],
            threads,
        )
        for worker in range(workers)
    ]
    return LocalExecutor(starts, timeout)


def _gpus(settings: SearchSettings) -> float:
    """Return the GPUs that each worker of Ray takes."""
    return settings.gpu_share if settings.devices[0] != "cpu" else 0


def _open_evaluator(
    folder: Path, evaluation: EvaluationSettings, seed: int, device: str, threads: int
) -> CandidateEvaluator:
    """Make the evaluator in a process of its own."""
    torch.set_num_threads(threads)
    return CandidateEvaluator(FeatureCache.open(folder), evaluation, seed, device)
