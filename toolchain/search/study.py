"""The loop: ask for a candidate, look it up, cost it, have it judged, store it."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna

from export.errors import DataError, GateError, UsageError
from toolchain.blueprint import blueprint
from toolchain.costs import count
from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.profiling.table import LatencyTable
from toolchain.search.candidate import Candidate, CandidateError, Evaluation, Outcome
from toolchain.search.configuration import SearchConfiguration
from toolchain.search.early_stop import RunningRecord
from toolchain.search.executors import Executor
from toolchain.search.ledger import Ledger
from toolchain.search.objectives import Budget, Objective, cost_of
from toolchain.search.reward import Reward
from toolchain.search.run import TrialRecord, TrialState, named_costs, record
from toolchain.search.samplers import make_sampler
from toolchain.search.space import SearchSpace
from toolchain.search.storage import storage_url

MAX_REJECTED = 200
"""Give up when this many candidates for each wanted one are over budget."""
MAX_FAILED_IN_A_ROW = 10
_OPTUNA_STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.REUSED: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}

Report = Callable[[TrialRecord], None]
Facts = dict[str, Any]


class Search:
    """A search in a run folder, new or continued.

    Args:
        configuration: what to do.
        path: the run folder; the study's database is in it unless another storage is configured.
        classes: number of classes of the data.

    Raises:
        UsageError: an objective, a budget or the algorithm is wrong.
        DataError: a latency table cannot be read or has no entries for the encoders.
    """

    def __init__(self, configuration: SearchConfiguration, path: Path, classes: int):
        self.configuration, self._path, self.classes = configuration, path, classes
        self.space = SearchSpace(
            configuration.branches, configuration.cells, configuration.encoders
        )
        self._tables = load_tables(configuration, classes)
        self._objectives = [Objective.parse(text) for text in configuration.objectives]
        self._budgets = [Budget.parse(text) for text in configuration.budgets]
        weighed = any(objective.weight != 1 for objective in self._objectives)
        if weighed and configuration.combination == "product":
            raise UsageError("the weight of an --objective counts with --combination mean only")
        self._reward = Reward(self._objectives, configuration.combination)
        self._check_costs_known()
        self._sampler = make_sampler(configuration.algorithm, self.space, configuration.seed)
        # NSGA-II weighs nothing: it gets score and costs themselves. The others get the reward.
        self._several = configuration.algorithm == "nsga2" and bool(self._objectives)
        self._hopes = RunningRecord() if configuration.early_stop else None
        self._known: dict[tuple[str, str], TrialRecord] = {}
        # Candidates at work by trial, and those that wait for one at work that computes the same.
        self._at_work: dict[int, Facts] = {}
        self._waiting: dict[int, list[optuna.trial.FrozenTrial]] = {}
        self._rejected = self._failed_in_a_row = 0
        self.records: list[TrialRecord] = []

    def run(self, executor: Executor, report: Report = lambda _: None) -> list[TrialRecord]:
        """Search until the wanted number of candidates was judged; return all records.

        Candidates over a budget are not counted. A candidate that was at work when the search was
        killed is judged again first.

        Args:
            executor: judges candidates.
            report: is told of every candidate when it is stored.

        Raises:
            GateError: nearly all candidates are over budget, or one after the other fails.
        """
        self._report = report
        self._open()
        with closing(self._ledger):
            return self._loop(executor)

    def _loop(self, executor: Executor) -> list[TrialRecord]:
        while True:
            while len(self._at_work) < executor.capacity:
                if self._again:
                    self._begin(self._again.pop(0), executor)
                elif self._judged + self._pending < self.configuration.trials:
                    self._begin(self._ledger.begin(), executor)
                else:
                    break
            if not self._at_work:
                return self.records
            self._end(executor.next())

    def _open(self) -> None:
        """Open the study and read what it holds; a new one is made if there is none."""
        self._ledger = Ledger(
            storage_url(self._path, self.configuration.storage),
            self.space,
            self._sampler,
            1 + len(self._objectives) * self._several,
        )
        # What began and did not end goes first.
        self._again = self._ledger.interrupted
        for trial in self._ledger.finished:
            self._remember(record(trial))

    def _remember(self, trial: TrialRecord) -> None:
        self.records.append(trial)
        if trial.state is TrialState.PRUNED:
            self._rejected += 1
            return
        failed = trial.state is TrialState.FAILED
        self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
        if trial.state is TrialState.COMPLETE:
            self._known[trial.canonical, trial.encoder] = trial
            if self._hopes and trial.stage0_score is not None:
                self._hopes.add(trial.stage0_score)

    @property
    def _judged(self) -> int:
        return len(self.records) - self._rejected

    @property
    def _pending(self) -> int:
        return len(self._at_work) + sum(map(len, self._waiting.values()))

    def _begin(self, trial: optuna.trial.FrozenTrial, executor: Executor) -> None:
        """Settle a trial without training where that is possible; have it judged elsewhere."""
        genotype, encoder = self.space.decode(trial.params)
        facts = self._facts(trial.number, genotype, encoder)
        twin = self._twin_at_work(facts)
        if problem := self._rejection(facts):
            self._store(facts, TrialState.PRUNED, reason=problem)
            self._check_progress()
        elif earlier := self._known.get((facts["canonical"], encoder)):
            self._reuse(facts, earlier)
        elif twin is not None:
            self._waiting.setdefault(twin, []).append(trial)
        else:
            self._at_work[trial.number] = facts
            stop_below = self._hopes.threshold if self._hopes else None
            executor.submit(Candidate(trial.number, genotype, encoder, stop_below))

    def _twin_at_work(self, facts: Facts) -> int | None:
        same = ("canonical", "encoder")
        for number, other in self._at_work.items():
            if all(facts[key] == other[key] for key in same):
                return number
        return None

    def _end(self, outcome: Outcome) -> None:
        """Store what an executor reports."""
        facts = self._at_work.pop(outcome.number)
        facts["seconds"] = round(outcome.seconds, 4)
        # Those that waited copy the result, or the first of them is judged in its turn.
        self._again += self._waiting.pop(outcome.number, [])
        if isinstance(outcome.result, Evaluation):
            self._store(facts, TrialState.COMPLETE, **asdict(outcome.result))
        else:
            self._fail(facts, outcome.result)
            self._check_progress()

    def _reuse(self, facts: Facts, earlier: TrialRecord) -> None:
        self._store(
            facts,
            TrialState.REUSED,
            score=earlier.score,
            stage0_score=earlier.stage0_score,
            stopped=earlier.stopped,
            reason=f"computes the same as candidate {earlier.id}",
        )

    def _fail(self, facts: Facts, error: CandidateError) -> None:
        self._store(facts, TrialState.FAILED, failure=error.kind, reason=str(error))

    def _store(self, facts: Facts, state: TrialState, **more: Any) -> TrialRecord:
        # The order is counted: clocks are set back.
        order = len(self.records)
        facts |= {"state": state, "score": None, "order": order, "finished_at": time.time(), **more}
        number, score = facts.pop("id"), facts["score"]
        costs = named_costs(facts["parameters"], facts["flops"], facts["latency_ms"])
        facts["reward"] = None if score is None else self._reward(score, costs)
        values = None
        if score is not None and self._several:
            goals = self._objectives
            values = [score, *(cost_of(costs, goal.quantity, goal.table) for goal in goals)]
        elif score is not None:
            values = [facts["reward"]]
        result = record(self._ledger.finish(number, facts, _OPTUNA_STATES[state], values))
        self._remember(result)
        self._report(result)
        return result

    def _facts(self, number: int, genotype: Genotype, encoder: str) -> Facts:
        plan = blueprint(
            genotype, encoder, self.classes, self.configuration.input_size, pruned=True
        )
        costs = count(plan)
        return {
            "id": number,
            "genotype": str(genotype),
            "canonical": canonical(genotype),
            "encoder": encoder,
            "parameters": costs.parameters.total,
            "flops": costs.flops.total,
            "latency_ms": {
                name: round(table.predict(plan).median, 4) for name, table in self._tables.items()
            },
        }

    def _rejection(self, facts: Facts) -> str | None:
        """Say why a candidate is not worth training; usually there is no reason."""
        if not facts["flops"]:
            return "its context cell ignores the image"
        costs = named_costs(facts["parameters"], facts["flops"], facts["latency_ms"])
        return next((text for budget in self._budgets if (text := budget.exceeded(costs))), None)

    def _check_costs_known(self) -> None:
        """Fail now, not after the first candidate, where an objective names an unknown table."""
        costs = named_costs(1, 1, dict.fromkeys(self._tables, 1.0))
        for objective in self._objectives:
            objective.factor(costs)
        for budget in self._budgets:
            budget.exceeded(costs)

    def _check_progress(self) -> None:
        if self._rejected > MAX_REJECTED * (self._judged + 1):
            raise GateError(
                f"{self._rejected} candidates were over budget and {self._judged} were not; "
                "raise the --budget, or choose a smaller --encoder or fewer --cells"
            )
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            raise GateError(
                f"{self._failed_in_a_row} candidates in a row failed, the last one: "
                f"{self.records[-1].reason}"
            )


def load_tables(configuration: SearchConfiguration, classes: int) -> dict[str, LatencyTable]:
    """Load the latency tables of a search, by name.

    A table need not be of this machine: one may search here for a device that is elsewhere.

    Raises:
        DataError: a table cannot be read, or was made for other encoders, sizes or classes.
    """
    tables = {}
    for path in configuration.latency_tables:
        table = LatencyTable.load(path)
        made = table.provenance
        wanted = {"classes": classes, "input_size": (configuration.input_size,) * 2}
        for field, value in wanted.items():
            if getattr(made, field) != value:
                raise DataError(
                    path,
                    f"{field} is {getattr(made, field)}, the search has {value}; profile the "
                    "device with the search's classes and --input-size",
                )
        missing = [name for name in configuration.encoders if name not in made.encoders]
        if missing:
            raise DataError(path, f"has no entries for the encoder {missing[0]}; profile it too")
        if path.stem in tables:
            raise UsageError(f"two --latency-table are named {path.stem}; rename one of the files")
        tables[path.stem] = table
    return tables


def counts(records: Sequence[TrialRecord]) -> dict[str, int]:
    """Count the trials by how they ended."""
    return {state.value: sum(t.state is state for t in records) for state in TrialState}
