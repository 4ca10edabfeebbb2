"""Candidates in processes of this machine."""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait

from export.errors import UnavailableError
from toolchain.search.executors.base import (
    CandidateResult,
    Executor,
    StartEvaluator,
    attempt,
    unexpected,
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
        try:
            # All are launched before the first is waited for: each takes seconds to import torch.
            self._workers += [_Worker(start) for start in starts]
            for worker in self._workers:
                worker.wait_until_ready()
        except BaseException:
            self.close()
            raise

    def submit(self, candidate: Candidate) -> None:
        """See `Executor`."""
        next(worker for worker in self._workers if worker.candidate is None).begin(candidate)

    def next(self) -> CandidateResult:
        """See `Executor`."""
        busy = {worker.connection: worker for worker in self._workers if worker.candidate}
        first = min(busy.values(), key=self._deadline)
        left = self._timeout and max(self._deadline(first) - time.monotonic(), 0)
        # A process that dies closes its end of the connection, which counts as something to read.
        for connection in wait(list(busy), left):
            assert isinstance(connection, Connection)
            return busy[connection].outcome()
        limit = self._deadline(first) - first.begun
        return first.fail(Failure.TIMEOUT, f"took more than {limit:g} s")

    def _deadline(self, worker: "_Worker") -> float:
        assert worker.candidate
        return worker.begun + (self._timeout or 0) * worker.candidate.effort

    def close(self) -> None:
        """See `Executor`."""
        for worker in self._workers:
            worker.kill()


class _Worker:
    """A process that evaluates one candidate after the other, and is replaced when it dies.

    Attributes:
        candidate: at work; None: idle.
        begun: when, on the monotonic clock.
    """

    def __init__(self, start: StartEvaluator):
        self._start = start
        self._launch()

    def _launch(self) -> None:
        self.candidate: Candidate | None = None
        self.begun = 0.0
        self._ready = False
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(theirs, self._start), daemon=True)
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
    # Ctrl-C goes to every process of a terminal; the search decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        evaluate = start()
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return
    connection.send("")
    # The search is gone when nothing more can be read or written.
    with contextlib.suppress(EOFError, OSError):
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
