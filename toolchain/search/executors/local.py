"""Candidates in processes of this machine."""

import contextlib
import math
import multiprocessing
import signal
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

import psutil

from export.system.errors import UnavailableError
from export.system.interrupts import signals_held_back
from toolchain.search.executors.base import (
    CandidateResult,
    Executor,
    StartEvaluator,
    attempt,
    unexpected,
    wait_awake,
)
from toolchain.search.trial import Candidate, CandidateError, Failure

# A forked process lacks the threads of OpenMP and CUDA that its memory tells of, and hangs.
_CONTEXT = multiprocessing.get_context("spawn")


class LocalExecutor(Executor):
    """One process a worker, so that a candidate can only take its own worker down.

    Args:
        starts: make the evaluator of each worker.
        timeout: seconds that a candidate may take, of the usual effort; None: for ever.

    Raises:
        UnavailableError: a worker cannot start.
    """

    def __init__(self, starts: Sequence[StartEvaluator], timeout: float | None = None):
        self.capacity, self._timeout = len(starts), timeout
        self._workers: list[_Worker] = []
        # When it is started it ends the holding back of signals.
        resource_tracker.ensure_running()
        try:
            # All are launched before the first is waited for: each takes seconds to import torch.
            with signals_held_back():  # none starts that is not known
                self._workers += [_Worker(start) for start in starts]
            for worker in self._workers:
                worker.wait_until_ready()
        except BaseException:
            self.close()
            raise

    def submit(self, candidate: Candidate) -> None:
        """See `Executor`."""
        worker = next(worker for worker in self._workers if worker.candidate is None)
        worker.begin(candidate)
        worker.left = self._limit(worker)

    def next(self) -> CandidateResult:
        """See `Executor`."""
        busy = {worker.connection: worker for worker in self._workers if worker.candidate}
        while True:
            first = min(busy.values(), key=lambda worker: worker.left)
            # A process that dies closes its end of the connection: something to read, too.
            ready, spent = wait_awake(partial(wait, list(busy)), first.left)
            for worker in busy.values():
                worker.left -= 0 if worker.is_suspended() else spent
            for connection in ready:
                assert isinstance(connection, Connection)
                return busy[connection].outcome()
            if first.left <= 0:
                return first.fail(Failure.TIMEOUT, f"took more than {self._limit(first):g} s")

    def _limit(self, worker: "_Worker") -> float:
        assert worker.candidate
        return (self._timeout or math.inf) * worker.candidate.effort

    def close(self) -> None:
        """See `Executor`."""
        for worker in self._workers:
            worker.kill()


class _Worker:
    """A process that evaluates one candidate after the other, and is replaced when it dies.

    Attributes:
        candidate: at work; None: idle.
        begun: when, on the monotonic clock.
        left: seconds that it still has.
    """

    def __init__(self, start: StartEvaluator):
        self._start = start
        self._launch()

    def _launch(self) -> None:
        self.candidate: Candidate | None = None
        self.begun = 0.0
        self.left = math.inf
        self._ready = False
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(theirs, self._start), daemon=True)
        # Ctrl-C goes to every process of a terminal; the search decides what becomes of workers.
        with signals_held_back():
            self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        if self._ready:
            return
        try:
            problem = self.connection.recv()
        except (EOFError, OSError):
            problem = self._death()
        if problem:
            raise UnavailableError(f"a worker could not start: {problem}")
        self._ready = True

    def is_suspended(self) -> bool:
        with contextlib.suppress(psutil.Error):
            return bool(psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED)
        return False

    def begin(self, candidate: Candidate) -> None:
        self.wait_until_ready()
        self.candidate, self.begun = candidate, time.monotonic()
        # A worker that died meanwhile is noticed when its outcome is read.
        with contextlib.suppress(OSError):
            self.connection.send(candidate)

    def outcome(self) -> CandidateResult:
        try:
            outcome, goes_on = self.connection.recv()
        except (EOFError, OSError):
            return self.fail(Failure.CRASH, self._death())
        assert isinstance(outcome, CandidateResult)
        self.candidate = None
        if not goes_on:
            self._replace()
        return outcome

    def fail(self, kind: Failure, message: str) -> CandidateResult:
        """Give the candidate up, and the process with it."""
        assert self.candidate
        seconds = time.monotonic() - self.begun
        outcome = CandidateResult(self.candidate.number, CandidateError(kind, message), seconds)
        self._replace()
        return outcome

    def _replace(self) -> None:
        self.kill()
        self._launch()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _death(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return "its process was killed, perhaps because the machine ran out of memory"
        if code < 0:
            return f"its process died of {signal.Signals(-code).name}"
        return f"its process ended with code {code}"


def _work(connection: Connection, start: StartEvaluator) -> None:
    """Evaluate what comes in until the connection ends; the main function of a worker."""
    # The search is gone when nothing more can be read or written.
    with contextlib.suppress(EOFError, OSError):
        try:
            evaluate = start()
        except Exception as error:
            connection.send(f"{type(error).__name__}: {error}")
            return
        connection.send("")
        while True:
            candidate = connection.recv()
            begun = time.perf_counter()
            try:
                connection.send((attempt(evaluate, candidate), True))
            except Exception as error:
                # What is left of torch's and CUDA's state after it, nobody knows.
                seconds = time.perf_counter() - begun
                connection.send((unexpected(candidate, error, seconds), False))
                return
