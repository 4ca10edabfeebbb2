"""Runs prepared for figures: names, colours, costs, fronts and hypervolume."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from toolchain.search.pareto import Ranges, cost_ranges, covered, pareto_front
from toolchain.search.run import Run
from toolchain.search.shown_costs import Cost, common_costs, measured, measured_costs, objectives
from toolchain.search.trial import Trial

COLOURS = 6
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
HISTORY_POINTS = 120


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
        return self.run.scored

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

    @cached_property
    def working_sizes(self) -> list[int]:
        """The working sizes that were sampled, pixels; none where it is the input's."""
        return sorted({trial.working_size for trial in self.trials if trial.working_size})

    @property
    def hours(self) -> float:
        """Evaluation time, summed over the trials."""
        return sum(trial.seconds for trial in self.trials) / 3600

    @cached_property
    def costs(self) -> list[Cost]:
        """The costs that were measured for at least one scored trial."""
        return measured_costs(self.scored)

    def measured(self, costs: Sequence[Cost]) -> list[Trial]:
        """Return the scored trials for which all these costs are known."""
        return measured(self.scored, costs)

    def front(self, costs: Sequence[Cost]) -> list[Trial]:
        """Return the Pareto front of score and these costs of the finalists, best score first."""
        return pareto_front(measured(self.run.finalists, costs), objectives(costs))

    def hypervolume(self, costs: Sequence[Cost], ranges: Ranges) -> float:
        """Return the hypervolume of the front, as of `covered`."""
        return covered(self.front(costs), objectives(costs)[1:], ranges)


def all_costs(series: Sequence[Series]) -> list[Cost]:
    """List the costs that at least one run has."""
    return list(dict.fromkeys(cost for one in series for cost in one.costs))


def chosen_costs(series: Sequence[Series], names: Sequence[str] | None) -> list[Cost]:
    """Find the costs that fronts and hypervolumes of these runs are about; see `common_costs`."""
    return common_costs([one.scored for one in series], names)


def ranges_of(series: Sequence[Series], costs: Sequence[Cost]) -> Ranges:
    """Return the range of each cost over the scored trials of all runs; none where none has any."""
    trials = [trial for one in series for trial in one.measured(costs)]
    return cost_ranges(trials, objectives(costs)[1:]) if trials else []


def history(
    series: Series, costs: Sequence[Cost], ranges: Ranges
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
            yield count, seconds / 3600, covered(front, objectives(costs)[1:], ranges)


def bin_width(series: Sequence[Series], most: int = 12) -> int:
    """Return a round number of trials so that the longest run has at most ``most`` bins."""
    longest = max(one.trials[-1].id + 1 for one in series)
    return next(
        step * 10**power
        for power in range(9)
        for step in (1, 2, 5)
        if step * 10**power * most >= longest
    )
