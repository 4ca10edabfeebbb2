"""What the results of a run say of networks that it has not trained."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export.system.errors import NastoolError
from toolchain.networks.blueprint import blueprint
from toolchain.networks.costs import count
from toolchain.search.algorithms.predictor import ScorePredictor, held_out
from toolchain.search.appraisal import Appraisal, Appraiser, named_tables
from toolchain.search.features import Array
from toolchain.search.objectives import Budget
from toolchain.search.pareto import cost_values, pareto_front
from toolchain.search.run import Run
from toolchain.search.space import SearchSpace
from toolchain.search.trial import Trial
from toolchain.settings.base import FILE_NAME, check_files
from toolchain.settings.search_settings import SearchSettings

FEWEST = 20
"""So many candidates with a score are needed to predict others."""
MOST = 400
"""A predictor learns from so many at most: its time grows with the cube."""
MOST_HELD_OUT = 200
DRAWN = 2000
CHANGED = 0.25
"""The share of changed members of the front among what is drawn."""


@dataclass(frozen=True)
class Outlook:
    """The best score that is predicted within each limit of a cost.

    Attributes:
        costs: rising; from each on, another network is the best, [n].
        means: its predicted score, [n].
        deviations: standard deviations of these, [n].
    """

    costs: Array
    means: Array
    deviations: Array

    def at(self, costs: Array) -> tuple[Array, Array]:
        """Return mean and deviation of the best within each limit; nan where there is none."""
        places = np.searchsorted(self.costs, costs, side="right") - 1
        known = places >= 0
        return np.where(known, self.means[places], np.nan), np.where(
            known, self.deviations[places], np.nan
        )


class RunPredictor:
    """A predictor of scores, fitted to the candidates that a run has trained to the end.

    Args:
        run: of a search, not a published log.
        classes: number of classes of its data; see `classes_of`.
        drawn: how many networks to draw for an `outlook`.

    Attributes:
        trials: that it learned from.
    """

    def __init__(self, run: Run, classes: int, drawn: int = DRAWN):
        assert run.settings is not None, "a published log has no space"
        self._settings, self._drawn = run.settings, drawn
        self._appraise = _appraiser(run, run.settings, classes)
        trained = run.complete
        if len(trained) > MOST:
            front = {trial.id for trial in pareto_front(trained, ["score", "params", "flops"])}
            others = [trial for trial in trained if trial.id not in front]
            chance = np.random.default_rng(0)
            places = chance.choice(len(others), max(0, MOST - len(front)), replace=False)
            kept = front | {others[place].id for place in places}
            trained = [trial for trial in trained if trial.id in kept]
        self.trials = trained
        self._scores = np.array([trial.score for trial in trained])
        self._known = [self._appraise(trial.architecture) for trial in trained]
        self._x = np.stack([known.features for known in self._known])
        self._predictor = ScorePredictor(self._x, self._scores)

    @classmethod
    def of(cls, run: Run, drawn: int = DRAWN) -> "RunPredictor | None":
        """Fit to a run; None where it is no search of this version, or has trained too few."""
        if run.settings is None or len(run.complete) < FEWEST:
            return None
        classes = classes_of(run.complete[0], run.settings.input_size)
        return None if classes is None else cls(run, classes, drawn)

    @property
    def noise(self) -> float:
        """Standard deviation of what a score owes to all that the features do not say.

        That is the luck of a training, and whatever else no feature describes: rather too much.
        """
        return self._predictor.noise

    @cached_property
    def held_out(self) -> list[tuple[Trial, float]]:
        """Trials, each with the score that those in the other tenths predict of it."""
        chance = np.random.default_rng(0)
        count = min(len(self.trials), MOST_HELD_OUT)
        places = np.sort(chance.choice(len(self.trials), count, replace=False))
        predicted = held_out(self._x[places], self._scores[places])
        return [(self.trials[place], float(p)) for place, p in zip(places, predicted, strict=True)]

    def knows(self, cost: str) -> bool:
        """Say whether a cost, as `cost_values` names it, can be told of any network."""
        name, _, table = cost.partition("@")
        latencies = [key for key in self._known[0].costs if key.startswith("latency:")]
        return name != "latency" or (f"latency:{table}" in latencies if table else bool(latencies))

    def outlook(self, cost: str) -> Outlook:
        """Predict the best score within each limit of a cost.

        Over networks drawn at random from the run's space, changes of its front, and those that it
        has trained; those that break its budgets are left out.

        Args:
            cost: as `cost_values` names it; one that it `knows`.
        """
        costs = np.array([cost_values(each.costs, [cost])[0] for each in self._networks])
        means, deviations = self._predicted
        order = np.lexsort((-means, costs))
        costs, means, deviations = costs[order], means[order], deviations[order]
        # The first one, and every later one that is better than all before it.
        best = np.maximum.accumulate(means)
        rises = np.concatenate([[True], means[1:] > best[:-1]])
        return Outlook(costs[rises], means[rises], deviations[rises])

    @cached_property
    def _predicted(self) -> tuple[Array, Array]:
        """Means and standard deviations of the scores of all `_networks`."""
        return self._predictor.predict(np.stack([each.features for each in self._networks]))

    @cached_property
    def _networks(self) -> list[Appraisal]:
        """All networks whose scores are predicted for an outlook."""
        chance = np.random.default_rng(0)
        space = SearchSpace.of(self._settings)
        front = pareto_front(self.trials, ["score", "params", "flops"])
        parents = [space.decisions(trial.architecture) for trial in front]
        found = list(self._known)
        for number in range(self._drawn):
            if number < CHANGED * self._drawn:
                decisions = space.changed(chance, parents[number % len(parents)])
            else:
                decisions = space.random(chance)
            if (appraised := self._appraise(space.architecture(decisions))).excess <= 0:
                found.append(appraised)
        return found


def classes_of(trial: Trial, input_size: int) -> int | None:
    """Return the number of classes of the data that a trial was for, by its parameters.

    Every class adds as many. None: no number of classes explains parameters and FLOPs, so that they
    were counted otherwise than here.
    """

    def costs(classes: int) -> tuple[int, int]:
        counted = count(blueprint(trial.architecture, classes, input_size, pruned=True))
        return counted.parameters.total, counted.flops.total

    one, two = costs(1)[0], costs(2)[0]
    classes, rest = divmod(trial.parameters - one, two - one)
    whole = rest == 0 and classes >= 0 and costs(classes + 1) == (trial.parameters, trial.flops)
    return classes + 1 if whole else None


def _appraiser(run: Run, settings: SearchSettings, classes: int) -> Appraiser:
    """Make the appraiser of a run's search; without latencies where its tables are gone."""
    try:
        check_files(run.path / FILE_NAME, settings, ["latency_tables"])
        tables = named_tables(settings, classes)
    except NastoolError:
        tables = {}
    budgets = [Budget.parse(text) for text in settings.budgets]
    kept = [budget for budget in budgets if tables or budget.quantity != "latency"]
    return Appraiser(classes, settings.input_size, tables, kept)
