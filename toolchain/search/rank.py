"""Could a search's scores be trusted? Some of its candidates, trained longer, give the answer."""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.system.console import duration
from export.system.errors import UsageError
from export.system.files import only_one, validated, write_json
from toolchain.search.correlation import FEWEST, Correlation
from toolchain.search.feature_cache import SearchImages
from toolchain.search.forecast import ranking_seconds
from toolchain.search.launch import open_executor
from toolchain.search.run import Run, read_ranking, reward_of
from toolchain.search.trial import CandidateError, Trial, TrialState, candidate_of
from toolchain.settings.base import FILE_NAME, check_files
from toolchain.settings.search_settings import RANKING, RankSettings

log = logging.getLogger(__name__)


def rank_run(path: Path, settings: RankSettings, resume: bool = False) -> dict[str, Any]:
    """Train some candidates of a run longer, and hold the results against the search's scores.

    They train on images of ``train`` and are scored on ``val``, which the search has not touched,
    with the encoders, the teacher and the devices of the search, at its size or at the one that is
    asked for. The document is written to ``rank.json`` in the run's folder after every candidate;
    ``resume`` goes on from it.

    Returns:
        ``run``, ``settings``, ``trials`` (``id, chosen, search_score, result, seconds``, and
        ``rescored`` where it was), ``spearman`` and ``kendall`` (``value, low, high``; None where
        too few are known), ``seconds``.

    Raises:
        UsageError: too few candidates have a score; the size is above that of the deployed
            network; a ranking is there and ``resume`` is off, or it had other settings.
        DataError: the run, or a file that it names, cannot be used.
    """
    start = time.perf_counter()
    run = Run.load(path)
    search = run.settings
    assert search, "a run folder has settings"
    if settings.size and settings.size > search.input_size:
        raise UsageError(f"--size is at most the --input-size of the run, {search.input_size}")
    chosen = choose(run.trials, settings.trials, settings.seed)
    known = _earlier(path, settings, resume)
    check_files(path / FILE_NAME, search, ["weights", "teacher"])
    # The limit of a short training is not that of a long one.
    search = search.model_copy(update={"timeout": None})
    longer = search.model_copy(
        update={
            "search_images": settings.images,
            "search_size": settings.size or search.search_size,
            "search_validation": settings.validation,
            "joint_epochs": settings.epochs,
            "early_stop": False,
            "every_epoch": False,
        }
    )
    images = SearchImages.open(search.data, search.dataset, longer, ("train", "val"), again=False)
    rescored = {trial.id: trial.score for trial in run.finalists if trial.search_score is not None}
    document = {"run": str(path), "settings": settings.model_dump()}
    rows = list(known.values())
    left = {trial.id: (trial, why) for trial, why in chosen if trial.id not in known}
    with only_one(path), open_executor(longer, images, path) as (_, executor):
        again = [trial for trial, _ in left.values()]
        took = ranking_seconds(again, search, longer, len(images.train))
        about = f", about {duration(took / search.workers)}" if took else ""
        log.info("%d candidates to train for %d epochs%s", len(left), settings.epochs, about)
        began = time.perf_counter()
        candidates = (candidate_of(trial) for trial, _ in left.values())
        for done, result in enumerate(executor.map(candidates), 1):
            (trial, why), outcome = left[result.number], result.outcome
            if isinstance(outcome, CandidateError):
                log.warning("trial %d is left out: %s", trial.id, outcome)
                continue
            row = {"id": trial.id, "chosen": why, "search_score": trial.score}
            if trial.id in rescored:
                row["rescored"] = rescored[trial.id]
            rows.append(row | {"result": outcome.score, "seconds": round(result.seconds, 1)})
            rest = (time.perf_counter() - began) / done * (len(left) - done)
            log.info(
                "%d/%d  trial %d (%s): score of the search %.3f, result %.3f, %s left",
                *(len(rows), len(known) + len(left), trial.id, why, trial.score, outcome.score),
                duration(rest),
            )
            write_json(path / RANKING, document | _agreement(rows))
    document |= _agreement(rows) | {"seconds": round(time.perf_counter() - start, 1)}
    write_json(path / RANKING, document)
    return document


def choose(trials: Sequence[Trial], count: int, seed: int) -> list[tuple[Trial, str]]:
    """Choose the best half by reward, and the other half at random among the others.

    Raises:
        UsageError: fewer than `FEWEST` have a score.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if len(complete) < FEWEST:
        raise UsageError(
            f"the run has {len(complete)} candidates that were trained to the end; an order needs "
            f"{FEWEST}: continue it with nastool search --resume and more --trials"
        )
    ranked = sorted(complete, key=reward_of, reverse=True)
    best, others = ranked[: (count + 1) // 2], ranked[(count + 1) // 2 :]
    drawn = random.Random(seed).sample(others, min(count - len(best), len(others)))
    return [(trial, "best") for trial in best] + [(trial, "random") for trial in drawn]


def _earlier(path: Path, settings: RankSettings, resume: bool) -> dict[int, dict[str, Any]]:
    """Return the rows of an earlier ranking by trial."""
    document = read_ranking(path)
    if document is None:
        return {}
    file = path / RANKING
    if not resume:
        raise UsageError(f"{file} holds a ranking; add --resume to go on with it, or remove it")
    earlier = validated(RankSettings, document["settings"], file, "remove it", "settings")
    if difference := settings.difference(earlier):
        raise UsageError(f"{file}: {difference}; use the same settings, or remove the file")
    return {row["id"]: row for row in document["trials"]}


def _agreement(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rows and their correlations, JSON-ready."""
    scores, results = ([row[key] for row in rows] for key in ("search_score", "result"))
    spearman = Correlation.of("spearman", scores, results)
    kendall = Correlation.of("kendall", scores, results)
    return {
        "trials": list(rows),
        "spearman": spearman and asdict(spearman),
        "kendall": kendall and asdict(kendall),
    }
