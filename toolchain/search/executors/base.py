"""What every executor offers, and the simplest one."""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from toolchain.search.trial import Candidate, CandidateError, Evaluation, Evaluator, Failure

log = logging.getLogger(__name__)
T = TypeVar("T")

StartEvaluator = Callable[[], Evaluator]
"""Makes the evaluator inside a worker; it must survive pickling."""
TICK = 1.0
"""Seconds that are waited for at a time, so that it shows when nobody could run meanwhile."""


@dataclass(frozen=True)
class CandidateResult:
    """What an executor reports of a candidate: an evaluation, or why there is none."""

    number: int
    outcome: Evaluation | CandidateError
    seconds: float


class Executor(ABC):
    """Evaluates candidates, several at a time.

    A candidate that takes its worker down (out of memory, a crash, too much time) is reported as
    failed, the worker is replaced, and nothing else is lost. Use as a context manager.

    Attributes:
        capacity: candidates at work at once.
    """

    capacity: int

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def submit(self, candidate: Candidate) -> None:
        """Begin with a candidate; at most `capacity` may be at work."""

    @abstractmethod
    def next(self) -> CandidateResult:
        """Wait for the next candidate that ends, in whatever way."""

    def map(self, candidates: Iterable[Candidate]) -> Iterator[CandidateResult]:
        """Evaluate candidates, as many at once as there is room for; yield each as it ends."""
        waiting, at_work = deque(candidates), 0
        while waiting or at_work:
            while waiting and at_work < self.capacity:
                self.submit(waiting.popleft())
                at_work += 1
            yield self.next()
            at_work -= 1

    def close(self) -> None:  # noqa: B027 - most executors have workers to end, one has none
        """End all workers; candidates at work are lost."""


class InlineExecutor(Executor):
    """Evaluates in this process, one candidate after the other.

    Nothing protects the search from a candidate that takes the process down.
    """

    capacity = 1

    def __init__(self, evaluate: Evaluator):
        self._evaluate = evaluate
        self._queue: deque[Candidate] = deque()

    def submit(self, candidate: Candidate) -> None:
        """See `Executor`."""
        self._queue.append(candidate)

    def next(self) -> CandidateResult:
        """See `Executor`."""
        return attempt(self._evaluate, self._queue.popleft())


def wait_awake(wait: Callable[[float | None], T], left: float) -> tuple[T, float]:
    """Wait for candidates for a moment.

    Args:
        wait: waits for so many seconds at most; None: for ever.
        left: seconds that a candidate still has; infinite: it has all time.

    Returns:
        What ``wait`` returns, and how many seconds of their time candidates have spent. Those do
        not count in which this process was suspended, and the candidates with it (Ctrl-Z, a frozen
        container), nor those in which it did something else.
    """
    moment, begun = min(max(left, 0.0), TICK), time.monotonic()
    found = wait(None if math.isinf(left) else moment)
    return found, min(time.monotonic() - begun, moment)


def attempt(evaluate: Evaluator, candidate: Candidate) -> CandidateResult:
    """Evaluate a candidate; its failure is a result, any other error is one of the program."""
    start = time.perf_counter()
    try:
        result = evaluate(candidate)
    except CandidateError as error:
        return CandidateResult(candidate.number, error, time.perf_counter() - start)
    return CandidateResult(candidate.number, result, time.perf_counter() - start)


def unexpected(candidate: Candidate, error: BaseException, seconds: float) -> CandidateResult:
    """Report an error that nobody foresaw, with its traceback in the log, as a crash."""
    log.error("candidate %d (%s)", candidate.number, candidate.architecture, exc_info=error)
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return CandidateResult(candidate.number, CandidateError(Failure.CRASH, reason), seconds)
