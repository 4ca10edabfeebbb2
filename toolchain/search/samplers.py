"""The search algorithms, all behind Optuna's sampler interface."""

from collections.abc import Callable
from functools import partial
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from export.errors import UsageError
from toolchain.search.ledger import ending_order
from toolchain.search.policy_gradient import PolicyGradient, PolicySettings, trial_seed
from toolchain.search.space import SearchSpace


class ControllerSampler(BaseSampler):
    """Samples from the policy-gradient controller, which learns from the study's trials.

    Nothing but the study is stored: a fresh sampler reads the finished trials in the order in which
    they finished and arrives at the same policy.
    """

    def __init__(self, space: SearchSpace, settings: PolicySettings, seed: int):
        self._space = space
        self._policy = PolicyGradient(list(space.options.values()), settings, seed)
        self._learned: set[int] = set()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All decisions are drawn together."""
        return dict(self._space.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Learn from what has finished since the last call, then draw."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        new = [done for done in trials if done.number not in self._learned]
        for done in sorted(new, key=ending_order):
            assert done.value is not None
            self._policy.learn([done.params[place] for place in self._space.options], done.value)
            self._learned.add(done.number)
        return dict(zip(self._space.options, self._policy.draw(trial.number), strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Nothing is left to draw alone."""
        raise AssertionError(f"{name} is not a decision of the search space")


SamplerOfTrial = Callable[[int], BaseSampler]
"""Gives the sampler for the trial of a number."""


def _policy(algorithm: str, space: SearchSpace, seed: int) -> SamplerOfTrial:
    sampler = ControllerSampler(space, PolicySettings(algorithm), seed)
    return lambda number: sampler


def _seeded(make: Callable[[int], BaseSampler], seed: int) -> SamplerOfTrial:
    # Optuna's samplers cannot save their random state: each trial has a state of its own.
    return lambda number: make(trial_seed(seed, number))


ALGORITHMS: dict[str, Callable[[SearchSpace, int], SamplerOfTrial]] = {
    "ppo": partial(_policy, "ppo"),
    "reinforce": partial(_policy, "reinforce"),
    "nsga2": lambda _, seed: _seeded(lambda s: NSGAIISampler(seed=s), seed),
    "tpe": lambda _, seed: _seeded(lambda s: TPESampler(seed=s, multivariate=True), seed),
    "random": lambda _, seed: _seeded(lambda s: RandomSampler(seed=s), seed),
}


def make_sampler(algorithm: str, space: SearchSpace, seed: int) -> SamplerOfTrial:
    """Make the sampler of an algorithm.

    What it draws for a trial follows from the seed, the trial's number and the trials that have
    finished, so that an interrupted search goes on as if nothing had happened.

    Raises:
        UsageError: there is no algorithm of that name.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(f"no algorithm is named {algorithm!r}; there are {', '.join(ALGORITHMS)}")
    return ALGORITHMS[algorithm](space, seed)
