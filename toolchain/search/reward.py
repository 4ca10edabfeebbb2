"""Score and costs to one number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.search.objectives import Costs, Objective


@dataclass(frozen=True)
class Reward:
    """Score times the combined cost factors.

    Attributes:
        objectives: each gives a factor; none: the reward is the score.
        combination: "product" (Tan et al., "MnasNet", CVPR 2019) or "mean" (weighted; Lyu et al.,
            2023).
        flops_floor: under this many FLOPs *and* ``score_floor`` no factor exceeds 1. A factor over
            1 pays for being cheap; without the floors searches collapse to networks that are cheap
            because they do nothing.
        score_floor: see ``flops_floor``.
    """

    objectives: Sequence[Objective] = ()
    combination: str = "product"
    flops_floor: float = 0.6e9
    score_floor: float = 0.25

    def __call__(self, score: float, costs: Costs) -> float:
        """Return the reward of a score (0..1) at these costs."""
        if not self.objectives:
            return score
        useless = costs["flops"] < self.flops_floor and score < self.score_floor
        factors = [
            min(objective.factor(costs), 1.0) if useless else objective.factor(costs)
            for objective in self.objectives
        ]
        if self.combination == "product":
            return score * math.prod(factors)
        weights = [objective.weight for objective in self.objectives]
        mean = sum(w * f for w, f in zip(weights, factors, strict=True)) / sum(weights)
        return score * mean
