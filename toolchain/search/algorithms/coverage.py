"""How much a front of score and costs gains by one more candidate."""

import numpy as np
from scipy.special import ndtr

from toolchain.search.features import Array
from toolchain.search.pareto import non_dominated

LIMITS = 64
DEAREST = 0.98
"""Limits end at this quantile of the costs that were seen: what costs more is of little use."""


def front_of(scores: Array, costs: Array) -> list[int]:
    """Return the places of those that no other beats in score and all costs, [n], [n, costs]."""
    kept = non_dominated(np.column_stack([-scores, costs]))
    return np.flatnonzero(kept).tolist()


def expected_improvement(means: Array, deviations: Array, best: Array) -> Array:
    """Return the mean of what normal variables exceed ``best`` by. Source: Jones et al., 1998."""
    scaled = (means - best) / deviations
    density = np.exp(-(scaled**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray((means - best) * ndtr(scaled) + deviations * density)


def limits_between(low: Array, high: Array, count: int, chance: np.random.Generator) -> Array:
    """Return cost limits, [n, costs]: evenly along a line for one cost, at random for several.

    Of no cost there is one limit, which all are within.

    Args:
        low: the smallest limit of each cost, [costs].
        high: the largest.
        count: of limits, for each cost.
        chance: draws the limits of several costs.
    """
    costs = len(low)
    even = np.linspace(0, 1, count)[:, None]
    places = even if costs == 1 else chance.random((max(1, count * costs), costs))
    return np.asarray(low + places * (high - low))


def best_within(scores: Array, costs: Array, limits: Array) -> Array:
    """Return the best score within each of n limits, 0 where nothing is within, [n].

    Args:
        scores: of candidates, [m], 0..1.
        costs: of the same, [m, costs].
        limits: [n, costs].
    """
    within = (costs[None] <= limits[:, None]).all(2)
    return np.asarray(np.where(within, scores, 0.0).max(1, initial=0.0))


class Coverage:
    """The best score within many limits of the costs: what a front offers to its users.

    Its mean over the limits is the hypervolume of the front, with logarithms of costs. Limits are
    spread evenly over logarithms of the costs that were seen: along a line for one cost, at random
    for several.

    Args:
        scores: of what is known, [n].
        costs: logarithms, [n, costs].
        chance: draws the limits of several costs.
    """

    def __init__(self, scores: Array, costs: Array, chance: np.random.Generator):
        low, high = costs.min(0), np.quantile(costs, DEAREST, axis=0)
        self._limits = limits_between(low, high, LIMITS, chance)
        self.best = best_within(scores, costs, self._limits)

    def expected_gain(self, means: Array, deviations: Array, costs: Array) -> Array:
        """Return how much the mean over the limits is expected to rise by each of n candidates.

        Args:
            means: predicted scores, [n].
            deviations: their standard deviations, [n].
            costs: logarithms, [n, costs].
        """
        within = (costs[:, None] <= self._limits[None]).all(2)
        gain = expected_improvement(means[:, None], deviations[:, None], self.best[None])
        return np.asarray((gain * within).mean(1))
