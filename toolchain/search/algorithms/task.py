"""What an algorithm is told of the search that it draws for."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.search.appraisal import Appraise
from toolchain.search.objectives import Reward
from toolchain.search.space import SearchSpace


@dataclass(frozen=True)
class SearchTask:
    """A search, as algorithms see it.

    Attributes:
        space: the decisions.
        appraise: costs an architecture; takes about a millisecond.
        costs: names of the costs that the front is of, as `cost_values` reads them.
        reward: of a score at some costs.
    """

    space: SearchSpace
    appraise: Appraise
    costs: Sequence[str]
    reward: Reward
