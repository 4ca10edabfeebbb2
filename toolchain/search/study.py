"""The loop: ask for a candidate, look it up, cost it, judge it, store it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna

from export.errors import DataError, GateError
from toolchain.blueprint import blueprint
from toolchain.costs import count
from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.profiling.table import LatencyTable
from toolchain.search.configuration import SearchConfiguration
from toolchain.search.evaluation import CandidateError, Evaluation
from toolchain.search.objectives import Budget, Costs, Objective, cost_of
from toolchain.search.reward import Reward
from toolchain.search.run import TrialRecord, TrialState, named_costs, record
from toolchain.search.samplers import make_sampler
from toolchain.search.space import SearchSpace
from toolchain.search.storage import STUDY, open_storage, storage_url

Judge = Callable[[Genotype, str, int], Evaluation]
"""Judges (genotype, encoder, number of the trial); `CandidateEvaluator` is one."""

MAX_REJECTED = 200
"""Give up when this many candidates for each wanted one are over budget."""
MAX_FAILED_AT_FIRST = 5


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
        self._reward = Reward(self._objectives, configuration.combination)
        self._check_costs_known()
        # NSGA-II weighs nothing: it gets score and costs themselves. The others get the reward.
        self._several = configuration.algorithm == "nsga2" and bool(self._objectives)
        self._known: dict[tuple[str, str], TrialRecord] = {}
        self.records: list[TrialRecord] = []

    def run(
        self, judge: Judge, report: Callable[[TrialRecord], None] = lambda _: None
    ) -> list[TrialRecord]:
        """Search until the wanted number of candidates was judged; return all records.

        Candidates over a budget are not counted. A candidate whose search was killed before it
        was stored is judged again first.

        Args:
            judge: scores a candidate.
            report: is told of every candidate when it is stored.

        Raises:
            GateError: nearly all candidates are over budget, or the first ones all fail.
        """
        self._open()
        interrupted = self._study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
        for frozen in interrupted:
            # Optuna has no public way to take up a trial that another process left.
            report(self._finish(optuna.trial.Trial(self._study, frozen._trial_id), judge))
        while self._judged < self.configuration.trials:
            report(self._finish(self._study.ask(), judge))
            self._check_progress()
        return self.records

    def _open(self) -> None:
        """Open the study and read what it holds; a new one is made if there is none."""
        configuration = self.configuration
        self._study = optuna.create_study(
            study_name=STUDY,
            storage=open_storage(storage_url(self._path, configuration.storage)),
            sampler=make_sampler(configuration.algorithm, self.space, configuration.seed),
            directions=["maximize"] + ["minimize"] * len(self._objectives) * self._several,
            load_if_exists=True,
        )
        finished = [trial for trial in self._study.get_trials() if trial.state.is_finished()]
        self.records += map(record, finished)
        self._known = {
            (trial.canonical, trial.encoder): trial
            for trial in self.records
            if trial.state is TrialState.COMPLETE
        }

    @property
    def _judged(self) -> int:
        return sum(trial.state is not TrialState.PRUNED for trial in self.records)

    def _finish(self, trial: optuna.trial.Trial, judge: Judge) -> TrialRecord:
        """Bring a trial that was asked for to its end, and store it."""
        genotype, encoder = self.space.decode(
            {
                place: trial.suggest_categorical(place, distribution.choices)
                for place, distribution in self.space.distributions.items()
            }
        )
        facts = self._facts(genotype, encoder)
        costs = named_costs(facts["parameters"], facts["flops"], facts["latency_ms"])
        rejections = self._rejections(costs)
        earlier = self._known.get((facts["canonical"], encoder))
        start = time.perf_counter()
        if rejections:
            facts |= {"state": TrialState.PRUNED, "reason": rejections[0]}
        elif earlier:
            facts |= {
                "state": TrialState.REUSED,
                "reason": f"computes the same as candidate {earlier.id}",
                "score": earlier.score,
            }
        else:
            try:
                evaluation = judge(genotype, encoder, trial.number)
                facts |= {"state": TrialState.COMPLETE, "score": evaluation.score}
                facts |= {"split": evaluation.split}
            except CandidateError as error:
                facts |= {"state": TrialState.FAILED, "reason": str(error)}
        facts["seconds"] = time.perf_counter() - start
        return self._store(trial, facts, costs)

    def _store(self, trial: optuna.trial.Trial, facts: dict[str, Any], costs: Costs) -> TrialRecord:
        score = facts.get("score")
        facts["score"] = score
        facts["reward"] = None if score is None else self._reward(score, costs)
        # One attribute, written before the trial is closed: a closed trial is always complete.
        trial.set_user_attr("candidate", facts)
        if score is None:
            states = optuna.trial.TrialState
            pruned = facts["state"] is TrialState.PRUNED
            frozen = self._study.tell(trial, state=states.PRUNED if pruned else states.FAIL)
        elif self._several:
            values = [cost_of(costs, goal.quantity, goal.table) for goal in self._objectives]
            frozen = self._study.tell(trial, [score, *values])
        else:
            frozen = self._study.tell(trial, facts["reward"])
        result = record(frozen)
        self.records.append(result)
        if result.state is TrialState.COMPLETE:
            self._known[result.canonical, result.encoder] = result
        return result

    def _facts(self, genotype: Genotype, encoder: str) -> dict[str, Any]:
        plan = blueprint(
            genotype, encoder, self.classes, self.configuration.input_size, pruned=True
        )
        costs = count(plan)
        return {
            "genotype": str(genotype),
            "canonical": canonical(genotype),
            "encoder": encoder,
            "parameters": costs.parameters.total,
            "flops": costs.flops.total,
            "latency_ms": {
                name: round(table.predict(plan).median, 4) for name, table in self._tables.items()
            },
        }

    def _rejections(self, costs: Costs) -> list[str]:
        """Say why a candidate is not worth training; usually there is no reason."""
        if not costs["flops"]:
            return ["its context cell ignores the image"]
        return [text for budget in self._budgets if (text := budget.exceeded(costs))]

    def _check_costs_known(self) -> None:
        """Fail now, not after the first candidate, where an objective names an unknown table."""
        costs = named_costs(1, 1, dict.fromkeys(self._tables, 1.0))
        for objective in self._objectives:
            objective.factor(costs)
        for budget in self._budgets:
            budget.exceeded(costs)

    def _check_progress(self) -> None:
        rejected = len(self.records) - self._judged
        if rejected > MAX_REJECTED * (self._judged + 1):
            raise GateError(
                f"{rejected} candidates were over budget and {self._judged} were not; "
                "raise the --budget, or choose a smaller --encoder or fewer --cells"
            )
        first = [t for t in self.records if t.state is not TrialState.PRUNED]
        if len(first) == MAX_FAILED_AT_FIRST and all(t.state is TrialState.FAILED for t in first):
            raise GateError(f"the first {len(first)} candidates all failed: {first[0].reason}")


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
                raise DataError(path, f"{field} is {getattr(made, field)}, the search has {value}")
        missing = [name for name in configuration.encoders if name not in made.encoders]
        if missing:
            raise DataError(path, f"has no entries for the encoder {missing[0]}; profile it too")
        tables[path.stem] = table
    return tables


def counts(records: Sequence[TrialRecord]) -> dict[str, int]:
    """Count the trials by how they ended."""
    return {state.value: sum(t.state is state for t in records) for state in TrialState}
