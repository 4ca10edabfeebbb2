"""Costs as people read them: names, units, and which ones some runs have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

from export.system.errors import UsageError
from toolchain.search.trial import Trial


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

    def value(self, value: float) -> str:
        """Write a shown value with its unit."""
        return f"{value:.{self.digits}f} {self.unit}"

    def amount(self, value: float) -> str:
        """Write a shown value in a sentence."""
        return f"{self.value(value)} {self.name}"

    def of(self, trial: Trial) -> float | None:
        """Return the shown value, or None where it was not measured."""
        if self == SLOWEST:
            return max(trial.latency_ms.values(), default=None)
        stored = trial.costs.get(f"latency:{self.table}" if self.table else self.kind.lower())
        return stored / self.scale if stored else None


SLOWEST = Cost("latency", "latency", "ms", 1, 1)
"""What latency means where there are several tables."""


def measured_costs(trials: Sequence[Trial]) -> list[Cost]:
    """List the costs that are known of at least one of some trials."""
    tables = dict.fromkeys(table for trial in trials for table in trial.latency_ms)
    known = [
        Cost("params", "parameters", "M", 1e6, 3),
        Cost("flops", "FLOPs", "G", 1e9, 2),
        *(Cost(f"latency@{table}", "latency", "ms", 1, 1) for table in tables),
    ]
    return [cost for cost in known if any(cost.of(trial) for trial in trials)]


def measured(trials: Sequence[Trial], costs: Sequence[Cost]) -> list[Trial]:
    """Return the trials of which all these costs are known."""
    return [trial for trial in trials if all(cost.of(trial) is not None for cost in costs)]


def common_costs(runs: Sequence[Sequence[Trial]], names: Sequence[str] | None) -> list[Cost]:
    """Find the costs that fronts and hypervolumes of some runs are about.

    Args:
        runs: the scored trials of each; only a cost that all that have any know can be compared.
        names: objectives such as ``["score", "latency"]``; by default score and latency on all
            tables that all runs have, else parameters and FLOPs.

    Raises:
        UsageError: an objective is unknown, or not all runs have it.
    """
    known = [measured_costs(trials) for trials in runs if trials]
    every = dict.fromkeys(cost for costs in known for cost in costs)
    common = [cost for cost in every if all(cost in costs for costs in known)]
    if names is None:
        return [cost for cost in common if cost.table] or common
    found = []
    for name in names:
        matches = [c for c in common if name in (c.objective, c.kind.lower())]
        if len(matches) > 1:
            matches = [SLOWEST]
        if not matches and name != "score":
            known_names = ", ".join(objectives(common))
            raise UsageError(
                f"objective {name!r} is none of those that every run has: {known_names}"
            )
        found += matches
    return found


def objectives(costs: Sequence[Cost]) -> list[str]:
    """Name the score and these costs for `pareto_front` and `knee`."""
    return ["score", *(cost.objective for cost in costs)]
