import hashlib
import json
from dataclasses import replace

import pytest

from export.system.errors import DataError, GateError, UsageError
from export.system.files import write_json
from toolchain.architecture import Architecture
from toolchain.graph import canonical
from toolchain.search import study
from toolchain.search.algorithms import ALGORITHMS
from toolchain.search.appraisal import Appraiser
from toolchain.search.executors import InlineExecutor
from toolchain.search.pareto import hypervolume, knee, non_dominated, pareto_front
from toolchain.search.run import Run, pick, thinned, worth_rescoring
from toolchain.search.study import Search
from toolchain.search.trial import CandidateError, Evaluation, Failure, TrialState, counts
from toolchain.settings.base import Record
from toolchain.settings.search_settings import SearchSettings
from toolchain.settings.training_settings import TrainingSettings

CLASSES = 19


def evaluate(candidate):
    """A stand-in for training: the score is a fixed function of the canonical form."""
    text = f"{canonical(candidate.architecture.genotype)}{candidate.architecture.encoder}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Evaluation(int(digest[:8], 16) / 16**8, {"stage0": 0.0})


def settings_of(**settings):
    defaults = {
        "data": "synthetic:10",
        "trials": 15,
        "branches": 2,
        "cells": 1,
        "encoders": ("ghostnet-0.1",),
        "objectives": ("flops:0.2G:-0.3",),
        "rescore": 0,
    }
    return SearchSettings(**(defaults | settings))


def run(path, evaluate=evaluate, **settings):
    path.mkdir(exist_ok=True)
    chosen = settings_of(**settings)
    Record(path, chosen).write()
    return Search(chosen, path, CLASSES).run(InlineExecutor(evaluate))


def essence(trials):
    return [(t.id, t.genotype, t.encoder, t.state, t.score, t.reward) for t in trials]


def test_a_budget_that_nothing_keeps_is_said_soon(tmp_path, monkeypatch):
    """The predictor looks for a network that keeps it; not a thousand times as long."""
    monkeypatch.setattr(study, "MAX_IDLE", 100)
    appraise, looked = Appraiser.__call__, []
    monkeypatch.setattr(Appraiser, "__call__", lambda *of: looked.append(of) or appraise(*of))
    with pytest.raises(GateError, match="of the last 100 draws 100 were over budget"):
        run(tmp_path, budgets=("params<=1",), algorithm="predictor")
    assert len(looked) < 6000


def test_a_search_ends_within_its_hours(tmp_path, monkeypatch):
    """Scoring the best again included; a minute a candidate, three where it is scored again."""
    now = [0.0]
    monkeypatch.setattr(study.time, "perf_counter", lambda: now[0])

    def minutes(candidate):
        now[0] += 60 * candidate.effort
        return evaluate(candidate)

    trials = run(tmp_path, minutes, hours=0.5, trials=1000, rescore=2)
    assert sum(t.state.trained for t in trials) == 24
    assert now[0] == 1800
    assert len(Run.load(tmp_path).finalists) == 2
    # A search that goes on has as many hours again.
    search = Search(settings_of(hours=0.1, trials=1000, rescore=2), tmp_path, CLASSES)
    search.run(InlineExecutor(minutes))
    assert sum(t.state.trained for t in search.trials) == 24
    search = Search(settings_of(hours=0.2, trials=1000, rescore=2), tmp_path, CLASSES)
    search.run(InlineExecutor(minutes))
    assert 24 < sum(t.state.trained for t in search.trials) < 36


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_runs_and_is_read_back(tmp_path, algorithm):
    trials = run(tmp_path, algorithm=algorithm, encoders=("ghostnet-0.1", "ghostnet-0.25"))
    assert sum(t.state.trained for t in trials) == 15
    assert {t.encoder for t in trials} == {"ghostnet-0.1", "ghostnet-0.25"}
    again = Run.load(tmp_path)
    assert again.trials == trials
    assert again.settings.algorithm == algorithm
    assert pick(tmp_path, "best")[0].reward == max(t.reward for t in trials if t.reward)
    front = pick(tmp_path, "pareto")
    assert pick(tmp_path, "knee")[0] in front
    assert pick(tmp_path, str(front[0].id)) == front[:1]
    with pytest.raises(UsageError, match="--pick is best, knee, pareto or the number"):
        pick(tmp_path, "worst")


def test_the_same_computation_is_trained_once_and_counted_once(tmp_path):
    trained = []

    def counting(candidate):
        trained.append(canonical(candidate.architecture.genotype))
        return evaluate(candidate)

    trials = run(tmp_path, counting, trials=25, branches=1, algorithm="random")
    assert len(trained) == len(set(trained)) == 25
    reused = [t for t in trials if t.state is TrialState.REUSED]
    assert reused
    first = {t.canonical: t.score for t in trials if t.state is TrialState.COMPLETE}
    assert all(t.score == first[t.canonical] for t in reused)
    assert all("computes the same as trial" in t.reason for t in reused)


def test_budgets_reject_before_any_training(tmp_path):
    def never_large(candidate):
        assert candidate.architecture.genotype in small
        return evaluate(candidate)

    small = Anything()
    trials = run(tmp_path, never_large, algorithm="random", budgets=("flops<=0.1G",))
    rejected = [t for t in trials if t.state is TrialState.INFEASIBLE]
    assert rejected
    assert all(t.flops > 0.1e9 or t.flops == 0 for t in rejected)
    assert all(t.flops <= 0.1e9 for t in trials if t.state is not TrialState.INFEASIBLE)
    assert counts(trials)["complete"] == 15


class Anything:
    def __contains__(self, genotype):
        from toolchain.networks.costs import network_costs

        return (
            network_costs(Architecture(genotype, "ghostnet-0.1"), pruned=True).flops.total <= 0.1e9
        )


def test_a_budget_that_nothing_meets_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "MAX_IDLE", 30)
    with pytest.raises(GateError, match="draws 30 were over budget and none was new"):
        run(tmp_path, budgets=("params<=1K",))


def test_failures_are_stored_with_their_reason_and_never_rewarded(tmp_path):
    def failing(candidate):
        if candidate.number % 3 == 1:
            raise CandidateError(Failure.OUT_OF_MEMORY, "no room")
        return evaluate(candidate)

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
        values = candidate.architecture.genotype.values
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
    Record(tmp_path, settings_of()).write()
    Record(tmp_path, settings_of(trials=99, workers=4, rescore=3)).check()
    with pytest.raises(DataError, match=r"config\.json: --seed was 0, now it is 1; use the same"):
        Record(tmp_path, settings_of(seed=1)).check()


@pytest.mark.parametrize("field", ["latency_tables", "weights", "teacher"])
def test_a_file_that_changed_since_is_named_and_one_that_moved_is_not(tmp_path, field):
    def record(name, content):
        file = tmp_path / name / "file.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        return Record(tmp_path, settings_of(**{field: file if field == "teacher" else (file,)}))

    record("a", "one").write()
    record("b", "one").check()
    with pytest.raises(DataError, match=r"config\.json: --.*file\.json has changed since"):
        record("a", "two").check()


def test_a_latency_table_is_known_by_its_name(tmp_path):
    for name in ("laptop.json", "phone.json"):
        (tmp_path / name).write_text("{}")
    Record(tmp_path, settings_of(latency_tables=(tmp_path / "laptop.json",))).write()
    with pytest.raises(DataError, match=r"--latency-table .*laptop\.json was there"):
        Record(tmp_path, settings_of(latency_tables=(tmp_path / "phone.json",))).check()


def test_images_that_changed_since_are_named(tmp_path):
    Record(tmp_path, settings_of(), {"--data (images to train on)": "one"}).write()
    later = Record(tmp_path, settings_of(), {"--data (images to train on)": "two"})
    with pytest.raises(DataError, match=r"--data \(images to train on\) has changed since"):
        later.check()


def test_folders_that_are_no_run(tmp_path):
    with pytest.raises(DataError, match="is not a run folder"):
        Run.load(tmp_path)
    Record(tmp_path, settings_of()).write()
    with pytest.raises(DataError, match=r"study\.db: is gone or empty"):
        Run.load(tmp_path)
    (tmp_path / "study.db").write_bytes(b"this is no database, whatever its name says" * 50)
    with pytest.raises(DataError, match=r"study\.db: cannot be read \(file is not a database"):
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


def test_a_run_of_an_earlier_version_says_what_to_do(tmp_path):
    write_json(tmp_path / "config.json", json.loads(settings_of().model_dump_json()))
    with pytest.raises(DataError, match=r"was written by an earlier nastool.*begin in a new"):
        Run.load(tmp_path)


@pytest.mark.parametrize("content", ["null", "[1, 2]", "{}"])
def test_a_record_that_is_none(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match="begin in a new folder"):
        Run.load(tmp_path)


def test_failures_before_a_resume_do_not_count_after_it(tmp_path):
    def broken(candidate):
        raise CandidateError(Failure.NOT_FINITE, "the loss")

    with pytest.raises(GateError, match="in a row failed"):
        run(tmp_path, broken)
    # Over a budget at once: the failures of before would have ended the old search here.
    trials = run(tmp_path, evaluate, algorithm="random", budgets=("flops<=0.1G",))
    assert counts(trials)["complete"] == 5
    assert counts(trials)["infeasible"]


def stopping(candidate):
    """Evaluate as `CandidateEvaluator` does: stop after stage 0 when told to."""
    score = evaluate(candidate).score
    early = 0.8 * score
    if candidate.stop_below is not None and early < candidate.stop_below:
        return Evaluation(None, {}, early)
    return Evaluation(score, {}, early)


@pytest.fixture
def stopped_run(tmp_path):
    return run(tmp_path, stopping, trials=60, algorithm="random")


def test_a_stopped_candidate_has_no_score_and_is_on_no_front(stopped_run, tmp_path):
    stopped = [t for t in stopped_run if t.state is TrialState.PRUNED]
    assert stopped
    assert all(t.score is None and t.reward is None for t in stopped)
    assert all(t.stage0_score < t.stop_below for t in stopped)
    assert all(t.state is TrialState.COMPLETE for t in pick(tmp_path, "pareto"))
    assert counts(stopped_run)["complete"] + len(stopped) == 60


def test_what_computes_the_same_as_a_stopped_candidate_has_no_score_either(tmp_path):
    trials = run(tmp_path, stopping, trials=40, branches=1, algorithm="random")
    stopped = {t.computes for t in trials if t.state is TrialState.PRUNED}
    reused = [t for t in trials if t.state is TrialState.REUSED and t.computes in stopped]
    assert reused
    assert all(t.score is None for t in reused)


def test_only_candidates_that_are_beaten_at_their_cost_are_stopped(stopped_run):
    """Not the cheap ones, whose scores are low and wanted all the same."""
    for trial in stopped_run:
        if trial.state is TrialState.PRUNED:
            before = [t for t in stopped_run if t.order < trial.order and t.score is not None]
            assert any(
                t.parameters <= trial.parameters
                and t.flops <= trial.flops
                and t.score > trial.stage0_score
                for t in before
            )


def with_luck(candidate):
    """Evaluate; a longer training brings every score down to half."""
    score = evaluate(candidate).score
    return Evaluation(score * 0.5 if candidate.rescored else score)


def test_the_best_are_scored_again_and_the_front_is_theirs(tmp_path):
    trained = []

    def counting(candidate):
        trained.extend([candidate.number] * candidate.rescored)
        return with_luck(candidate)

    settings = {"trials": 30, "algorithm": "random"}
    trials = run(tmp_path, counting, rescore=5, **settings)
    chosen = worth_rescoring(trials, settings_of(rescore=5))
    assert sorted(trained) == sorted(t.id for t in chosen)
    again = Run.load(tmp_path)
    assert again.trials == trials
    assert {t.id for t in again.finalists} == set(trained)
    assert all(t.score == pytest.approx(t.search_score * 0.5) for t in again.finalists)
    assert all(t.reward < trials[t.id].reward for t in again.finalists)
    for which in ("best", "knee", "pareto"):
        assert {t.id for t in pick(tmp_path, which)} <= set(trained)
    # What is known is not trained again, by a resumed search that wants more.
    more = run(tmp_path, counting, rescore=8, **settings)
    assert essence(more) == essence(trials)
    assert len(trained) == len(set(trained))
    assert len(Run.load(tmp_path).finalists) == 8
    # A search without it does not rest on what an earlier one has left.
    run(tmp_path, counting, rescore=0, **settings)
    assert len(Run.load(tmp_path).finalists) == 30


def test_a_search_that_was_stopped_while_it_scored_again_has_the_front_of_all(tmp_path):
    def stopped(candidate):
        if candidate.rescored and len(seen) == 2:
            raise KeyboardInterrupt
        seen.extend([candidate] * candidate.rescored)
        return with_luck(candidate)

    seen = []
    settings = {"trials": 12, "rescore": 5, "algorithm": "random"}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopped, **settings)
    assert all(t.search_score is None for t in Run.load(tmp_path).finalists)
    run(tmp_path, with_luck, **settings)
    whole = run(tmp_path / "whole", with_luck, **settings)
    ends, expected = Run.load(tmp_path).finalists, Run.load(tmp_path / "whole").finalists
    assert essence(ends) == essence(expected)
    assert len(expected) == 5
    assert len(whole) >= 12


def test_one_whose_longer_training_fails_is_out(tmp_path):
    def failing(candidate):
        if candidate.rescored and candidate.number == best:
            raise CandidateError(Failure.OUT_OF_MEMORY, "no room")
        return with_luck(candidate)

    settings = {"trials": 20, "rescore": 4, "algorithm": "random"}
    best = worth_rescoring(run(tmp_path / "first", **settings), settings_of(rescore=4))[0].id
    run(tmp_path / "second", failing, **settings)
    ends = {t.id for t in Run.load(tmp_path / "second").finalists}
    assert len(ends) == 3
    assert best not in ends


def test_the_front_and_the_highest_reward_are_scored_again_first(tmp_path):
    trials = run(tmp_path, trials=30, algorithm="random")
    front = pareto_front(trials, ["score", "params", "flops"])
    chosen = worth_rescoring(trials, settings_of(rescore=len(front)))
    assert {t.id for t in chosen} == {t.id for t in front}
    # With a latency table too the cost that weighs counts, though the front shows latency alone.
    objectives = {"objectives": ("params:0.05M:-0.9",)}
    trials = run(tmp_path / "params", trials=30, algorithm="random", **objectives)
    latencies = [replace(t, latency_ms={"t": float(t.id)}) for t in trials]
    table = {"latency_tables": ("t.json",), **objectives}
    [first] = worth_rescoring(latencies, settings_of(rescore=1, **table))
    highest = max(t.reward for t in trials if t.reward)
    assert first.reward == highest


@pytest.mark.parametrize("count", range(1, 9))
def test_a_long_front_is_thinned_to_both_ends_and_the_highest_reward(tmp_path, count):
    one = run(tmp_path, trials=1, algorithm="random")[0]
    front = [replace(one, id=n, reward=1.0 if n == 4 else 0.1) for n in range(8)]
    kept = [trial.id for trial in thinned(front, count)]
    assert len(kept) == len(set(kept)) == count
    assert kept == sorted(kept)
    assert 4 in kept
    assert count < 3 or {0, 7} < set(kept)


def test_lower_trials_leave_what_was_interrupted_for_later(tmp_path):
    def interrupted(candidate):
        if candidate.number >= 6:
            raise KeyboardInterrupt
        return evaluate(candidate)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupted, trials=15, algorithm="random")
    fewer = run(tmp_path, trials=3, algorithm="random")
    assert all(t.state is not TrialState.REUSED or t.score for t in fewer)
    resumed = run(tmp_path, trials=15, algorithm="random")
    assert essence(resumed) == essence(run(tmp_path / "whole", trials=15, algorithm="random"))


def test_a_search_that_has_used_up_its_space_is_not_begun_again(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "MAX_IDLE", 60)
    settings = {"trials": 10_000, "branches": 1, "cells": 1, "algorithm": "random"}
    first = run(tmp_path, **settings)
    assert essence(run(tmp_path, **settings)) == essence(first)


def test_trials_without_a_score_are_not_picked(stopped_run, tmp_path):
    number = next(t.id for t in stopped_run if t.state is TrialState.PRUNED)
    with pytest.raises(UsageError, match="the number of a trial with a score"):
        pick(tmp_path, str(number))


def test_a_run_folder_is_not_one_of_a_training(tmp_path):
    Record(tmp_path, TrainingSettings.of(data="synthetic:9", genotype="1 [0,3]")).write()
    with pytest.raises(DataError, match=r"config\.json: is of nastool train, not search"):
        Run.load(tmp_path)


def test_a_space_that_is_used_up_ends_the_search_with_a_word(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(study, "MAX_IDLE", 200)
    trials = run(tmp_path, trials=10_000, branches=1, cells=1, algorithm="random")
    assert counts(trials)["complete"] > 20
    assert "none was new: the search ends before its 10000 trials" in caplog.text


def test_the_bonus_for_being_cheap_is_bounded_and_the_floor_is_the_decoders(tmp_path):
    trials = run(tmp_path, lambda _: Evaluation(0.2), objectives=("flops:100G:-0.9",))
    assert all(t.reward == pytest.approx(0.2) for t in trials if t.decoder_flops < 0.6e9)
    good = run(tmp_path / "good", lambda _: Evaluation(0.5), objectives=("flops:100G:-0.9",))
    assert all(t.reward == pytest.approx(0.6) for t in good if t.score)
