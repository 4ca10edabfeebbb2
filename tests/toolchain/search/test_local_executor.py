"""Workers that fail in every way a worker can; only the evaluator stands in for a training."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from export.system.errors import UnavailableError
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.search.executors import base
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
    if way == "half":
        time.sleep(0.5)
    return Evaluation(candidate.number / 100, {"stage0": float(os.getpid())})


def start(ways):
    if "starts slowly" in ways.values():
        print(flush=True)
        time.sleep(1)
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


def test_a_suspended_candidate_has_its_time(monkeypatch):
    monkeypatch.setattr(base, "TICK", 0.1)
    with LocalExecutor([partial(start, {1: "half"})], timeout=3) as executor:
        submit(executor, 1)
        worker = psutil.Process(executor._workers[0]._process.pid)
        worker.suspend()
        resume = subprocess.Popen(["sh", "-c", f"sleep 4; kill -CONT {worker.pid}"])
        assert executor.next().outcome.score == 0.01
        resume.wait()


SEARCH = """
import sys
from functools import partial
from pathlib import Path
from export.system import command_line, console
from test_local_executor import LocalExecutor, base, start, submit
from toolchain.search import shared_arrays

ways, timeout, folder = dict.fromkeys((1, 2), sys.argv.pop()), 3, Path(sys.argv.pop())
base.TICK = 0.1
shared_arrays.MEMORY_DISK = folder

@command_line.command("search")
def search():
    with (
        shared_arrays.place_arrays(1, folder),
        LocalExecutor([partial(start, ways)] * 2, timeout) as executor,
    ):
        submit(executor, 1, 2)
        print(*(worker._process.pid for worker in executor._workers), flush=True)
        scores = sorted(str(executor.next().outcome.score) for _ in range(2))
    return console.Outcome({}, " ".join(scores))

command_line.main(search)
"""


@contextmanager
def searching(folder, way):
    """Yield the process of a search, the leader of its group, and those of its two workers."""
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parents[2])])
    with subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(folder), way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,
    ) as process:
        try:
            yield process, [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_search_that_is_asked_to_end_leaves_nothing_behind(tmp_path, number):
    with searching(tmp_path, "slow") as (process, workers):
        # A terminal sends it to all, three times if its user is impatient.
        for _ in range(1 if number == signal.SIGKILL else 3):
            os.killpg(process.pid, number)
            time.sleep(0.05)
        out, err = process.communicate(timeout=30)
        assert psutil.wait_procs(workers, timeout=10)[1] == []
    if number != signal.SIGKILL:
        assert (process.returncode, out, err) == (130, "", "nastool: interrupted\n")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_search_that_ends_while_its_workers_start_says_one_line(tmp_path, number):
    """The workers find nobody to talk to."""
    with searching(tmp_path, "starts slowly") as (process, workers):
        while len(workers) < 2:
            workers = psutil.Process(process.pid).children()
        (process.kill if number == signal.SIGKILL else partial(os.killpg, process.pid, number))()
        process.wait(timeout=30)
        assert psutil.wait_procs(workers, timeout=20)[1] == []
        line = "" if number == signal.SIGKILL else "nastool: interrupted\n"
        assert process.stderr.read() == line


def test_a_suspended_search_gives_its_candidates_their_time(tmp_path):
    with searching(tmp_path, "half") as (process, _):
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(4)
        os.killpg(process.pid, signal.SIGCONT)
        assert process.communicate(timeout=30) == ("0.01 0.02\n", "")
