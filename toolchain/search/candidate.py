"""A candidate on its way: what is to be judged, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from export.errors import NastoolError
from toolchain.genotype import Genotype


@dataclass(frozen=True)
class Candidate:
    """One network to judge.

    Attributes:
        number: of its trial; varies the random start and order between candidates.
        genotype: the decoder.
        encoder: name of one of the search's encoders.
        stop_below: a score after stage 0 under which it is not worth going on; None: go on.
    """

    number: int
    genotype: Genotype
    encoder: str
    stop_below: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """What is known of a candidate after its short training.

    Attributes:
        score: mean F1 of the parts that occur, 0..1.
        split: seconds by phase: ``stage0``, ``stage1``, ``validation``.
        stage0_score: the score after stage 0; None where nobody asked for it.
        stopped: the candidate was hopeless, and ``score`` is that after stage 0.
    """

    score: float
    split: dict[str, float] = field(default_factory=dict)
    stage0_score: float | None = None
    stopped: bool = False


class Failure(StrEnum):
    """Why a candidate has no score. None of these says anything about the network's worth."""

    OUT_OF_MEMORY = "out of memory"
    NOT_FINITE = "not finite"
    TIMEOUT = "timeout"
    CRASH = "crash"


class CandidateError(NastoolError):
    """A candidate could not be judged.

    Attributes:
        kind: what went wrong.
    """

    def __init__(self, kind: Failure, message: str):
        super().__init__(f"{kind}: {message}")
        self.kind = kind

    def __reduce__(self) -> tuple[type, tuple[Failure, str]]:
        """Pickle as what it was made of: a worker sends it to the search."""
        return type(self), (self.kind, str(self).removeprefix(f"{self.kind}: "))


Judge = Callable[[Candidate], Evaluation]
"""Judges a candidate, or raises `CandidateError`; `CandidateEvaluator` is one."""


@dataclass(frozen=True)
class Outcome:
    """What an executor reports of a candidate: an evaluation, or why there is none."""

    number: int
    result: Evaluation | CandidateError
    seconds: float
