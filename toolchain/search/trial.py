"""A candidate on its way: what is to be trained, what came of it, and the record that is kept."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from export.system.errors import NastoolError
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.search.objectives import costs_in

LONGER = 3
"""A candidate that is scored again is trained for so many times as many epochs, and scored on so
many times as many images, where there are."""


@dataclass(frozen=True)
class Candidate:
    """One network to train and score.

    Attributes:
        number: of its trial.
        architecture: with one of the search's encoders and working sizes.
        stop_below: a score after stage 0 under which it is not worth going on; None: go on.
        rescored: train longer, and score on all images that are there for it.
    """

    number: int
    architecture: Architecture
    stop_below: float | None = None
    rescored: bool = False

    @property
    def effort(self) -> int:
        """How many times as much time as usual its training may take."""
        return LONGER if self.rescored else 1


@dataclass(frozen=True)
class Evaluation:
    """What is known of a candidate after its short training.

    Attributes:
        score: mean F1 of the parts that occur, 0..1; None: it was stopped after stage 0.
        phases: seconds by phase: ``stage0``, ``stage1``, ``scoring``.
        stage0_score: the score after stage 0; None where nobody asked for it.
        epoch_scores: the score after every epoch, where that was asked for.
    """

    score: float | None
    phases: dict[str, float] = field(default_factory=dict)
    stage0_score: float | None = None
    epoch_scores: list[float] = field(default_factory=list)


class Failure(StrEnum):
    """Why a candidate has no score. None of these says anything about the network's worth."""

    OUT_OF_MEMORY = "out of memory"
    NOT_FINITE = "not finite"
    TIMEOUT = "timeout"
    CRASH = "crash"


class CandidateError(NastoolError):
    """A candidate could not be evaluated.

    Attributes:
        kind: what went wrong.
    """

    def __init__(self, kind: Failure, message: str):
        super().__init__(f"{kind}: {message}")
        self.kind = kind

    def __reduce__(self) -> tuple[type, tuple[Failure, str]]:
        """Pickle as what it was made of: a worker sends it to the search."""
        return type(self), (self.kind, str(self).removeprefix(f"{self.kind}: "))


Evaluator = Callable[[Candidate], Evaluation]
"""Evaluates a candidate, or raises `CandidateError`; `CandidateEvaluator` is one."""


class TrialState(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"  # trained in part: stopped after stage 0, and without a score
    FAILED = "failed"  # its training ended without a score
    INFEASIBLE = "infeasible"  # over a budget, or no network; never trained
    REUSED = "reused"  # an earlier trial computes the same, and its score was copied

    @property
    def trained(self) -> bool:
        """Whether a candidate was trained for it, be it in part or in vain."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True)
class Trial:
    """One draw of a search, ended.

    Attributes:
        id: its number in the run.
        genotype: published text.
        canonical: text that equal candidates share.
        score: mean F1 of the searched parts, 0..1; None unless complete or reused.
        reward: score after costs.
        parameters: of the network as it runs, encoder included.
        flops: likewise, 2 x MAC, at the deployment size.
        decoder_flops: of the decoder alone.
        pixels: of the image that the network itself sees, height times width.
        working_size: pixels that encoder and decoder see; None: those of the input.
        latency_ms: predicted median, by latency table.
        seconds: spent on the evaluation.
        phases: seconds by phase.
        stage0_score: after stage 0, where it could have been stopped.
        epoch_scores: after every epoch, where that was asked for.
        stop_below: it was to be stopped if the score after stage 0 was lower.
        search_score: of a trial that was scored again after a longer training: the score of the
            search; ``score`` and ``reward`` are the later ones.
        failure: kind of failure, see `Failure`.
        reason: why it failed, was rejected, stopped or reused.
        order: how many trials had ended before.
        finished_at: Unix time.
    """

    __pydantic_config__: ClassVar = {"allow_inf_nan": False}

    id: int
    genotype: str
    canonical: str
    encoder: str
    state: TrialState
    score: float | None
    reward: float | None
    parameters: int
    flops: int
    decoder_flops: int = 0
    pixels: int = 0
    working_size: int | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    stage0_score: float | None = None
    epoch_scores: list[float] = field(default_factory=list)
    stop_below: float | None = None
    search_score: float | None = None
    failure: str | None = None
    reason: str | None = None
    order: int = 0
    finished_at: float | None = None

    @property
    def costs(self) -> dict[str, float]:
        """The costs in the form that objectives and budgets read."""
        return costs_in(vars(self))

    @property
    def computes(self) -> tuple[str, str, int | None]:
        """What is equal for trials that compute the same."""
        return self.canonical, self.encoder, self.working_size

    @property
    def architecture(self) -> Architecture:
        """The network."""
        return Architecture(Genotype.parse(self.genotype), self.encoder, self.working_size)


def candidate_of(trial: Trial, *, rescored: bool = False) -> Candidate:
    """Make the candidate of a trial, to be trained as the search trains or ``rescored``."""
    return Candidate(trial.id, trial.architecture, trial.stop_below, rescored)


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """Count the trials by how they ended."""
    return {state.value: sum(trial.state is state for trial in trials) for state in TrialState}


def trial_document(trial: Trial) -> dict[str, Any]:
    """Return the promised keys of one candidate."""
    keys = (
        *("id", "genotype", "encoder", "working_size", "score", "search_score", "reward"),
        *("parameters", "flops", "latency_ms"),
    )
    return {key: value for key, value in asdict(trial).items() if key in keys}
