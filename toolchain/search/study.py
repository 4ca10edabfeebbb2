"""The loop: draw a candidate, look it up, cost it, screen it, have it evaluated, store it."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna

from export.system.errors import GateError, UsageError
from toolchain.search.algorithms import SearchTask, make_sampler
from toolchain.search.appraisal import Appraiser, named_tables
from toolchain.search.database import storage_url
from toolchain.search.executors import CandidateResult, Executor
from toolchain.search.objectives import FLOPS_FLOOR, Budget, Objective, Reward, cost_of
from toolchain.search.pareto import search_costs
from toolchain.search.pruner import Pruner
from toolchain.search.run import finalists, worth_rescoring
from toolchain.search.space import SearchSpace
from toolchain.search.storage import StudyStorage
from toolchain.search.stored_trials import read_trial
from toolchain.search.trial import LONGER, CandidateError, Trial, TrialState, candidate_of
from toolchain.settings.search_settings import SearchSettings

log = logging.getLogger(__name__)

MAX_IDLE = 1000
"""Give up after so many draws in a row that need no training."""
MAX_FAILED_IN_A_ROW = 10
_OPTUNA_STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.REUSED: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.INFEASIBLE: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}

Report = Callable[[Trial], None]


class Search:
    """A search in a run folder, new or continued.

    Args:
        settings: what to do.
        path: the run folder; the study's database is in it unless another storage is configured.
        classes: number of classes of the data.

    Raises:
        UsageError: an objective or a budget is wrong.
        DataError: a latency table cannot be read or has no entries for the encoders.
    """

    def __init__(self, settings: SearchSettings, path: Path, classes: int):
        self.settings, self._path, self.classes = settings, path, classes
        self._start = time.perf_counter()
        self.space = SearchSpace.of(settings)
        self._tables = named_tables(settings, classes)
        self._objectives = [Objective.parse(text) for text in settings.objectives]
        weighed = any(objective.weight != 1 for objective in self._objectives)
        if weighed and settings.combination == "product":
            raise UsageError("the weight of an --objective counts with --combination mean only")
        self._reward = Reward(
            self._objectives, settings.combination, settings.bonus_limit, FLOPS_FLOOR
        )
        budgets = [Budget.parse(text) for text in settings.budgets]
        self.appraise = Appraiser(classes, settings.input_size, self._tables, budgets)
        self._check_costs_known()
        self.costs = search_costs(list(self._tables), settings.objectives)
        task = SearchTask(self.space, self.appraise, self.costs, self._reward)
        self._sampler = make_sampler(settings.algorithm, task, settings.seed)
        # NSGA-II weighs nothing: it gets score and costs themselves. The others get the reward.
        self._several = settings.algorithm == "nsga2" and bool(self._objectives)
        self._pruner = Pruner(self.costs)
        self._known: dict[tuple[str, str, int | None], Trial] = {}
        # Drawn trials that are being trained, and those that wait for one of them that computes
        # the same, each as far as it is known.
        self._at_work: dict[int, Trial] = {}
        self._waiting: dict[int, list[int]] = {}
        self._trained = self._idle = self._failed_in_a_row = 0
        self.trials: list[Trial] = []
        self.finalists: list[Trial] = []

    def run(
        self,
        executor: Executor,
        report: Report = lambda _: None,
        begun: Callable[[], None] = lambda: None,
    ) -> list[Trial]:
        """Search until the wanted number of candidates was trained; return all trials.

        A candidate that was at work when the search was killed is evaluated again first. At the end
        the best are trained again, longer (``rescore``); see `finalists`.

        Args:
            executor: evaluates candidates.
            report: is told of every trial when it is stored.
            begun: is called when the study is there, before its next trial.

        Raises:
            DataError: the database cannot be used, or not any longer.
            GateError: nearly all candidates are over budget, or one after the other fails.
        """
        self._report = report
        self._storage = StudyStorage(
            storage_url(self._path, self.settings.storage),
            self.space,
            self._sampler,
            1 + len(self._objectives) * self._several,
            self._path,
        )
        with closing(self._storage):
            begun()
            # What began and did not end goes first.
            self._again = [trial.number for trial in self._storage.interrupted]
            self._drawn = {trial.number: trial for trial in self._storage.interrupted}
            for done in self._storage.finished:
                self._remember(read_trial(done))
            self._search(executor)
            self._rescore(executor)
            return self.trials

    def _search(self, executor: Executor) -> None:
        while True:
            while len(self._at_work) < executor.capacity and self._begin_next(executor):
                pass
            if not self._at_work:
                break
            self._end(executor.next())
        if self._idle >= MAX_IDLE:
            self._say_why_it_ends()

    def _begin_next(self, executor: Executor) -> bool:
        """Begin with a trial, perhaps end it at once; say whether there was one to begin with."""
        if self._again:
            number = self._again.pop(0)
            self._begin(number, self._drawn.pop(number), executor)
            return True
        if self._enough or self._idle >= MAX_IDLE:
            return False
        trial = self._storage.draw()
        self._begin(trial.number, trial, executor)
        return True

    @property
    def _enough(self) -> bool:
        left = self.seconds_left
        begun = self._trained + len(self._at_work)
        return begun >= self.settings.trials or (left is not None and left < 0)

    @property
    def seconds_left(self) -> float | None:
        """For candidates to begin with, so that the best can be scored again in time.

        None: there is no limit.
        """
        if self.settings.hours is None:
            return None
        complete = [trial.seconds for trial in self.trials if trial.state is TrialState.COMPLETE]
        each = fmean(complete) if complete else 0.0
        # The one that begins now, and all that follow the last one.
        still = each * (1 + LONGER * ceil(self.settings.rescore / self.settings.workers))
        return self.settings.hours * 3600 - (time.perf_counter() - self._start) - still

    def _begin(self, number: int, drawn: optuna.trial.FrozenTrial, executor: Executor) -> None:
        """End a trial without training where that is possible; have it trained elsewhere."""
        found = self.appraise(self.space.decode(drawn.params))
        trial = Trial(number, state=TrialState.COMPLETE, score=None, reward=None, **found.facts)
        same = (n for n, other in self._at_work.items() if other.computes == trial.computes)
        if found.complaint:
            state, reason = TrialState.INFEASIBLE, found.complaint
            self._store(trial, state, reason=reason, excess=found.excess)
        elif earlier := self._known.get(trial.computes):
            self._reuse(trial, earlier)
        elif (duplicate := next(same, None)) is not None:
            self._storage.begin(number)
            self._drawn[number] = drawn
            self._waiting.setdefault(duplicate, []).append(number)
            self._idle += 1
        elif not self._enough:  # if it is, a search for more comes back to this trial
            self._storage.begin(number)
            self._idle = 0
            if self.settings.early_stop:
                trial = replace(trial, stop_below=self._pruner.stop_below(trial.costs))
            self._at_work[number] = trial
            executor.submit(candidate_of(trial))

    def _end(self, result: CandidateResult) -> None:
        """Store what an executor reports."""
        trial = self._at_work.pop(result.number)
        trial = replace(trial, seconds=round(result.seconds, 4))
        # Those that waited copy the result, or the first of them is trained in its turn.
        self._again += self._waiting.pop(result.number, [])
        outcome = result.outcome
        if isinstance(outcome, CandidateError):
            self._store(trial, TrialState.FAILED, failure=outcome.kind, reason=str(outcome))
            self._check_failures()
            return
        self._failed_in_a_row = 0
        expected = None
        if outcome.stage0_score is not None:
            expected = self._reward(outcome.stage0_score + self._pruner.gain, trial.costs)
        if outcome.score is None:
            reason = f"beaten at its cost: {outcome.stage0_score:.3f} after stage 0"
            state = TrialState.PRUNED
        else:
            reason, state = None, TrialState.COMPLETE
        self._store(trial, state, reason=reason, expected=expected, **asdict(outcome))

    def _reuse(self, trial: Trial, earlier: Trial) -> None:
        """Copy what is known of a candidate that computes the same."""
        reason = f"computes the same as trial {earlier.id}"
        expected = None
        if earlier.state is TrialState.PRUNED and earlier.stage0_score is not None:
            # It has no score to copy; what it taught, it teaches again.
            expected = self._reward(earlier.stage0_score + self._pruner.gain, trial.costs)
        self._store(
            trial,
            TrialState.REUSED,
            score=earlier.score,
            stage0_score=earlier.stage0_score,
            expected=expected,
            reason=reason,
        )

    def _store(
        self,
        trial: Trial,
        state: TrialState,
        *,
        expected: float | None = None,
        excess: float | None = None,
        **outcome: Any,
    ) -> None:
        # The order is counted: clocks are set back.
        outcome |= {"order": len(self.trials), "finished_at": time.time()}
        trial = replace(trial, state=state, **outcome)
        values = None
        if (score := trial.score) is not None:
            reward = self._reward(score, trial.costs)
            trial = replace(trial, reward=reward)
            costs = (cost_of(trial.costs, g.quantity, g.table) for g in self._objectives)
            values = [score, *costs] if self._several else [reward]
        optuna_state = _OPTUNA_STATES[state]
        if values is None and state is TrialState.REUSED:
            optuna_state = optuna.trial.TrialState.PRUNED
        stored = self._storage.finish(
            trial.id, asdict(trial), optuna_state, values, expected=expected, excess=excess
        )
        self._remember(read_trial(stored))
        self._report(self.trials[-1])

    def _remember(self, trial: Trial) -> None:
        self.trials.append(trial)
        self._trained += trial.state.trained
        self._idle = 0 if trial.state.trained else self._idle + 1
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            self._known[trial.computes] = trial
            self._pruner.add(trial)

    def _rescore(self, executor: Executor) -> None:
        """Train the best again, longer; what is known already is not trained again."""
        known = self._storage.rescored()
        chosen = worth_rescoring(self.trials, self.settings)
        left = {trial.id: trial for trial in chosen if trial.id not in known}
        if left:
            log.info("scoring %d of the best again after a longer training", len(left))
        for result in executor.map(candidate_of(t, rescored=True) for t in left.values()):
            trial, outcome = left[result.number], result.outcome
            score = None if isinstance(outcome, CandidateError) else outcome.score
            reward = None if score is None else self._reward(score, trial.costs)
            seconds = round(result.seconds, 4)
            known[trial.id] = {"score": score, "reward": reward, "seconds": seconds}
            self._storage.rescore(trial.id, known[trial.id])
            if score is None:
                log.warning("trial %d is out: its longer training failed (%s)", trial.id, outcome)
            else:
                log.info("trial %d: score %.3f, was %.3f", trial.id, score, trial.score)
        self.finalists = finalists(self.trials, known, chosen)

    def _check_costs_known(self) -> None:
        """Fail now, not after the first candidate, where an objective names an unknown table."""
        anything = self.space.decode(dict.fromkeys(self.space.options, 0))
        costs = self.appraise(anything).costs
        for objective in self._objectives:
            objective.factor(costs)

    def _check_failures(self) -> None:
        """Give up after some failures in a row; those before this start do not count."""
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            raise GateError(
                f"{self._failed_in_a_row} candidates in a row failed, the last one: "
                f"{self.trials[-1].reason}"
            )

    def _say_why_it_ends(self) -> None:
        """Say why fewer candidates are trained than were wanted."""
        last = [trial.state for trial in self.trials[-MAX_IDLE:]]
        rejected = last.count(TrialState.INFEASIBLE)
        why = f"of the last {len(last)} draws {rejected} were over budget and none was new"
        if not any(trial.state is TrialState.COMPLETE for trial in self.trials):
            raise GateError(
                f"{why}; raise the --budget, or choose a smaller --encoder or fewer --cells"
            )
        log.warning("%s: the search ends before its %d trials", why, self.settings.trials)
