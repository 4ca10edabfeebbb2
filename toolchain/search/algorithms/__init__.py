"""The search algorithms, all behind Optuna's sampler interface."""

from collections.abc import Callable
from functools import partial

from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from toolchain.search.algorithms.controller import PolicySettings, trial_seed
from toolchain.search.algorithms.policy import ControllerSampler
from toolchain.search.algorithms.screening import PredictorSampler
from toolchain.search.algorithms.task import SearchTask

__all__ = ["ALGORITHMS", "SearchTask", "make_sampler"]

SamplerOfTrial = Callable[[int], BaseSampler]
"""Gives the sampler for the trial of a number."""


def _policy(algorithm: str, task: SearchTask, seed: int) -> SamplerOfTrial:
    sampler = ControllerSampler(task.space, PolicySettings(algorithm), seed)
    return lambda number: sampler


def _predictor(task: SearchTask, seed: int) -> SamplerOfTrial:
    sampler = PredictorSampler(task, seed)
    return lambda number: sampler


def _seeded(make: Callable[[int], BaseSampler], seed: int) -> SamplerOfTrial:
    # Optuna's samplers cannot save their random state: each trial has a state of its own.
    return lambda number: make(trial_seed(seed, number))


ALGORITHMS: dict[str, Callable[[SearchTask, int], SamplerOfTrial]] = {
    "predictor": _predictor,
    "ppo": partial(_policy, "ppo"),
    "reinforce": partial(_policy, "reinforce"),
    "nsga2": lambda _, seed: _seeded(lambda s: NSGAIISampler(seed=s), seed),
    "tpe": lambda _, seed: _seeded(lambda s: TPESampler(seed=s, multivariate=True), seed),
    "random": lambda _, seed: _seeded(lambda s: RandomSampler(seed=s), seed),
}


def make_sampler(algorithm: str, task: SearchTask, seed: int) -> SamplerOfTrial:
    """Make the sampler of an algorithm, one of `ALGORITHMS`.

    What it draws for a trial follows from the seed, the trial's number and the trials that have
    finished or are at work, so that an interrupted search goes on as if nothing had happened.
    """
    return ALGORITHMS[algorithm](task, seed)
