"""Runs prepared for figures: names, colours, costs with units, fronts and hypervolume."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export.errors import UsageError
from toolchain.search.pareto import hypervolume, pareto_front
from toolchain.search.run import Run
from toolchain.search.trial import Trial

COLOURS = 6
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
HISTORY_POINTS = 120


@dataclass(frozen=True)
class Cost:
    """A cost as it is shown.

    Attributes:
        objective: its name for `pareto_front`: params, flops or latency@TABLE.
        kind: what it is, as a word in a sentence.
        unit: of the shown value.
        scale: what the stored value is divided by.
        digits: decimals that are shown.
    """

    objective: str
    kind: str
    unit: str
    scale: float
    digits: int

    @property
    def table(self) -> str:
        """The latency table that it is from, or nothing."""
        return self.objective.partition("@")[2]

    @property
    def name(self) -> str:
        """What tells it from the others, in a sentence."""
        return f"{self.kind} ({self.table})" if self.table else self.kind

    @property
    def axis(self) -> str:
        """The title of an axis, under a heading with the name."""
        return f"{self.kind[0].upper()}{self.kind[1:]} ({self.unit})"

    @property
    def column(self) -> str:
        """The title of a column."""
        return f"{self.axis}, {self.table}" if self.table else self.axis

    def amount(self, value: float) -> str:
        """Write a shown value in a sentence."""
        return f"{value:.{self.digits}f} {self.unit} {self.name}"

    def of(self, trial: Trial) -> float | None:
        """Return the shown value, or None where it was not measured."""
        if self == SLOWEST:
            return max(trial.latency_ms.values(), default=None)
        stored = trial.costs.get(f"latency:{self.table}" if self.table else self.kind.lower())
        return stored / self.scale if stored else None


SLOWEST = Cost("latency", "latency", "ms", 1, 1)
"""What latency means where there are several tables."""


@dataclass(frozen=True)
class Series:
    """A run with the name and colour that it has all over a report."""

    name: str
    run: Run
    position: int

    @property
    def colour(self) -> str:
        """A colour of the page's style sheet, which knows light and dark."""
        return f"var(--run-{self.position % COLOURS})"

    @property
    def symbol(self) -> str:
        """A marker that tells it from the others without colour, and from those of its colour."""
        return SYMBOLS[(self.position + self.position // COLOURS) % len(SYMBOLS)]

    @property
    def dash(self) -> str:
        """A line that tells it from the run that has its colour for want of more."""
        return "dash" if self.position // COLOURS % 2 else "solid"

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order in which they were drawn."""
        return self.run.trials

    @cached_property
    def scored(self) -> list[Trial]:
        """The trials that have a score."""
        return [trial for trial in self.run.trials if trial.score is not None]

    @property
    def best_score(self) -> float | None:
        """The highest score of the finalists, if there is any."""
        return max((trial.score or 0.0 for trial in self.run.finalists), default=None)

    @property
    def timed(self) -> bool:
        """Whether it took time to speak of: scores by a formula, and some logs, have none."""
        return self.hours * 3600 >= 1

    @cached_property
    def encoders(self) -> list[str]:
        """The encoders that were sampled."""
        return sorted({trial.encoder for trial in self.trials})

    @property
    def hours(self) -> float:
        """Evaluation time, summed over the trials."""
        return sum(trial.seconds for trial in self.trials) / 3600

    @cached_property
    def costs(self) -> list[Cost]:
        """The costs that were measured for at least one scored trial."""
        tables = dict.fromkeys(table for trial in self.scored for table in trial.latency_ms)
        known = [
            Cost("params", "parameters", "M", 1e6, 3),
            Cost("flops", "FLOPs", "G", 1e9, 2),
            *(Cost(f"latency@{table}", "latency", "ms", 1, 1) for table in tables),
        ]
        return [cost for cost in known if any(cost.of(trial) for trial in self.scored)]

    def measured(self, costs: Sequence[Cost]) -> list[Trial]:
        """Return the scored trials for which all these costs are known."""
        return [t for t in self.scored if all(cost.of(t) is not None for cost in costs)]

    def front(self, costs: Sequence[Cost]) -> list[Trial]:
        """Return the Pareto front of score and these costs of the finalists, best score first."""
        known = [t for t in self.run.finalists if all(cost.of(t) is not None for cost in costs)]
        return pareto_front(known, objectives(costs))


def objectives(costs: Sequence[Cost]) -> list[str]:
    """Name the score and these costs for `pareto_front` and `knee`."""
    return ["score", *(cost.objective for cost in costs)]


def all_costs(series: Sequence[Series]) -> list[Cost]:
    """List the costs that at least one run has."""
    return list(dict.fromkeys(cost for one in series for cost in one.costs))


def chosen_costs(series: Sequence[Series], names: Sequence[str] | None) -> list[Cost]:
    """Find the costs that fronts and hypervolumes of these runs are about.

    Args:
        series: the runs; only a cost that all that have a score have can be compared.
        names: objectives such as ``["score", "latency"]``; by default score and latency on all
            tables that all runs have, else parameters and FLOPs.

    Raises:
        UsageError: an objective is unknown, or not all runs have it.
    """
    scored = [one for one in series if one.scored]
    common = [cost for cost in all_costs(scored) if all(cost in one.costs for one in scored)]
    if names is None:
        return [cost for cost in common if cost.table] or common
    found = []
    for name in names:
        matches = [c for c in common if name in (c.objective, c.kind.lower())]
        if len(matches) > 1:
            matches = [SLOWEST]
        if not matches and name != "score":
            known = ", ".join(objectives(common))
            raise UsageError(f"objective {name!r} is none of those that every run has: {known}")
        found += matches
    return found


def references(series: Sequence[Series], costs: Sequence[Cost]) -> list[float]:
    """Return the largest value of each cost in any of the runs."""
    return [max(cost.of(t) or 0 for one in series for t in one.scored) for cost in costs]


def covered(trials: Sequence[Trial], costs: Sequence[Cost], largest: Sequence[float]) -> float:
    """Return the hypervolume of trials as a share, 0 to 1, of the box of all possible values.

    The box reaches from score 0 to score 1 and from cost 0 to ``largest``. Source: Zitzler and
    Thiele, "Multiobjective evolutionary algorithms", IEEE Trans. Evol. Comp. 3(4), 1999.
    """
    front = pareto_front(trials, objectives(costs))
    points = np.array([[-(t.score or 0), *(cost.of(t) or 0 for cost in costs)] for t in front])
    points = points.reshape(-1, 1 + len(costs))
    return hypervolume(points / [1, *largest], np.array([0.0] + [1.0] * len(costs)))


def history(
    series: Series, costs: Sequence[Cost], largest: Sequence[float]
) -> Iterator[tuple[int, float, float]]:
    """Yield (trials so far, hours of evaluation so far, hypervolume as of `covered`)."""
    # Only the front so far and the trials since then can be on the front: history stays cheap.
    front: list[Trial] = []
    new: list[Trial] = []
    measured = {trial.id for trial in series.measured(costs)}
    seconds = 0.0
    step = max(1, len(series.trials) // HISTORY_POINTS)
    for count, trial in enumerate(series.trials, 1):
        seconds += trial.seconds
        if trial.id in measured:
            new.append(trial)
        if count % step == 0 or count == len(series.trials):
            front, new = pareto_front([*front, *new], objectives(costs)), []
            yield count, seconds / 3600, covered(front, costs, largest)


def bin_width(series: Sequence[Series], most: int = 12) -> int:
    """Return a round number of trials so that the longest run has at most ``most`` bins."""
    longest = max(one.trials[-1].id + 1 for one in series)
    return next(
        step * 10**power
        for power in range(9)
        for step in (1, 2, 5)
        if step * 10**power * most >= longest
    )
