"""Candidates on a Ray cluster: processes, GPUs and machines that Ray knows of."""

import time
from typing import Any

from export.errors import UnavailableError
from toolchain.search.candidate import Candidate, CandidateError, Failure, Outcome
from toolchain.search.executors.base import Executor, Start, attempt, unexpected


class RayExecutor(Executor):
    """One Ray actor a worker; Ray decides on which machine and GPU each lives.

    Joins the cluster that ``RAY_ADDRESS`` names, or starts Ray on this machine.

    Args:
        start: makes the judge of a worker. What it holds is stored once on each machine, and its
            arrays are shared by the workers there.
        workers: number of actors.
        timeout: seconds that a candidate may take; None: for ever.
        cpus: CPU cores that a worker takes.
        gpus: GPUs that a worker takes; a fraction puts several workers on one.

    Raises:
        UnavailableError: Ray is not installed, or its cluster has not the resources.
    """

    def __init__(
        self,
        start: Start,
        workers: int = 1,
        timeout: float | None = None,
        cpus: float = 1,
        gpus: float = 0,
    ):
        try:
            import ray
        except ImportError:
            raise UnavailableError(
                "--executor ray needs the package ray: pip install 'nastool[ray]'"
            ) from None
        self._ray: Any = ray
        self.capacity, self._timeout = workers, timeout
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False, logging_level="warning")
        self._check_resources({"CPU": cpus * workers, "GPU": gpus * workers})
        self._start = ray.put(start)
        self._actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(_Worker)
        self._idle = [self._launch() for _ in range(workers)]
        # By the reference of its result: the actor, the candidate, when it began.
        self._busy: dict[Any, tuple[Any, Candidate, float]] = {}

    def _launch(self) -> Any:
        return self._actor.remote(self._start)

    def _check_resources(self, wanted: dict[str, float]) -> None:
        there = self._ray.cluster_resources()
        for kind, amount in wanted.items():
            if amount > there.get(kind, 0):
                raise UnavailableError(
                    f"the Ray cluster has {there.get(kind, 0):g} {kind}, the workers need "
                    f"{amount:g}; lower --workers, or add machines"
                )

    def submit(self, candidate: Candidate) -> None:
        """See `Executor`."""
        actor = self._idle.pop()
        self._busy[actor.judge.remote(candidate)] = actor, candidate, time.monotonic()

    def next(self) -> Outcome:
        """See `Executor`."""
        oldest, (_, _, begun) = min(self._busy.items(), key=lambda item: item[1][2])
        left = self._timeout and max(begun + self._timeout - time.monotonic(), 0)
        ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=left)
        reference = ready[0] if ready else oldest
        actor, candidate, begun = self._busy.pop(reference)
        seconds = time.monotonic() - begun
        if not ready:
            message = f"took more than {self._timeout:g} s"
            return self._give_up(actor, candidate, Failure.TIMEOUT, message, seconds)
        try:
            outcome, goes_on = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            message = f"its worker died ({str(error).splitlines()[0].rstrip('.')})"
            return self._give_up(actor, candidate, Failure.CRASH, message, seconds)
        if goes_on:
            self._idle.append(actor)
        else:
            self._replace(actor)
        assert isinstance(outcome, Outcome)
        return outcome

    def _give_up(
        self, actor: Any, candidate: Candidate, kind: Failure, message: str, seconds: float
    ) -> Outcome:
        self._replace(actor)
        return Outcome(candidate.number, CandidateError(kind, message), seconds)

    def _replace(self, actor: Any) -> None:
        self._ray.kill(actor)
        self._idle.append(self._launch())

    def close(self) -> None:
        """See `Executor`."""
        for actor in [*self._idle, *(actor for actor, _, _ in self._busy.values())]:
            self._ray.kill(actor)


class _Worker:
    """Judges candidates in a process of Ray's."""

    def __init__(self, start: Start):
        self._judge = start()

    def judge(self, candidate: Candidate) -> tuple[Outcome, bool]:
        """Return the outcome, and whether this process can go on."""
        begun = time.perf_counter()
        try:
            return attempt(self._judge, candidate), True
        except Exception as error:
            return unexpected(candidate, error, time.perf_counter() - begun), False
