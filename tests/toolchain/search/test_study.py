import hashlib
import json

import pytest

from export.errors import DataError, GateError, UsageError
from export.files import write_json
from toolchain.graph import canonical
from toolchain.search.candidate import CandidateError, Evaluation, Failure
from toolchain.search.configuration import SearchConfiguration, settle
from toolchain.search.executors import InlineExecutor
from toolchain.search.pareto import hypervolume, knee, non_dominated, pareto_front
from toolchain.search.run import Run, TrialState, pick
from toolchain.search.samplers import ALGORITHMS
from toolchain.search.study import Search, counts

CLASSES = 19


def judge(candidate):
    """A stand-in for training: the score is a fixed function of the canonical form."""
    text = f"{canonical(candidate.genotype)}{candidate.encoder}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Evaluation(int(digest[:8], 16) / 16**8, {"stage0": 0.0})


def configuration(**settings):
    defaults = {
        "data": "synthetic:10",
        "trials": 15,
        "branches": 2,
        "cells": 1,
        "encoders": ("ghostnet-0.1",),
        "objectives": ("flops:0.2G:-0.3",),
    }
    return SearchConfiguration(**(defaults | settings))


def run(path, judge=judge, **settings):
    path.mkdir(exist_ok=True)
    chosen = configuration(**settings)
    settle(chosen, path, resume=True)
    return Search(chosen, path, CLASSES).run(InlineExecutor(judge))


def essence(trials):
    return [(t.id, t.genotype, t.encoder, t.state, t.score, t.reward) for t in trials]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_runs_and_is_read_back(tmp_path, algorithm):
    trials = run(tmp_path, algorithm=algorithm, encoders=("ghostnet-0.1", "ghostnet-0.25"))
    assert sum(t.state is not TrialState.PRUNED for t in trials) == 15
    assert {t.encoder for t in trials} == {"ghostnet-0.1", "ghostnet-0.25"}
    again = Run.load(tmp_path)
    assert again.trials == trials
    assert again.configuration["algorithm"] == algorithm
    assert pick(tmp_path, "best")[0].reward == max(t.reward for t in trials if t.reward)
    front = pick(tmp_path, "pareto")
    assert pick(tmp_path, "knee")[0] in front
    assert pick(tmp_path, str(front[0].id)) == front[:1]
    with pytest.raises(UsageError, match="--pick is best, knee, pareto or the number"):
        pick(tmp_path, "worst")


def test_the_same_computation_is_judged_once(tmp_path):
    judged = []

    def counting(candidate):
        judged.append(canonical(candidate.genotype))
        return judge(candidate)

    trials = run(tmp_path, counting, trials=120, branches=1, algorithm="random")
    assert len(judged) == len(set(judged))
    reused = [t for t in trials if t.state is TrialState.REUSED]
    assert reused
    first = {t.canonical: t.score for t in trials if t.state is TrialState.COMPLETE}
    assert all(t.score == first[t.canonical] for t in reused)
    assert all("computes the same as candidate" in t.reason for t in reused)


def test_budgets_reject_before_any_training(tmp_path):
    def never_large(candidate):
        assert candidate.genotype in small
        return judge(candidate)

    small = Anything()
    trials = run(tmp_path, never_large, budgets=("flops<=0.1G",))
    rejected = [t for t in trials if t.state is TrialState.PRUNED]
    assert rejected
    assert all(t.flops > 0.1e9 or t.flops == 0 for t in rejected)
    assert all(t.flops <= 0.1e9 for t in trials if t.state is not TrialState.PRUNED)
    assert counts(trials)["complete"] + counts(trials)["reused"] == 15


class Anything:
    def __contains__(self, genotype):
        from toolchain.costs import network_costs

        return network_costs(genotype, "ghostnet-0.1", pruned=True).flops.total <= 0.1e9


def test_a_budget_that_nothing_meets_ends_the_search(tmp_path):
    with pytest.raises(GateError, match="over budget"):
        run(tmp_path, budgets=("params<=1K",))


def test_failures_are_stored_with_their_reason_and_never_rewarded(tmp_path):
    def failing(candidate):
        if candidate.number % 3 == 1:
            raise CandidateError(Failure.OUT_OF_MEMORY, "no room")
        return judge(candidate)

    failed = [t for t in run(tmp_path, failing) if t.state is TrialState.FAILED]
    assert failed
    assert all(t.reward is None and t.score is None for t in failed)
    assert all(t.failure == "out of memory" for t in failed)
    assert all(t.reason == "out of memory: no room" for t in failed)


def test_a_search_whose_candidates_all_fail_stops(tmp_path):
    def broken(candidate):
        raise CandidateError(Failure.NOT_FINITE, "the loss")

    with pytest.raises(GateError, match="10 candidates in a row failed, the last one: not finite"):
        run(tmp_path, broken)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_search_in_two_parts_is_the_search_in_one(tmp_path, algorithm):
    whole = run(tmp_path / "whole", trials=40, algorithm=algorithm)
    run(tmp_path / "parts", trials=17, algorithm=algorithm)
    parts = run(tmp_path / "parts", trials=40, algorithm=algorithm)
    assert essence(parts) == essence(whole)


def test_ppo_finds_better_candidates_than_random(tmp_path):
    def simple(candidate):
        """More separable convolutions on finer maps are better; known, smooth, cheap."""
        values = candidate.genotype.values
        return Evaluation(sum(v in (2, 3) for v in values) / len(values), {})

    means = {}
    for algorithm in ("ppo", "random"):
        trials = run(
            tmp_path / algorithm,
            simple,
            trials=250,
            branches=3,
            cells=2,
            algorithm=algorithm,
            objectives=(),
        )
        last = [t.reward for t in trials if t.reward is not None][-50:]
        means[algorithm] = sum(last) / len(last)
    assert means["ppo"] > 1.5 * means["random"]


def test_settings_of_a_resumed_search_must_agree(tmp_path):
    settle(configuration(), tmp_path, resume=False)
    with pytest.raises(UsageError, match="holds a search already; add --resume"):
        settle(configuration(), tmp_path, resume=False)
    settle(configuration(trials=99), tmp_path, resume=True)
    with pytest.raises(DataError, match=r"config\.json: seed was 0, now it is 1"):
        settle(configuration(seed=1), tmp_path, resume=True)


def test_folders_that_are_no_run(tmp_path):
    with pytest.raises(DataError, match="is not a run folder"):
        Run.load(tmp_path)
    write_json(tmp_path / "config.json", json.loads(configuration().model_dump_json()))
    with pytest.raises(DataError, match="the search has not begun"):
        Run.load(tmp_path)
    (tmp_path / "study.db").write_bytes(b"this is no database, whatever its name says" * 50)
    with pytest.raises(DataError, match=r"study\.db: cannot be opened"):
        Run.load(tmp_path)


def test_fronts(tmp_path):
    import numpy as np

    points = np.array([[1, 3], [2, 2], [3, 1], [3, 3], [2, 2]])
    assert non_dominated(points).tolist() == [True, True, True, False, False]
    assert hypervolume(points[:3].astype(float), np.array([4.0, 4.0])) == pytest.approx(6)
    trials = run(tmp_path)
    front = pareto_front(trials, ["score", "flops"])
    for trial in trials:
        if trial.score is not None and trial not in front:
            assert any(f.score >= trial.score and f.flops <= trial.flops for f in front)
    assert knee(front, ["score", "flops"]) in front
    with pytest.raises(UsageError, match="is none of score"):
        pareto_front(trials, ["score", "beauty"])
    with pytest.raises(UsageError, match="latency needs a table"):
        pareto_front(trials, ["score", "latency"])
