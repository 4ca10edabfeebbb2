"""The policy-gradient controller as a sampler of Optuna."""

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from toolchain.search.algorithms.controller import PolicyGradient, PolicySettings
from toolchain.search.space import SearchSpace
from toolchain.search.storage import ended
from toolchain.search.stored_trials import CANDIDATE
from toolchain.search.trial import TrialState

LOG_PROBABILITY = "log_probability"
"""Attribute of a trial: that of its decisions under the policy that drew them."""
RESTLESS = 20
"""After so many draws in a row that were known already, the temperature is twice as high."""


class ControllerSampler(BaseSampler):
    """Samples from the policy-gradient controller, which learns from the study's trials.

    Nothing but the study is stored: a fresh sampler reads the finished trials in the order in which
    they finished and arrives at the same policy. All of them teach: one over a budget by how far it
    is over, one that was stopped by the reward that it could expect.
    """

    def __init__(self, space: SearchSpace, settings: PolicySettings, seed: int):
        self._space = space
        self._policy = PolicyGradient(list(space.options.values()), settings, seed)
        self._learned: set[int] = set()
        self._reused_in_a_row = 0

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All decisions are drawn together."""
        return dict(self._space.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Learn from what has finished since the last call, then draw."""
        for done in ended(study.get_trials(deepcopy=False)):
            if done.number not in self._learned:
                self._learn(done)
        temperature = 1 + self._reused_in_a_row / RESTLESS
        actions, log_probability = self._policy.draw(trial.number, temperature)
        # As Optuna's own samplers note things; the study stores it with the trial.
        study._storage.set_trial_system_attr(trial._trial_id, LOG_PROBABILITY, log_probability)
        return dict(zip(self._space.options, actions, strict=True))

    def _learn(self, done: FrozenTrial) -> None:
        self._learned.add(done.number)
        reused = done.user_attrs[CANDIDATE]["state"] == TrialState.REUSED
        self._reused_in_a_row = self._reused_in_a_row + 1 if reused else 0
        if (reward := lesson(done)) is not None:
            actions = [done.params[place] for place in self._space.options]
            self._policy.learn(actions, reward, done.system_attrs[LOG_PROBABILITY])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Nothing is left to draw alone."""
        raise AssertionError(f"{name} is not a decision of the search space")


def lesson(trial: FrozenTrial) -> float | None:
    """Return what a finished trial teaches as a reward; None: nothing, since it failed.

    A trial over a budget teaches a reward below that of any network: minus the share by which it is
    over, at most 1.
    """
    if trial.value is not None:
        return trial.value
    if trial.constraints:
        return -min(max(trial.constraints.values()), 1.0)
    if trial.intermediate_values:
        return trial.intermediate_values[trial.last_step]
    return None
