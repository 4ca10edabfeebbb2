"""The search algorithms, all behind Optuna's sampler interface."""

from collections.abc import Callable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from export.errors import UsageError
from toolchain.search.policy_gradient import PolicyGradient, PolicySettings
from toolchain.search.space import SearchSpace


class ControllerSampler(BaseSampler):
    """Samples from the policy-gradient controller, which learns from the study's trials.

    Nothing but the study is stored: a fresh sampler reads the finished trials in their order and
    arrives at the same policy.
    """

    def __init__(self, space: SearchSpace, settings: PolicySettings, seed: int):
        self._space = space
        self._policy = PolicyGradient(list(space.options.values()), settings, seed)
        self._learned = 0
        self._random = RandomSampler(seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All decisions are drawn together."""
        return dict(self._space.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Learn from what has finished since the last call, then draw."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        for done in finished[self._learned :]:
            actions = [done.params[place] for place in self._space.options]
            assert done.value is not None
            self._policy.learn(actions, done.value)
        self._learned = len(finished)
        return dict(zip(self._space.options, self._policy.draw(trial.number), strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Draw uniformly what is not part of the space."""
        return self._random.sample_independent(study, trial, name, distribution)


ALGORITHMS: dict[str, Callable[[SearchSpace, int], BaseSampler]] = {
    "ppo": lambda space, seed: ControllerSampler(space, PolicySettings("ppo"), seed),
    "reinforce": lambda space, seed: ControllerSampler(space, PolicySettings("reinforce"), seed),
    "nsga2": lambda space, seed: NSGAIISampler(seed=seed),
    "tpe": lambda space, seed: TPESampler(seed=seed, multivariate=True),
    "random": lambda space, seed: RandomSampler(seed=seed),
}


def make_sampler(algorithm: str, space: SearchSpace, seed: int) -> BaseSampler:
    """Make the sampler of an algorithm.

    Raises:
        UsageError: there is no algorithm of that name.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(f"no algorithm is named {algorithm!r}; there are {', '.join(ALGORITHMS)}")
    return ALGORITHMS[algorithm](space, seed)
