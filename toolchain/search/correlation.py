"""How well one score of some candidates foretells the order that another gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import kendalltau, spearmanr

FEWEST = 5
"""The interval of a rank correlation needs as many pairs."""
_VERDICTS = (
    (0.9, "orders candidates nearly as more training does"),
    (0.7, "orders candidates well"),
    (0.4, "orders candidates loosely"),
    (-1.0, "hardly orders candidates"),
)


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its 95 % interval.

    The interval is of Fieller, Hartley and Pearson, Biometrika 44(3/4), 1957: Fisher's
    transformation with variance 1.06 / (n - 3) for Spearman's and 0.437 / (n - 4) for Kendall's.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(
        cls, kind: Literal["spearman", "kendall"], first: Sequence[float], second: Sequence[float]
    ) -> "Correlation | None":
        """Correlate two scores of the same candidates.

        None where there are fewer than `FEWEST`, or one of the scores never changes.
        """
        count = len(first)
        if count < FEWEST or len(set(first)) == 1 or len(set(second)) == 1:
            return None
        if kind == "spearman":
            value, variance = float(spearmanr(first, second).statistic), 1.06 / (count - 3)
        else:
            value, variance = float(kendalltau(first, second).statistic), 0.437 / (count - 4)
        middle = math.atanh(max(-0.9999, min(0.9999, value)))
        half = 1.96 * math.sqrt(variance)
        return cls(value, math.tanh(middle - half), math.tanh(middle + half))


def verdict(correlation: Correlation | None, count: int, subject: str) -> str:
    """Say in a sentence how well one score of ``count`` candidates foretells another.

    Args:
        correlation: Spearman's.
        count: of the candidates.
        subject: which score foretells.
    """
    if correlation is None:
        return f"Too few candidates, or too alike, for a correlation: {count}."
    words = next(words for limit, words in _VERDICTS if correlation.value >= limit)
    return (
        f"Spearman {correlation.value:.2f} over {count} candidates (95 % interval "
        f"{correlation.low:.2f} to {correlation.high:.2f}): {subject} {words}."
    )
