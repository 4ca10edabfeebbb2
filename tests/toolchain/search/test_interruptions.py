"""Searches that are killed with ``kill -9``, in other processes, and started again."""

import multiprocessing
import random
import time
from contextlib import closing
from dataclasses import replace

import psutil
import pytest
from slow_evaluator import evaluate, make_evaluator
from test_study import CLASSES, settings_of

from toolchain.search.executors import InlineExecutor
from toolchain.search.executors.local import LocalExecutor
from toolchain.search.run import Run
from toolchain.search.study import Search
from toolchain.search.trial import CandidateError, Failure, TrialState
from toolchain.settings.base import Record

# Each search is a fresh process that need not import torch again, and has no threads to lose.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["toolchain.search.study", "toolchain.search.executors.local"])
SMALL = {
    "branches": 1,
    "cells": 1,
    "encoders": ("ghostnet-0.1", "ghostnet-0.25"),
    "budgets": ("flops<=0.25G",),
}


def run(path, workers=1, report=lambda _: None, begun=lambda: None, **settings):
    """Begin a search, or continue it."""
    path.mkdir(exist_ok=True)
    chosen = settings_of(**SMALL | settings)
    Record(path, chosen).write()
    inline = InlineExecutor(evaluate)
    with inline if workers == 1 else LocalExecutor([make_evaluator] * workers) as executor:
        begun()
        return Search(chosen, path, CLASSES).run(executor, report)


def child(connection, path, settings):
    """Search, and tell the parent of the beginning (None) and of every trial that is stored."""
    run(path, report=connection.send, begun=lambda: connection.send(None), **settings)


def start(path, settings):
    theirs, ours = PROCESSES.Pipe()
    process = PROCESSES.Process(target=child, args=(theirs, path, settings))
    process.start()
    theirs.close()
    return process, ours


def kill_at_moments(path, moments, **settings):
    """Search; kill it when so many trials were stored and so many seconds have passed; go on.

    Returns:
        All that was stored before a kill, as it was reported.
    """
    stored = []
    for trials, seconds in moments:
        process, connection = start(path, settings)
        with closing(connection):
            # The first report says that the search begins.
            stored += [connection.recv() for _ in range(trials + 1)][1:]
            time.sleep(seconds)
            assert process.is_alive(), "the search has ended before it could be killed"
            process.kill()
            process.join()
    return stored


def random_moments(count, trials, seed):
    """Draw moments over a whole search: while it opens, evaluates, stores, and between trials."""
    generator = random.Random(seed)
    most = trials // count - 1
    return [(generator.randint(0, most), generator.uniform(0, 0.06)) for _ in range(count)]


def essence(trial):
    """Return what does not depend on time and place."""
    names = ("id", "genotype", "encoder", "state", "score", "reward", "stage0_score", "stop_below")
    return {name: getattr(trial, name) for name in (*names, "failure", "reason")}


def check_exact(tmp_path, kills, trials, seed, algorithm):
    """Kill a search often; it ends as one that nobody disturbed."""
    settings = {"algorithm": algorithm}
    whole = run(tmp_path / "whole", trials=trials, **settings)
    # The default draws nothing that is known or over a budget.
    never = {TrialState.REUSED, TrialState.INFEASIBLE} if algorithm == "predictor" else set()
    assert {trial.state for trial in whole} == set(TrialState) - never
    killed = tmp_path / "killed"
    stored = kill_at_moments(killed, random_moments(kills, trials, seed), trials=trials, **settings)
    assert stored
    resumed = run(killed, trials=trials, **settings)
    assert [essence(trial) for trial in resumed] == [essence(trial) for trial in whole]
    assert Run.load(killed).trials == resumed
    # What was stored was not trained again.
    assert all(resumed[trial.id] == trial for trial in stored)


@pytest.mark.parametrize("algorithm", ["predictor", "ppo"])
def test_a_killed_search_ends_as_one_that_nobody_disturbed(tmp_path, algorithm):
    check_exact(tmp_path, kills=3, trials=45, seed=1, algorithm=algorithm)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["predictor", "ppo", "nsga2", "tpe"])
def test_killed_20_times(tmp_path, algorithm):
    # NSGA-II needs more than one generation, of 50 trials, to have something to lose.
    check_exact(tmp_path, kills=20, trials=140, seed=2, algorithm=algorithm)


def test_two_workers_lose_and_repeat_nothing(tmp_path):
    path, settings = tmp_path / "run", {"trials": 40, "workers": 2}
    stored = kill_at_moments(path, [(6, 0.01), (9, 0.03)], **settings)
    trials = run(path, **settings)
    assert sorted(trial.id for trial in trials) == list(range(len(trials)))
    assert sum(trial.state.trained for trial in trials) == 40
    by_number = {trial.id: trial for trial in trials}
    assert all(by_number[trial.id] == trial for trial in stored)
    trained = [(t.canonical, t.encoder) for t in trials if t.state is TrialState.COMPLETE]
    assert len(trained) == len(set(trained))
    processes = {int(t.phases["process"]) for t in trials if t.state is TrialState.COMPLETE}
    assert len(processes) >= 4
    # The workers of a killed search end by themselves.
    left = [psutil.Process(pid) for pid in processes if psutil.pid_exists(pid)]
    assert psutil.wait_procs(left, timeout=10)[1] == []


def test_a_crash_costs_nothing_that_waited_for_the_same_result(tmp_path):
    trained, crashed = [], []

    def crashing(candidate):
        trained.append(candidate.number)
        if len(trained) % 3 == 1:
            crashed.append(candidate.number)
            raise CandidateError(Failure.CRASH, "killed")
        return evaluate(replace(candidate, number=0))

    executor = InlineExecutor(crashing)
    executor.capacity = 40
    chosen = settings_of(**SMALL | {"trials": 80, "algorithm": "random"})
    trials = Search(chosen, tmp_path, CLASSES).run(executor)
    assert [t.id for t in trials if t.state is TrialState.FAILED] == crashed
    assert len(trained) == len(set(trained))
    assert sum(trial.state.trained for trial in trials) == 80
    assert any(trial.state is TrialState.REUSED for trial in trials)
