"""What sums of entries miss, fitted on whole networks: one weight for each kind of unit.

Fusion across units, caches and the overhead of a session make a network's latency differ from the
sum of its parts, by kind rather than at random. The correction stays readable: a weight of 1.1 for
``upsample`` says that upsampling costs 10 % more inside a network than measured on its own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import nnls
from scipy.stats import norm, t

from toolchain.networks.blueprint import Blueprint, Unit

Array = np.ndarray[Any, np.dtype[np.float64]]

COVERAGE = 0.9
FOLDS = 10
# Standard deviations at which a left-out error counts no further.
FAR = 3.0
# Strengths of the pull towards the plain sum, from which the folds choose.
RIDGES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)


class Correction(BaseModel):
    """A network's latency is ``constant_ms`` + the sum over kinds of weight x latency of its units.

    Attributes:
        constant_ms: what every network costs besides its units.
        weights: by kind; 1 for a kind that is not listed.
        spread: relative error that a share `COVERAGE` of networks stays within, as seen on
            networks that were left out of the fit.
        networks: how many were fitted.
        ridge: strength of the pull of all weights towards 1.
    """

    model_config = ConfigDict(frozen=True)

    constant_ms: float = Field(default=0.0, ge=0)
    weights: dict[str, float] = Field(default_factory=dict)
    spread: float = Field(default=0.0, ge=0)
    networks: int = 0
    ridge: float = 0.0


class Measured(NamedTuple):
    """A whole network, as its pruned blueprint, with its measured latency."""

    plan: Blueprint
    latency_ms: float


def kind_of(unit: Unit) -> str:
    """Return the kind under which a unit is corrected; the stages of one encoder are one."""
    return unit.encoder or unit.kind


def fit_correction(networks: Sequence[Measured], latencies: Mapping[Unit, float]) -> Correction:
    """Fit a correction to whole networks: least squares of the relative error, no weight negative.

    Args:
        networks: what was measured.
        latencies: milliseconds of every unit on its own.
    """
    kinds = sorted({kind_of(unit) for network in networks for unit in network.plan.units})
    parts = np.array([_by_kind(network.plan, latencies, kinds) for network in networks])
    measured = np.array([network.latency_ms for network in networks])
    errors = {ridge: _left_out_errors(parts, measured, ridge) for ridge in RIDGES}
    ridge = min(RIDGES, key=lambda ridge: float(np.mean(errors[ridge] ** 2)))
    constant, *weights = _solve(parts, measured, ridge)
    # Left-out errors are close to normal, and their mean square is surer than a quantile of so few;
    # but a network with the only unit of a kind may be missed by any factor.
    sizes = np.abs(errors[ridge])
    usual = float(np.median(sizes) / norm.ppf(0.75))
    sigma = float(np.sqrt(np.mean(np.minimum(sizes, FAR * usual) ** 2)))
    return Correction(
        constant_ms=round(constant, 5),
        weights={kind: round(weight, 5) for kind, weight in zip(kinds, weights, strict=True)},
        spread=round(float(t.ppf((1 + COVERAGE) / 2, len(measured))) * sigma, 5),
        networks=len(measured),
        ridge=ridge,
    )


def _by_kind(plan: Blueprint, latencies: Mapping[Unit, float], kinds: Sequence[str]) -> list[float]:
    sums: dict[str, float] = defaultdict(float)
    for unit in plan.units:
        sums[kind_of(unit)] += latencies[unit]
    return [sums[kind] for kind in kinds]


def _solve(parts: Array, measured: Array, ridge: float) -> list[float]:
    """Return the constant, then a weight for each column of ``parts``."""
    rows, columns = parts.shape
    # In units of the typical latency, so that ridge means the same on a fast and a slow device.
    typical = float(np.median(measured))
    system = np.column_stack([np.full(rows, typical), parts]) / measured[:, None]
    pull = np.sqrt(ridge * rows) * np.eye(1 + columns)
    goal = np.concatenate([np.ones(rows), [0.0], np.diag(pull)[1:]])
    constant, *weights = nnls(np.vstack([system, pull]), goal)[0]
    return [float(constant * typical), *map(float, weights)]


def _left_out_errors(parts: Array, measured: Array, ridge: float) -> Array:
    """Return measured / predicted - 1 of every network, by a fit that did not see it."""
    errors = np.empty(len(measured))
    folds = np.arange(len(measured)) % FOLDS
    for fold in np.unique(folds):
        out = folds == fold
        constant, *weights = _solve(parts[~out], measured[~out], ridge)
        errors[out] = measured[out] / (constant + parts[out] @ np.array(weights)) - 1
    return errors
