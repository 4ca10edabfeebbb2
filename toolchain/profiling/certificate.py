"""A latency table's error against reality, on whole networks that no fit has seen."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import kendalltau, spearmanr

from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.provenance import Anchor

WORST = 5
ROUGH = 10.0
"""Per cent of mean error above which milliseconds are not to be relied on."""


class Case(BaseModel):
    """One network, predicted and measured.

    Attributes:
        genotype: its text.
        encoder: its name.
        working_size: pixels; None: that of the input, as in tables made before this field.
        predicted_ms: milliseconds.
        measured_ms: milliseconds.
    """

    model_config = ConfigDict(frozen=True)

    genotype: str
    encoder: str
    working_size: int | None = None
    predicted_ms: float
    measured_ms: float

    @property
    def backbone(self) -> Backbone:
        """The encoder at its working size."""
        return Backbone(self.encoder, self.working_size)

    @property
    def architecture(self) -> Architecture:
        """The network."""
        return Architecture(Genotype.parse(self.genotype), *self.backbone)

    @property
    def signed_error(self) -> float:
        """The error as a fraction of the measured latency; above 0 is predicted too high."""
        return (self.predicted_ms - self.measured_ms) / self.measured_ms

    @property
    def error(self) -> float:
        """The size of the error, as the same fraction."""
        return abs(self.signed_error)


class Certificate(BaseModel):
    """How well a table predicts.

    Attributes:
        architectures: number of networks.
        seed: that drew them.
        mape: mean absolute error, per cent of the measured latency.
        within_5_percent: per cent of the networks whose error is at most 5 %.
        within_10_percent: the same for 10 %.
        spearman: rank correlation of prediction and measurement; 0 where all are equal.
        kendall: Kendall's tau of the same.
        coverage: per cent of the networks whose latency lies in the predicted interval.
        worst: the networks with the largest errors.
        pace: how much longer the networks took than predicted, all together: the geometric mean
            of measured / predicted.
        mape_at_pace: the mean error that is left once predictions are multiplied by that.
        slowdown: how much longer a fixed piece of network took than when the table was measured.
        anchor: how predictions were brought to the pace of further networks, measured among these.
        at_other_speeds: share of the measurements beside which that piece was faster or slower
            than beside most, by more than `--max-drift`; None: see the table's provenance.
        cases: all networks, in the order in which they were drawn; tables that were made before
            this field have none.
    """

    model_config = ConfigDict(frozen=True)

    architectures: int
    seed: int
    mape: float
    within_5_percent: float
    within_10_percent: float
    spearman: float
    kendall: float
    coverage: float
    worst: list[Case]
    pace: float | None = None
    mape_at_pace: float | None = None
    slowdown: float | None = None
    anchor: Anchor | None = None
    at_other_speeds: float | None = None
    cases: list[Case] = []

    @property
    def is_rough(self) -> bool:
        """Whether the milliseconds are too far off to be relied on."""
        return self.mape > ROUGH

    def complaint(self, max_mape: float | None, min_spearman: float | None) -> str | None:
        """Say which floor is missed, if one is."""
        if max_mape is not None and self.mape > max_mape:
            return f"the mean error is {self.mape:.1f} %, above {max_mape:g} %"
        if min_spearman is not None and self.spearman < min_spearman:
            return f"the rank correlation is {self.spearman:.3f}, below {min_spearman:g}"
        return None


def certify(
    cases: Sequence[Case], intervals: Sequence[tuple[float, float]], seed: int
) -> Certificate:
    """Summarise predictions and measurements.

    Args:
        cases: the networks; at least three.
        intervals: the predicted lowest and highest latency of each, milliseconds.
        seed: that drew the networks.
    """
    predicted = [case.predicted_ms for case in cases]
    measured = [case.measured_ms for case in cases]
    errors = np.array([case.error for case in cases])
    covered = [low <= ms <= high for (low, high), ms in zip(intervals, measured, strict=True)]

    def per_cent(values: object) -> float:
        return round(100 * float(np.mean(np.asarray(values, float))), 2)

    pace = float(np.exp(np.mean(np.log(measured) - np.log(predicted))))
    left = np.abs(pace * np.array(predicted) / np.array(measured) - 1)
    return Certificate(
        architectures=len(cases),
        seed=seed,
        mape=per_cent(errors),
        within_5_percent=per_cent(errors <= 0.05),
        within_10_percent=per_cent(errors <= 0.10),
        spearman=round(float(np.nan_to_num(spearmanr(predicted, measured).statistic)), 4),
        kendall=round(float(np.nan_to_num(kendalltau(predicted, measured).statistic)), 4),
        coverage=per_cent(covered),
        pace=round(pace, 4),
        mape_at_pace=per_cent(left),
        worst=sorted(cases, key=lambda case: -case.error)[:WORST],
        cases=list(cases),
    )
