"""Pareto fronts over score and costs."""

from collections.abc import Sequence

import numpy as np

from export.errors import UsageError
from toolchain.search.objectives import QUANTITIES, cost_of
from toolchain.search.run import TrialRecord


def objective_values(trial: TrialRecord, objectives: Sequence[str]) -> list[float]:
    """Return a trial's objectives as numbers to minimise.

    Args:
        trial: a trial with a score.
        objectives: ``score`` (maximised), ``params``, ``flops``, ``latency``, ``latency@TABLE``.

    Raises:
        UsageError: an objective is unknown, or was not part of the run.
    """
    values = []
    for objective in objectives:
        if objective == "score":
            values.append(-(trial.score or 0.0))
            continue
        name, _, table = objective.partition("@")
        if name not in QUANTITIES:
            raise UsageError(f"objective {objective!r} is none of score, params, flops, latency")
        values.append(cost_of(trial.costs, QUANTITIES[name], table or None))
    return values


def default_objectives(trials: Sequence[TrialRecord]) -> list[str]:
    """Score against latency where the run has a table, against parameters and FLOPs elsewhere."""
    with_latency = any(trial.latency_ms for trial in trials)
    return ["score", "latency"] if with_latency else ["score", "params", "flops"]


def non_dominated(points: np.ndarray) -> np.ndarray:
    """Say which rows of [N, objectives] (all minimised) no other row dominates.

    Of equal rows the first is kept.
    """
    keep = np.ones(len(points), dtype=bool)
    for i, point in enumerate(points):
        no_worse = (points <= point).all(1)
        better = (points < point).any(1)
        equal_before = (points[:i] == point).all(1).any()
        keep[i] = not (no_worse & better).any() and not equal_before
    return keep


def pareto_front(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """Return the trials that no other dominates, best score first."""
    scored = [trial for trial in trials if trial.score is not None]
    if not scored:
        return []
    points = np.array([objective_values(trial, objectives) for trial in scored])
    front = [trial for trial, keep in zip(scored, non_dominated(points), strict=True) if keep]
    return sorted(front, key=lambda trial: -(trial.score or 0.0))


def knee(front: Sequence[TrialRecord], objectives: Sequence[str]) -> TrialRecord:
    """Return the trial of a front nearest to the ideal, each objective scaled to 0..1."""
    points = np.array([objective_values(trial, objectives) for trial in front])
    low, high = points.min(0), points.max(0)
    scaled = (points - low) / np.where(high > low, high - low, 1)
    return front[int(np.argmin((scaled**2).sum(1)))]


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Return the volume that points [N, objectives] (minimised) dominate below a reference."""
    from optuna._hypervolume import compute_hypervolume

    inside = points[(points <= reference).all(1)]
    return float(compute_hypervolume(inside, reference)) if len(inside) else 0.0
