"""Which candidates are not worth the second stage of their training."""

from collections import deque

import numpy as np

FEWEST = 10
LAST = 100
SHARE = 1 / 3


class RunningRecord:
    """Scores after stage 0 of earlier candidates, and what they say of the next.

    After Nekrasov et al., CVPR 2019, section 3.4, who end the training of a candidate whose reward
    after the first stage is under the running mean. Half of all good candidates of an improving
    search would be under it too; here it is the worst third of the last `LAST` that end.
    """

    def __init__(self) -> None:
        self._scores: deque[float] = deque(maxlen=LAST)

    def add(self, score: float) -> None:
        """Note a score after stage 0."""
        self._scores.append(score)

    @property
    def threshold(self) -> float | None:
        """The score after stage 0 under which a candidate ends; None: too few are known."""
        if len(self._scores) < FEWEST:
            return None
        return round(float(np.quantile(self._scores, SHARE)), 6)
