"""Which of two runs is better, how surely, and where: the fronts that they end in, compared.

With one run a side the interval of the difference is of a parametric bootstrap (Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, section 6.5): scores are drawn anew around
those that were found, as far apart as the luck of a training puts them. It does not hold what
another seed of the search would have found. With several runs a side the interval is of Welch's t
test over the runs (Welch, Biometrika 34, 1947), and holds that too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.special import ndtri
from scipy.stats import ttest_ind

from export.system.errors import UsageError
from toolchain.search.algorithms.coverage import best_within, limits_between
from toolchain.search.comparable import comparable_costs
from toolchain.search.features import Array
from toolchain.search.pareto import (
    Ranges,
    cost_ranges,
    cost_shares,
    covered,
    objective_values,
    pareto_front,
)
from toolchain.search.prediction import RunPredictor
from toolchain.search.run import Run
from toolchain.search.shown_costs import Cost, measured, objectives
from toolchain.search.trial import Trial

CONFIDENCE = 0.95
RESAMPLES = 1000
LIMITS = 256
LEVEL = 0.005
"""Best scores within a cost limit that are less apart than this lead by nothing."""


@dataclass(frozen=True)
class Entry:
    """A run as it is compared.

    Attributes:
        name: that tells it from the others.
        run: read back.
        trials: those that its front is chosen among, all costs known.
        hypervolume: of its front, 0 to 1, as of `covered`.
        noise: standard deviation of a score by luck; None: unknown, or not asked for.
    """

    name: str
    run: Run
    trials: list[Trial]
    hypervolume: float
    noise: float | None = None

    @property
    def trained(self) -> int:
        """How many candidates were trained, those stopped early and failed ones too."""
        return sum(trial.state.trained for trial in self.run.trials)

    @property
    def seconds(self) -> float:
        """Seconds of evaluation, scoring again included."""
        again = [trial for trial in self.run.finalists if trial.search_score is not None]
        return sum(trial.seconds for trial in [*self.run.trials, *again])


@dataclass(frozen=True)
class Difference:
    """Of the second side's hypervolume from the first one's.

    Attributes:
        value: second less first, of means where there are several runs a side.
        low: of the 95 % interval; None: there is none.
        high: likewise.
        method: that the interval is of.
    """

    value: float
    low: float | None
    high: float | None
    method: Literal["bootstrap", "welch"]

    @property
    def better(self) -> int | None:
        """The side that is surely better, 0 or 1; None: neither is, as far as can be seen."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return None
        return int(self.low > 0)


@dataclass(frozen=True)
class Lead:
    """A stretch of limits of a cost, in stored units, and the side whose best score is higher.

    Attributes:
        start: the smallest limit.
        end: the next stretch begins there; None: it is the last one.
        side: 0 or 1; None: neither, by `LEVEL`.
    """

    start: float
    end: float | None
    side: int | None


@dataclass(frozen=True)
class Comparison:
    """Two sides, compared.

    Attributes:
        sides: of one or several runs each.
        costs: that fronts and hypervolumes are of.
        ranges: of these costs, stored units, over the scored trials of all runs.
        rescored: whether scores are those of a longer training, which all runs have then.
        difference: of the hypervolumes.
        leads: where along each cost which side leads.
        front: of all runs together, best score first, with the sides that each member is of.
    """

    sides: tuple[list[Entry], list[Entry]]
    costs: list[Cost]
    ranges: Ranges
    rescored: bool
    difference: Difference
    leads: list[tuple[Cost, list[Lead]]]
    front: list[tuple[Trial, list[int]]]


def compare(
    first: Mapping[str, Run], second: Mapping[str, Run], names: Sequence[str] | None = None
) -> Comparison:
    """Compare two sides of one run each, or of several each.

    Args:
        first: runs by names that no two share.
        second: likewise.
        names: objectives, as of `common_costs`.

    Raises:
        UsageError: one side has several runs and the other one; the runs do not compare.
        DataError: a run has no trial with a score and all these costs.
    """
    several = len(first) > 1
    if several != (len(second) > 1):
        raise UsageError(
            "one side has several runs and the other has one; give one each, or several each, "
            "which tells how much the seeds do"
        )
    runs = {**first, **second}
    costs = comparable_costs(runs, names)
    stored = objectives(costs)[1:]
    everything = [trial for run in runs.values() for trial in measured(run.scored, costs)]
    ranges = cost_ranges(everything, stored)
    rescored = all(_rescored(run) for run in runs.values())

    def entry(name: str, run: Run) -> Entry:
        trials = measured(run.finalists if rescored else run.complete, costs)
        return Entry(name, run, trials, covered(trials, stored, ranges))

    one, two = ([entry(*pair) for pair in side.items()] for side in (first, second))
    if several:
        difference = _welch(one, two)
    else:
        one, two = ([replace(e, noise=_noise(e.run)) for e in side] for side in (one, two))
        difference = _bootstrap(one[0], two[0], stored, ranges)
    return Comparison(
        (one, two),
        costs,
        ranges,
        rescored,
        difference,
        [(cost, _leads(one, two, cost.objective)) for cost in costs],
        _union(one, two, ["score", *stored]),
    )


def _rescored(run: Run) -> bool:
    return any(trial.search_score is not None for trial in run.finalists)


def _noise(run: Run) -> float | None:
    predictor = RunPredictor.of(run)
    return predictor.noise if predictor else None


def _welch(one: Sequence[Entry], two: Sequence[Entry]) -> Difference:
    first, second = ([entry.hypervolume for entry in side] for side in (one, two))
    value = float(np.mean(second) - np.mean(first))
    if len({*first}) == len({*second}) == 1:  # no run differs from those of its side
        return Difference(value, value, value, "welch")
    interval = ttest_ind(second, first, equal_var=False).confidence_interval(CONFIDENCE)
    return Difference(value, float(interval.low), float(interval.high), "welch")


def _bootstrap(one: Entry, two: Entry, names: Sequence[str], ranges: Ranges) -> Difference:
    """Draw scores anew around those that were found, and see how far hypervolumes move.

    The interval is normal, with the bootstrap's standard error, around the difference: on scores
    with known luck it held the true difference in 92 to 96 of 100 cases, percentiles in 91 to 95,
    and pivotal ones, which turn those about, in 86 to 96. What both runs have trained with the very
    same score has the same luck in both: it is the same training.
    """
    value = two.hypervolume - one.hypervolume
    if one.noise is None or two.noise is None:
        return Difference(value, None, None, "bootstrap")
    chance = np.random.default_rng(0)
    limits = limits_between(np.zeros(len(names)), np.ones(len(names)), LIMITS, chance)
    luck: dict[Any, Array] = {}
    volumes = []
    for entry in (one, two):
        assert entry.noise is not None
        shares = cost_shares(entry.trials, names, ranges)
        scores = np.array([trial.score for trial in entry.trials])
        # Those far below the best at their cost stay below it, whatever their luck.
        near = scores >= best_within(scores, shares, shares) - 8 * entry.noise
        kept = [trial for trial, is_near in zip(entry.trials, near, strict=True) if is_near]
        shares, scores = shares[near], scores[near]
        for trial in kept:
            luck.setdefault((trial.computes, trial.score), chance.standard_normal(RESAMPLES))
        drawn = scores + entry.noise * np.stack([luck[t.computes, t.score] for t in kept], 1)
        volumes.append(np.array([best_within(each, shares, limits).mean() for each in drawn]))
    half = float(ndtri((1 + CONFIDENCE) / 2) * np.std(volumes[1] - volumes[0]))
    return Difference(value, value - half, value + half, "bootstrap")


def _leads(one: Sequence[Entry], two: Sequence[Entry], cost: str) -> list[Lead]:
    """Say where along a cost which side has the higher best score, of runs' means."""
    fronts = [pareto_front(entry.trials, ["score", cost]) for entry in (*one, *two)]
    points = [np.array([objective_values(t, ["score", cost]) for t in front]) for front in fronts]
    limits = np.unique(np.concatenate([front[:, 1] for front in points]))
    best = np.stack([best_within(-f[:, 0], f[:, 1:], limits[:, None]) for f in points])
    ahead = best[len(one) :].mean(0) - best[: len(one)].mean(0)
    sides = [None if abs(by) < LEVEL else int(by > 0) for by in ahead]
    starts = [n for n in range(len(sides)) if n == 0 or sides[n] != sides[n - 1]]
    ends = [float(limits[start]) for start in starts[1:]]
    return [
        Lead(float(limits[start]), end, sides[start])
        for start, end in zip(starts, [*ends, None], strict=True)
    ]


def _union(
    one: Sequence[Entry], two: Sequence[Entry], names: Sequence[str]
) -> list[tuple[Trial, list[int]]]:
    """Return the front of all runs, with the sides that have a trial just as good for each."""
    sides = [
        (tuple(objective_values(trial, names)), side)
        for side, entries in enumerate((one, two))
        for entry in entries
        for trial in entry.trials
    ]
    front = pareto_front([t for entry in (*one, *two) for t in entry.trials], names)
    return [
        (trial, sorted({side for values, side in sides if values == at}))
        for trial in front
        for at in [tuple(objective_values(trial, names))]
    ]
