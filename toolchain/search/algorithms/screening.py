"""Draws that a predictor has screened: the default algorithm.

For each trial many architectures are proposed: changes of those on the front, crosses of two of
them, random ones. What each costs is known exactly; what it would score, a predictor says that has
learned from the finished trials. The one with the largest expected gain is trained: for the front,
and for the highest reward.

Screening proposals by a predictor is as old as White et al., "BANANAS", AAAI 2021, and Dudziak et
al., "BRP-NAS", NeurIPS 2020; the expected improvement is that of Jones et al., 1998, here over all
cost limits at once.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from toolchain.search.algorithms.controller import trial_seed
from toolchain.search.algorithms.coverage import Coverage, expected_improvement, front_of
from toolchain.search.algorithms.predictor import ScorePredictor
from toolchain.search.algorithms.task import SearchTask
from toolchain.search.appraisal import Appraisal
from toolchain.search.features import Array
from toolchain.search.pareto import cost_values
from toolchain.search.space import Decisions
from toolchain.search.storage import ended
from toolchain.search.stored_trials import CANDIDATE
from toolchain.search.trial import TrialState

FIRST = 16
"""Trials before the first prediction: random ones."""
PROPOSALS = 160
REFIT = 10
"""The length and the noise of the predictor are chosen again after so many results."""
SHARES = (0.65, 0.15, 0.2)
"""Of changed, crossed and random architectures among the proposals."""
PATIENCE = 2000
"""Steps to find one architecture that keeps the budgets, half as many after each time in vain."""

OBJECTIVE, HIGHEST = 1.0, 0.25
"""What the highest reward counts beside the whole front, with objectives and without.

Without any, after 150 trainings a quarter costs 0.01 of the front's hypervolume and raises the
highest score by 0.08 on a benchmark of the space; a whole one costs 0.04 and brings 0.12.
"""

REMEMBERED = 1 << 14
"""Appraisals that are kept: those of the front come up in every draw."""


class PredictorSampler(BaseSampler):
    """Samples what a predictor expects to do most for the front of score and costs.

    It keeps nothing that it could not compute again: a draw follows from the seed, the trial's
    number and the trials before it. Candidates that are at work count as finished with the score
    that is predicted for them, so that those beside them look elsewhere.

    Args:
        task: the search.
        seed: of chance.
    """

    def __init__(self, task: SearchTask, seed: int):
        self._task, self._seed = task, seed
        # What was fitted to the first results, by their number: it stays.
        self._fitted: dict[int, ScorePredictor] = {}
        self._appraised = lru_cache(maxsize=REMEMBERED)(self._appraise)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All decisions are drawn together."""
        return dict(self._task.space.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose, predict, choose."""
        chance = np.random.default_rng(trial_seed(self._seed, trial.number))
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        seen = [self._appraised(self._decisions(t)) for t in others]
        known = {appraised.computes for appraised in seen}
        results = [t for t in ended(others) if _score(t) is not None]
        if len(results) < FIRST:
            in_vain = sum(appraised.excess > 0 for appraised in seen)
            chosen = self._affordable(chance, known, PATIENCE >> in_vain)
        else:
            at_work = [t for t in others if t.state == OptunaState.RUNNING]
            chosen = self._screened(chance, results, at_work, known)
        return dict(zip(self._task.space.options, chosen, strict=True))

    def _screened(
        self,
        chance: np.random.Generator,
        results: Sequence[FrozenTrial],
        at_work: Sequence[FrozenTrial],
        known: set[Any],
    ) -> Decisions:
        drawn = [self._decisions(trial) for trial in results]
        x, costs = self._described(drawn)
        scores = _expected(results)
        predictor = ScorePredictor(x, scores, self._shaped(x, results))
        if at_work:
            waiting = [self._decisions(trial) for trial in at_work]
            drawn += waiting
            more, more_costs = self._described(waiting)
            scores = np.concatenate([scores, predictor.predict(more)[0]])
            x, costs = np.concatenate([x, more]), np.concatenate([costs, more_costs])
            predictor = ScorePredictor(x, scores, predictor)
        # What is predicted for those that are known: their scores, with less of their luck.
        believed = predictor.predict(x)[0]
        proposals = self._proposals(chance, [drawn[place] for place in front_of(believed, costs)])
        proposed, their_costs = self._described(proposals)
        means, deviations = predictor.predict(proposed)
        coverage = Coverage(believed, costs, chance)
        gains = coverage.expected_gain(means, deviations, their_costs)
        # Without objectives that is the highest score, the dear end of the front.
        factors = self._factors(proposals)
        highest = (self._factors(drawn) * believed).max()
        rise = factors * expected_improvement(means, deviations, highest / factors)
        gains = gains + (OBJECTIVE if self._task.reward.objectives else HIGHEST) * rise
        for place in np.argsort(-gains, kind="stable"):
            if self._appraised(proposals[place]).computes not in known:
                return proposals[place]
        return self._affordable(chance, known)

    def _shaped(self, x: Array, results: Sequence[FrozenTrial]) -> ScorePredictor:
        """Return a predictor of the last full `REFIT` results, for its length and noise.

        Of those alone, so that it is the same whenever and in whatever process it is fitted.
        """
        first = len(results) // REFIT * REFIT
        if first not in self._fitted:
            self._fitted = {first: ScorePredictor(x[:first], _expected(results[:first]))}
        return self._fitted[first]

    def _proposals(
        self, chance: np.random.Generator, parents: Sequence[Decisions]
    ) -> list[Decisions]:
        """Propose architectures that keep the budgets."""
        space = self._task.space
        found: dict[Decisions, None] = {}
        for kind in chance.choice(3, 3 * PROPOSALS, p=SHARES):
            mother, father = (parents[place] for place in chance.integers(len(parents), size=2))
            if kind == 0:
                decisions = space.changed(chance, mother)
            elif kind == 1:
                from_father = chance.random(len(mother)) < 0.5
                pairs = zip(mother, father, from_father, strict=True)
                decisions = tuple(b if other else a for a, b, other in pairs)
            else:
                decisions = space.random(chance)
            if self._appraised(decisions).excess <= 0:
                found[decisions] = None
            if len(found) == PROPOSALS:
                break
        return list(found) or list(parents)

    def _affordable(
        self, chance: np.random.Generator, known: set[Any], patience: int = PATIENCE
    ) -> Decisions:
        """Draw an architecture that is new and keeps the budgets, if one is found in time.

        Where random ones are all too expensive, the least expensive is changed bit by bit.
        """
        space = self._task.space
        best = space.random(chance)
        for step in range(patience):
            appraised = self._appraised(best)
            if appraised.excess <= 0 and appraised.computes not in known:
                break
            if appraised.excess <= 0 or step < 50:
                other = space.random(chance)
            else:
                other = space.changed(chance, best)
            # One that is known is as bad as one that costs anything.
            if appraised.computes in known or self._appraised(other).excess < appraised.excess:
                best = other
        return best

    def _decisions(self, trial: FrozenTrial) -> Decisions:
        return tuple(trial.params[place] for place in self._task.space.options)

    def _appraise(self, decisions: Decisions) -> Appraisal:
        return self._task.appraise(self._task.space.architecture(decisions))

    def _described(self, drawn: Sequence[Decisions]) -> tuple[Array, Array]:
        """Return features, [n, features], and the logarithms of costs, [n, costs]."""
        appraised = [self._appraised(decisions) for decisions in drawn]
        costs = [cost_values(each.costs, self._task.costs) for each in appraised]
        return np.stack([each.features for each in appraised]), np.log(np.array(costs))

    def _factors(self, drawn: Sequence[Decisions]) -> Array:
        """Return what the costs make of a score of 1, as a reward, [n]."""
        return np.array([self._task.reward(1.0, self._appraised(v).costs) for v in drawn])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Nothing is left to draw alone."""
        raise AssertionError(f"{name} is not a decision of the search space")


def _score(trial: FrozenTrial) -> float | None:
    """Return the score of a candidate that was trained, of a stopped one that after stage 0."""
    candidate = trial.user_attrs[CANDIDATE]
    if candidate["state"] == TrialState.COMPLETE:
        score: float | None = candidate["score"]
        return score
    return candidate["stage0_score"] if candidate["state"] == TrialState.PRUNED else None


def _expected(results: Sequence[FrozenTrial]) -> Array:
    """Return the scores; of stopped candidates as far as stage 1 would probably have brought them.

    That is as far as it brought the others on average.
    """
    candidates = [trial.user_attrs[CANDIDATE] for trial in results]
    complete = [c for c in candidates if c["state"] == TrialState.COMPLETE]
    gains = [c["score"] - c["stage0_score"] for c in complete if c["stage0_score"] is not None]
    gain = float(np.mean(gains)) if gains else 0.0
    rise = [0.0 if c["state"] == TrialState.COMPLETE else gain for c in candidates]
    return np.array([_score(trial) for trial in results], float) + rise
