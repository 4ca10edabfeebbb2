"""Workers that fail in every way a worker can; only the evaluator stands in for a training."""

import os
import signal
import time
from functools import partial

import pytest

from export.errors import UnavailableError
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.search.executors.local import LocalExecutor
from toolchain.search.trial import Candidate, CandidateError, Evaluation, Failure

GENOTYPE = Genotype.parse("2 [0,1,2,9] [0,1] [2,4]")


def evaluate(ways, candidate):
    """End in the way that is listed for the candidate's number."""
    way = ways.get(candidate.number, "score")
    if way == "memory":
        raise CandidateError(Failure.OUT_OF_MEMORY, "no room")
    if way == "bug":
        raise ValueError("a bug")
    if way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "exit":
        os._exit(3)
    if way == "slow":
        time.sleep(60)
    return Evaluation(candidate.number / 100, {"stage0": float(os.getpid())})


def start(ways):
    return partial(evaluate, ways)


def broken():
    raise ImportError("no such thing")


def submit(executor, *numbers):
    for number in numbers:
        executor.submit(Candidate(number, Architecture(GENOTYPE, "ghostnet-0.1")))


@pytest.mark.parametrize(
    ("way", "kind", "message"),
    [
        ("memory", Failure.OUT_OF_MEMORY, "out of memory: no room"),
        ("bug", Failure.CRASH, "crash: ValueError: a bug"),
        ("killed", Failure.CRASH, "crash: its process was killed, perhaps because"),
        ("exit", Failure.CRASH, "crash: its process ended with code 3"),
        ("slow", Failure.TIMEOUT, "timeout: took more than 0.5 s"),
    ],
)
def test_a_failure_has_a_kind_and_the_next_candidate_a_worker(way, kind, message):
    with LocalExecutor([partial(start, {1: way})], timeout=0.5) as executor:
        submit(executor, 1)
        outcome = executor.next()
        assert isinstance(outcome.outcome, CandidateError)
        assert outcome.outcome.kind is kind
        assert str(outcome.outcome).startswith(message)
        submit(executor, 2)
        assert executor.next().outcome.score == 0.02


def test_candidates_are_at_work_together_and_one_dies_alone():
    with LocalExecutor([partial(start, {1: "killed"})] * 2) as executor:
        assert executor.capacity == 2
        submit(executor, 1, 2)
        outcomes = {result.number: result.outcome for result in (executor.next(), executor.next())}
        assert outcomes[1].kind is Failure.CRASH
        assert outcomes[2].score == 0.02
        submit(executor, 3, 4)
        workers = {executor.next().outcome.phases["stage0"] for _ in range(2)}
        assert len(workers) == 2
        assert os.getpid() not in workers


def test_a_worker_that_cannot_start_ends_the_search():
    with pytest.raises(UnavailableError, match="could not start: ImportError: no such thing"):
        LocalExecutor([broken])


def test_workers_end_with_the_executor():
    executor = LocalExecutor([partial(start, {1: "slow"})])
    submit(executor, 1)
    process = executor._workers[0]._process
    executor.close()
    assert process.exitcode == -signal.SIGKILL
