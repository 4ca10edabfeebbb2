"""Which candidates are not worth the second stage of their training."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from toolchain.search.objectives import Costs
from toolchain.search.pareto import cost_values
from toolchain.search.trial import Trial, TrialState

FEWEST = 10
LAST = 100
OPTIMISM = 0.9


class Pruner:
    """Stops a candidate that a finished one beats at no higher cost, whatever stage 1 may bring.

    Stage 1 is taken to bring as much as it brought nine of ten earlier candidates. Nekrasov et al.,
    CVPR 2019, section 3.4, end a candidate whose score after stage 0 is under a running mean; that
    ends the cheap candidates of a search with several objectives first, since they score less and
    are wanted all the same.

    Args:
        costs: names of the costs, as `cost_values` reads them.
    """

    def __init__(self, costs: Sequence[str]):
        self._names = list(costs)
        self._costs: list[list[float]] = []
        self._scores: list[float] = []
        self._gains: deque[float] = deque(maxlen=LAST)

    def add(self, trial: Trial) -> None:
        """Learn from a trial; those that were not trained to the end say nothing."""
        if trial.state is not TrialState.COMPLETE or trial.score is None:
            return
        self._costs.append(cost_values(trial.costs, self._names))
        self._scores.append(trial.score)
        if trial.stage0_score is not None:
            self._gains.append(trial.score - trial.stage0_score)

    def stop_below(self, costs: Costs) -> float | None:
        """Return the score after stage 0 under which a candidate of these costs is to be stopped.

        None: too little is known, or nothing finished is as cheap.
        """
        if len(self._gains) < FEWEST:
            return None
        as_cheap = (np.array(self._costs) <= cost_values(costs, self._names)).all(1)
        if not as_cheap.any():
            return None
        best = np.array(self._scores)[as_cheap].max()
        return round(float(best - np.quantile(self._gains, OPTIMISM)), 6)

    @property
    def gain(self) -> float:
        """What stage 1 brings on average, as far as is known."""
        return round(float(np.mean(self._gains)), 6) if self._gains else 0.0
