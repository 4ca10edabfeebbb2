"""Search algorithms against each other, on a benchmark of the space, over many seeds."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from export.system.console import track
from export.system.errors import UsageError
from toolchain.architecture import Architecture
from toolchain.search.database import MEMORY
from toolchain.search.executors import InlineExecutor
from toolchain.search.pareto import Ranges, cost_values, covered
from toolchain.search.space import SearchSpace
from toolchain.search.space_benchmark import SpaceBenchmark
from toolchain.search.study import Search
from toolchain.search.trial import Candidate, Evaluation, TrialState
from toolchain.settings.search_settings import ContestSettings, SearchSettings

log = logging.getLogger(__name__)
RANDOM_DRAWS = 2000
RANGE = (0.01, 0.95)
"""Hypervolumes are taken between these quantiles of the costs of random networks."""


@dataclass(frozen=True)
class Standing:
    """What one algorithm reached with some number of trainings.

    Attributes:
        algorithm: its name.
        trials: trainings.
        hypervolumes: of the true scores, as of `covered`, for each seed.
    """

    algorithm: str
    trials: int
    hypervolumes: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.hypervolumes))

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None: there is one seed."""
        several = len(self.hypervolumes) > 1
        return float(np.std(self.hypervolumes, ddof=1)) if several else None

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.4f}"
        return f"{self.mean:.4f}{spread}"


@dataclass(frozen=True)
class Rules:
    """What every search of a contest has in common.

    Attributes:
        settings: of the searches; algorithm and seed change.
        classes: number of classes.
        score: gives the score of an architecture.
        noise: standard deviation of what a training adds to it.
        trials: after how many trainings to measure, rising.
        workers: candidates at work at once.
    """

    settings: SearchSettings
    classes: int
    score: Callable[[Architecture], float]
    noise: float
    trials: tuple[int, ...]
    workers: int = 1


def hold(benchmark: SpaceBenchmark, source: Path, settings: ContestSettings) -> list[Standing]:
    """Hold a contest on a benchmark.

    Args:
        benchmark: of the space.
        source: its file.
        settings: of the contest.

    Raises:
        UsageError: a setting is wrong, or no random network keeps a budget.
        DataError: the benchmark is of another space, or a table does not fit it.
    """
    if not settings.trials or min(settings.trials) < 1:
        raise UsageError("--trials is at least 1")
    sizes = settings.working_sizes or tuple(s for s in benchmark.working_sizes if s is not None)
    search = SearchSettings.of(
        data=f"{source}",
        branches=benchmark.branches,
        cells=benchmark.cells,
        encoders=settings.encoders or tuple(benchmark.encoders),
        working_sizes=sizes,
        input_size=benchmark.input_size,
        latency_tables=settings.latency_tables,
        force=settings.force,
        objectives=settings.objectives,
        budgets=settings.budgets,
        early_stop=False,
    )
    benchmark.check_space(SearchSpace.of(search), source)
    rules = Rules(
        search,
        benchmark.classes,
        benchmark.surrogate.score,
        settings.noise,
        tuple(sorted(settings.trials)),
        settings.workers,
    )
    return contest(rules, settings.algorithms, settings.seeds, settings.processes)


def contest(
    rules: Rules, algorithms: Sequence[str], seeds: int, processes: int = 1
) -> list[Standing]:
    """Let algorithms search, each with every seed from 0; return what they reached."""
    ranges = _ranges(rules)
    standings: list[Standing] = []
    # A new process for each: one that has used torch's threads must not be forked.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for algorithm in algorithms:
            searches = pool.map(partial(_search, rules, algorithm, ranges), range(seeds))
            reached = list(track(searches, algorithm, seeds))
            standings += [
                Standing(algorithm, trials, tuple(hypervolumes))
                for trials, *hypervolumes in zip(rules.trials, *reached, strict=True)
            ]
            for one in standings[-len(rules.trials) :]:
                log.info("%s, %d trainings: hypervolume %s", one.algorithm, one.trials, one)
    return standings


def _search(rules: Rules, algorithm: str, ranges: Ranges, seed: int) -> list[float]:
    """Search once; return the hypervolume of the true scores after so many trainings each."""
    chance = np.random.default_rng((seed, 77))
    true: dict[int, float] = {}

    def evaluate(candidate: Candidate) -> Evaluation:
        score = true[candidate.number] = rules.score(candidate.architecture)
        return Evaluation(float(np.clip(score + rules.noise * chance.standard_normal(), 0, 1)))

    settings = rules.settings.model_copy(
        update={
            "algorithm": algorithm,
            "seed": seed,
            "trials": rules.trials[-1],
            "rescore": 0,
            "storage": MEMORY,
        }
    )
    search = Search(settings, Path(), rules.classes)
    executor = InlineExecutor(evaluate)
    executor.capacity = rules.workers
    trained = [
        replace(trial, score=true[trial.id])
        for trial in search.run(executor)
        if trial.state is TrialState.COMPLETE
    ]
    return [covered(trained[:count], search.costs, ranges) for count in rules.trials]


def _ranges(rules: Rules) -> Ranges:
    """Return the ranges of the costs that hypervolumes are taken over."""
    search = Search(rules.settings.model_copy(update={"storage": MEMORY}), Path(), rules.classes)
    chance = np.random.default_rng(0)
    space = search.space
    drawn = (space.architecture(space.random(chance)) for _ in range(RANDOM_DRAWS))
    appraised = map(search.appraise, drawn)
    costs = [cost_values(each.costs, search.costs) for each in appraised if each.excess <= 0]
    if not costs:
        raise UsageError(f"none of {RANDOM_DRAWS} random networks keeps the --budget: raise it")
    return list(np.quantile(costs, RANGE, axis=0).T.tolist())
