"""Pareto fronts over score and costs."""

from collections.abc import Sequence

import numpy as np

from export.system.errors import UsageError
from toolchain.search.objectives import QUANTITIES, Costs, Objective, cost_of
from toolchain.search.trial import Trial


def cost_values(costs: Costs, names: Sequence[str]) -> list[float]:
    """Look up costs by name.

    Args:
        costs: of a candidate.
        names: ``params``, ``flops``, ``latency`` (of the slowest table), ``latency@TABLE``.

    Raises:
        UsageError: a name is unknown, or was not part of the run.
    """
    values = []
    for text in names:
        name, _, table = text.partition("@")
        if name not in QUANTITIES:
            raise UsageError(f"objective {text!r} is none of score, params, flops, latency")
        values.append(cost_of(costs, QUANTITIES[name], table or None))
    return values


def front_costs(tables: Sequence[str]) -> list[str]:
    """Name the costs that a front is of where nobody says otherwise.

    Latency where there are tables, on each of them; parameters and FLOPs elsewhere.
    """
    if len(tables) == 1:
        return ["latency"]
    return [f"latency@{table}" for table in tables] or ["params", "flops"]


def search_costs(tables: Sequence[str], objectives: Sequence[str]) -> list[str]:
    """Name all costs that a search with these tables and objectives cares for, each once."""
    wanted = [Objective.parse(text) for text in objectives]
    # A front is of every table's latency anyway, under one name.
    others = [objective.cost for objective in wanted if objective.quantity != "latency"]
    return list(dict.fromkeys([*front_costs(tables), *others]))


def default_objectives(trials: Sequence[Trial]) -> list[str]:
    """Name the objectives of a front of these trials: score against `front_costs`."""
    return ["score", *front_costs(list(dict.fromkeys(t for x in trials for t in x.latency_ms)))]


def objective_values(trial: Trial, objectives: Sequence[str]) -> list[float]:
    """Return a trial's objectives as numbers to minimise.

    Args:
        trial: a trial with a score.
        objectives: ``score`` (maximised), and costs as of `cost_values`.
    """
    return [
        -(trial.score or 0.0) if name == "score" else cost_values(trial.costs, [name])[0]
        for name in objectives
    ]


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


def pareto_front(trials: Sequence[Trial], objectives: Sequence[str]) -> list[Trial]:
    """Return the trials that no other dominates, best score first."""
    scored = [trial for trial in trials if trial.score is not None]
    if not scored:
        return []
    points = np.array([objective_values(trial, objectives) for trial in scored])
    front = [trial for trial, keep in zip(scored, non_dominated(points), strict=True) if keep]
    return sorted(front, key=lambda trial: -(trial.score or 0.0))


def knee(front: Sequence[Trial], objectives: Sequence[str]) -> Trial:
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


Ranges = Sequence[tuple[float, float]]
"""The smallest and the largest value of some costs."""


def cost_ranges(trials: Sequence[Trial], names: Sequence[str]) -> Ranges:
    """Return the range of each cost, as of `cost_values`, over trials of which all are known."""
    values = np.array([cost_values(trial.costs, names) for trial in trials])
    return list(zip(values.min(0).tolist(), values.max(0).tolist(), strict=True))


def cost_shares(trials: Sequence[Trial], names: Sequence[str], ranges: Ranges) -> np.ndarray:
    """Return the places of costs in their ranges, 0 to 1 evenly in logarithms, [N, costs]."""
    values = np.array([cost_values(trial.costs, names) for trial in trials])
    low, high = np.log(np.array(ranges).reshape(-1, 2)).T
    return np.asarray((np.log(values) - low) / np.where(high > low, high - low, 1.0))


def covered(trials: Sequence[Trial], names: Sequence[str], ranges: Ranges) -> float:
    """Return the hypervolume of scored trials, 0 to 1: the mean of the best score within a limit.

    The mean is over all limits of the costs within their ranges, evenly in logarithms; where
    nothing is within a limit, the best score there is 0. Source: Zitzler and Thiele,
    "Multiobjective evolutionary algorithms", IEEE Trans. Evol. Comp. 3(4), 1999.

    Args:
        trials: of which all these costs are known.
        names: of the costs, as `cost_values` reads them.
        ranges: of the costs; the same for all that is to be compared.
    """
    front = pareto_front(trials, ["score", *names])
    if not front:
        return 0.0
    scores = np.array([-(trial.score or 0.0) for trial in front])
    # What costs less than the least limit is within all of them, and no more than that.
    points = np.column_stack([scores, np.maximum(cost_shares(front, names, ranges), 0.0)])
    return hypervolume(points, np.array([0.0] + [1.0] * len(names)))
