"""Candidates on a Ray cluster: processes, GPUs and machines that Ray knows of."""

import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from export.system.errors import UnavailableError
from toolchain.search.executors.base import (
    CandidateResult,
    Executor,
    StartEvaluator,
    attempt,
    unexpected,
    wait_awake,
)
from toolchain.search.trial import Candidate, CandidateError, Failure

log = logging.getLogger(__name__)
REACH = 10.0
"""Seconds in which a cluster must answer; Ray itself would ask for a quarter of an hour."""
PATIENCE = 30
"""Seconds between two words about a worker that does not start."""


@contextmanager
def joined_cluster(workers: int, cpus: float = 1, gpus: float = 0) -> Iterator[Any]:
    """Join the cluster that ``RAY_ADDRESS`` names, or start Ray on this machine; yield Ray.

    A process that has joined stays in it; else it leaves when the block ends.

    Args:
        workers: number of actors that there must be room for.
        cpus: CPU cores that each takes.
        gpus: GPUs that each takes.

    Raises:
        UnavailableError: Ray is not installed, or its cluster cannot be joined or lacks something.
    """
    try:
        import ray
    except ImportError:
        raise UnavailableError(
            "--executor ray needs the package ray: pip install 'nastool[ray]'"
        ) from None
    with ExitStack() as stack:
        if not ray.is_initialized():
            _check_reachable(os.environ.get("RAY_ADDRESS", ""))
            try:
                ray.init(log_to_driver=False, include_dashboard=False, logging_level="warning")
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise UnavailableError(
                    f"the Ray cluster cannot be joined ({reason}); check RAY_ADDRESS"
                ) from None
            stack.callback(ray.shutdown)
        if problem := _shortage(ray, {"CPU": cpus, "GPU": gpus}, workers):
            raise UnavailableError(f"{problem}; lower --workers, or add machines")
        yield ray


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():  # Ray on this machine
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnavailableError(
            f"the Ray cluster at {address} cannot be reached ({reason}); check RAY_ADDRESS"
        ) from None


def _shortage(ray: Any, needs: Mapping[str, float], workers: int) -> str | None:
    """Say what the cluster lacks for so many workers."""
    there = ray.cluster_resources()
    for kind, need in needs.items():
        has, wanted = there.get(kind, 0), need * workers
        if has < wanted:
            return f"the Ray cluster has {has:g} {kind}, the workers need {wanted:g}"
    return None


class RayExecutor(Executor):
    """One Ray actor a worker; Ray decides on which machine and GPU each lives.

    Joins a cluster (`joined_cluster`). A machine that is lost takes its workers with it: `capacity`
    shrinks if the others have no room for them.

    Args:
        start: makes the evaluator of a worker. What it holds is stored once on each machine, and
            its arrays are shared by the workers there.
        workers: number of actors.
        timeout: seconds that a candidate may take, of the usual effort; None: for ever.
        cpus: CPU cores that a worker takes.
        gpus: GPUs that a worker takes; a fraction puts several workers on one.

    Raises:
        UnavailableError: Ray is not installed, its cluster has not the resources, or a worker
            cannot start.
    """

    def __init__(
        self,
        start: StartEvaluator,
        workers: int = 1,
        timeout: float | None = None,
        cpus: float = 1,
        gpus: float = 0,
    ):
        self.capacity, self._timeout = workers, timeout
        self._needs = {"CPU": cpus, "GPU": gpus}
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._cluster = ExitStack()
        self._ray = ray = self._cluster.enter_context(joined_cluster(workers, cpus, gpus))
        try:
            self._start = ray.put(start)
            self._actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(_Actor)
            self._idle = [self._launch() for _ in range(workers)]
            for worker in self._idle:
                self._check_started(worker)
        except BaseException:
            self.close()
            raise

    def _shortage(self) -> str | None:
        return _shortage(self._ray, self._needs, self.capacity)

    def _launch(self) -> "_Worker":
        actor = self._actor.remote()
        return _Worker(actor, actor.start.remote(self._start))

    def _check_started(self, worker: "_Worker") -> None:
        while not self._ray.wait([worker.started], timeout=PATIENCE)[0]:
            free = self._ray.available_resources()
            log.warning(
                "waiting for room on the Ray cluster: a worker needs %s, free are %s",
                ", ".join(f"{need:g} {kind}" for kind, need in self._needs.items() if need),
                ", ".join(f"{free.get(kind, 0):g} {kind}" for kind in self._needs),
            )
        try:
            problem = self._ray.get(worker.started)
        except self._ray.exceptions.RayError as error:
            problem = _reason(error)
        if problem:
            raise UnavailableError(f"a worker could not start: {problem}")

    def submit(self, candidate: Candidate) -> None:
        """See `Executor`."""
        worker = self._idle.pop()
        worker.candidate, worker.outcome = candidate, worker.actor.evaluate.remote(candidate)
        worker.begun, worker.left = time.monotonic(), self._limit(worker)
        self._busy.append(worker)

    def next(self) -> CandidateResult:
        """See `Executor`."""
        outcomes = {worker.outcome: worker for worker in self._busy}
        while True:
            first = min(self._busy, key=lambda worker: worker.left)
            (ready, _), spent = wait_awake(
                lambda seconds: self._ray.wait(list(outcomes), num_returns=1, timeout=seconds),
                first.left,
            )
            for worker in self._busy:
                worker.left -= spent
            if ready:
                return self._outcome(outcomes[ready[0]])
            if first.left <= 0:
                limit = self._limit(first)
                return self._fail(first, Failure.TIMEOUT, f"took more than {limit:g} s")

    def _limit(self, worker: "_Worker") -> float:
        assert worker.candidate
        return (self._timeout or math.inf) * worker.candidate.effort

    def _outcome(self, worker: "_Worker") -> CandidateResult:
        try:
            outcome, goes_on = self._ray.get(worker.outcome)
        except self._ray.exceptions.RayError as error:
            return self._fail(worker, Failure.CRASH, f"its worker was lost: {_reason(error)}")
        assert isinstance(outcome, CandidateResult)
        self._busy.remove(worker)
        if goes_on:
            self._idle.append(worker)
        else:
            self._replace(worker)
        return outcome

    def _fail(self, worker: "_Worker", kind: Failure, message: str) -> CandidateResult:
        """Give a candidate up, and its worker with it."""
        assert worker.candidate
        seconds = time.monotonic() - worker.begun
        self._busy.remove(worker)
        self._replace(worker)
        return CandidateResult(worker.candidate.number, CandidateError(kind, message), seconds)

    def _replace(self, worker: "_Worker") -> None:
        """Start another worker, and wait: the time of its candidate begins when it is ready."""
        self._ray.kill(worker.actor)
        new = self._launch()
        # Ray takes a moment to see that a machine is lost, and would wait for it for ever.
        while not self._ray.wait([new.started], timeout=1)[0]:
            if problem := self._shortage():
                self._ray.kill(new.actor)
                self.capacity -= 1
                if not self.capacity:
                    raise UnavailableError(f"{problem}; no worker is left")
                log.warning("%s; the search goes on with %d", problem, self.capacity)
                return
        self._check_started(new)
        self._idle.append(new)

    def close(self) -> None:
        """See `Executor`."""
        for worker in [*self._idle, *self._busy]:
            self._ray.kill(worker.actor)
        self._cluster.close()


@dataclass(eq=False)
class _Worker:
    """What the search knows of an actor.

    Attributes:
        actor: its handle.
        started: reference to what `_Actor.start` returns.
        candidate: at work, or the last.
        outcome: reference to what `_Actor.evaluate` returns.
        begun: when, on the monotonic clock.
        left: seconds that the candidate still has.
    """

    actor: Any
    started: Any
    candidate: Candidate | None = None
    outcome: Any = None
    begun: float = 0.0
    left: float = math.inf


class _Actor:
    """Evaluates candidates in a process of Ray's."""

    def start(self, start: StartEvaluator) -> str:
        """Make the evaluator; return what hinders it, if anything."""
        try:
            self._evaluate = start()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def evaluate(self, candidate: Candidate) -> tuple[CandidateResult, bool]:
        """Return the outcome, and whether this process can go on."""
        begun = time.perf_counter()
        try:
            return attempt(self._evaluate, candidate), True
        except Exception as error:
            return unexpected(candidate, error, time.perf_counter() - begun), False


def _reason(error: Exception) -> str:
    """Return the sentence of Ray's long message that says why."""
    return (str(error).splitlines() or [type(error).__name__])[-1].split(". ")[0].strip()
