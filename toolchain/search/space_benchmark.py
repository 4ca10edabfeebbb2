"""A benchmark of the search space: real scores of many architectures, and a surrogate of the rest.

Rows are what trainings gave: architectures drawn at random, each scored after several amounts of
training. A surrogate fitted to them stands in for the training of any architecture of the space, so
that algorithms are compared over many seeds in minutes, on a landscape that is real.
"""

import hashlib
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import ndtri
from scipy.stats import spearmanr

from export.machine import processor
from export.system.errors import DataError, UsageError
from export.system.files import read_json, validated, write_text
from export.system.version import version
from toolchain.architecture import STRIDE, Architecture
from toolchain.genotype import Genotype
from toolchain.search.algorithms.predictor import ScorePredictor, held_out
from toolchain.search.appraisal import Appraiser
from toolchain.search.correlation import Correlation
from toolchain.search.prediction import classes_of
from toolchain.search.run import Run
from toolchain.search.space import SearchSpace
from toolchain.search.trial import Trial
from toolchain.settings.base import FILE_NAME, read_record
from toolchain.settings.search_settings import SearchSettings

SCHEMA_VERSION = 1
FEWEST = 30
"""Rows that a surrogate needs."""


Score = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=16)]
Side = Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)]


class Row(BaseModel):
    """One architecture and its scores.

    Attributes:
        genotype: published text.
        encoder: its name.
        working_size: pixels; None: that of the input.
        scores: after each amount of training, in the order of ``fidelities``; None: not trained so.
        seconds: of training and scoring up to each; None where it was not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    genotype: str
    encoder: str
    working_size: Side | None = None
    scores: list[Score | None]
    seconds: list[Seconds | None] = []

    @property
    def architecture(self) -> Architecture:
        """The network."""
        return Architecture(Genotype.parse(self.genotype), self.encoder, self.working_size)


class SpaceBenchmark(BaseModel):
    """Scores of architectures of one space.

    Attributes:
        schema_version: of this format.
        provenance: data, settings of the trainings, their date; CPU and nastool that made the file.
        branches: of the context cell.
        cells: merge cells.
        encoders: names.
        working_sizes: pixels; None: that of the input.
        classes: number of classes.
        input_size: of the deployed network, pixels.
        fidelities: names of the amounts of training, cheapest first.
        target: the one that algorithms see as the score.
        rows: the architectures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(SCHEMA_VERSION, ge=1, le=SCHEMA_VERSION)
    provenance: dict[str, Any]
    branches: Count
    cells: Count
    encoders: list[str] = Field(min_length=1)
    working_sizes: list[Side | None] = Field(min_length=1)
    classes: int = Field(ge=1)
    input_size: Side
    fidelities: list[str] = Field(min_length=1)
    target: str
    rows: list[Row] = Field(min_length=FEWEST)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a benchmark.

        Raises:
            DataError: the file is none, is damaged, or of a newer format; names the field.
        """
        document = read_json(path)
        if not isinstance(document, dict) or "fidelities" not in document:
            raise DataError(path, "is no benchmark of a space; nastool space make writes one")
        benchmark = validated(cls, document, path, "make it again")
        if benchmark.target not in benchmark.fidelities:
            raise DataError(path, f"target: {benchmark.target!r} is none of its fidelities")
        for number, row in enumerate(benchmark.rows):
            try:
                benchmark._check_row(row)
            except UsageError as error:
                raise DataError(path, f"rows.{number}: {error}") from None
        known = benchmark.scores(benchmark.target)[1]
        if len(known) < FEWEST or len({*known}) == 1:
            raise DataError(
                path,
                f"rows: {len(known)} scores of the target, a surrogate needs {FEWEST} and "
                "some that differ",
            )
        return benchmark

    def _check_row(self, row: Row) -> None:
        """Check that a row has a place in the benchmark; raise a UsageError where it has not."""
        for name, values in (("scores", row.scores), ("seconds", row.seconds or row.scores)):
            if len(values) != len(self.fidelities):
                raise UsageError(f"{len(values)} {name} for {len(self.fidelities)} fidelities")
        architecture = row.architecture
        genotype = architecture.genotype
        for what, value, known in (
            ("branches", genotype.branches, [self.branches]),
            ("cells", genotype.cells, [self.cells]),
            ("encoder", row.encoder, self.encoders),
            ("working_size", row.working_size, self.working_sizes),
        ):
            if value not in known:
                raise UsageError(f"{what} {value} is none of the benchmark's")
        if complaint := Appraiser(self.classes, self.input_size, {})(architecture).complaint:
            raise UsageError(complaint)

    def save(self, path: str | Path) -> None:
        """Write the benchmark, a row a line, whole or not at all."""
        rows = ",\n".join(f"    {row.model_dump_json()}" for row in self.rows)
        head = self.model_dump_json(indent=2, exclude={"rows"})
        write_text(path, f'{head.removesuffix(chr(10) + "}")},\n  "rows": [\n{rows}\n  ]\n}}\n')

    @property
    def space(self) -> SearchSpace:
        """The decisions."""
        return SearchSpace(
            self.branches, self.cells, tuple(self.encoders), tuple(self.working_sizes)
        )

    def check_space(self, space: SearchSpace, source: str | Path) -> None:
        """Check that the benchmark knows all architectures of a space.

        Raises:
            DataError: it does not; the message names what it lacks.
        """
        own = self.space
        for name in ("branches", "cells"):
            if (has := getattr(own, name)) != (wanted := getattr(space, name)):
                raise DataError(source, f"is of another space: {name} is {has}, not {wanted}")
        for name in ("encoders", "working_sizes"):
            known = getattr(own, name)
            if lacking := [each for each in getattr(space, name) if each not in known]:
                raise DataError(
                    source,
                    f"is of another space: {name} are {', '.join(map(str, known))}, without "
                    f"{lacking[0] or 'that of the input'}",
                )

    def scores(self, fidelity: str) -> tuple[list[Row], np.ndarray]:
        """Return the rows that have a score of a fidelity, and these scores."""
        place = self.fidelities.index(fidelity)
        pairs = [(row, row.scores[place]) for row in self.rows]
        found = [(row, score) for row, score in pairs if score is not None]
        return [row for row, _ in found], np.array([score for _, score in found])

    @cached_property
    def surrogate(self) -> "Surrogate":
        """Predicts the target of any architecture of the space."""
        return Surrogate(self)


class Surrogate:
    """A predictor fitted to a benchmark, with its error on rows that it has not seen.

    Attributes:
        spearman: rank correlation of held-out predictions and scores.
        deviation: root mean square of the errors of those predictions.
    """

    def __init__(self, benchmark: SpaceBenchmark):
        self._appraise = Appraiser(benchmark.classes, benchmark.input_size, {})
        rows, scores = benchmark.scores(benchmark.target)
        x = np.stack([self._appraise(row.architecture).features for row in rows])
        self._predictor = ScorePredictor(x, scores)
        predicted = held_out(x, scores)
        self.spearman = float(spearmanr(predicted, scores).statistic)
        self.deviation = float(np.sqrt(np.mean((predicted - scores) ** 2)))

    def score(self, architecture: Architecture) -> float:
        """Return the score of an architecture, the same whenever it is asked.

        It is the prediction and a share of chance of the size of the held-out errors, drawn from
        the architecture itself: a real landscape is not as smooth as a prediction.
        """
        appraised = self._appraise(architecture)
        (mean,), _ = self._predictor.predict(appraised.features[None])
        digest = hashlib.sha256(repr(appraised.computes).encode()).digest()
        share = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
        return float(np.clip(mean + self.deviation * ndtri(share), 0.0, 1.0))


def fidelity_correlations(benchmark: SpaceBenchmark) -> dict[str, dict[str, float]]:
    """Return Spearman's correlation of each pair of fidelities over the rows that have both.

    Pairs for which there is none, since too few have both or all are equal, are left out.
    """
    table: dict[str, dict[str, float]] = {}
    for i, first in enumerate(benchmark.fidelities):
        for j, second in enumerate(benchmark.fidelities[i + 1 :], i + 1):
            both = [
                (row.scores[i], row.scores[j])
                for row in benchmark.rows
                if row.scores[i] is not None and row.scores[j] is not None
            ]
            if both and (found := Correlation.of("spearman", *zip(*both, strict=True))):
                table.setdefault(first, {})[second] = round(found.value, 4)
    return table


def benchmark_of(run: Run) -> SpaceBenchmark:
    """Make a benchmark of a run that scored its candidates after every epoch.

    Fidelities are the epochs of its trainings, and, where ``nastool rank`` has trained some longer,
    what that gave. What places of files say of a machine stays out.

    Raises:
        DataError: the run has too few candidates that were trained to the end, or was made without
            ``--every-epoch``, or by another version.
    """
    settings = run.settings
    trials = run.complete
    if settings is None or len(trials) < FEWEST:
        raise DataError(
            run.path, f"has {len(trials)} candidates trained to the end, a surrogate needs {FEWEST}"
        )
    if not all(trial.epoch_scores for trial in trials):
        raise DataError(run.path, "has no scores of epochs; search with --every-epoch")
    classes = classes_of(trials[0], settings.input_size)
    if classes is None:
        raise DataError(run.path, "has costs that this nastool counts otherwise; search anew")
    longer = {row["id"]: row for row in (run.ranking or {}).get("trials", ())}
    rows = [
        Row(
            genotype=trial.genotype,
            encoder=trial.encoder,
            working_size=trial.working_size,
            scores=[
                *(round(score, 4) for score in trial.epoch_scores),
                longer[trial.id]["result"] if trial.id in longer else None,
            ],
            seconds=[
                *_seconds(trial, settings),
                longer[trial.id]["seconds"] if trial.id in longer else None,
            ],
        )
        for trial in trials
    ]
    stage0, stage1 = settings.decoder_epochs, settings.joint_epochs
    epochs = [f"stage 0, epoch {n}" for n in range(1, stage0 + 1)]
    epochs += [f"stage 1, epoch {n}" for n in range(1, stage1 + 1)]
    return SpaceBenchmark(
        schema_version=SCHEMA_VERSION,
        provenance=_provenance(run, settings),
        branches=settings.branches,
        cells=settings.cells,
        encoders=list(settings.encoders),
        working_sizes=list(settings.sides),
        classes=classes,
        input_size=settings.input_size,
        fidelities=[*epochs, "long"],
        target=epochs[-1],
        rows=rows,
    )


def _seconds(trial: Trial, settings: SearchSettings) -> list[float | None]:
    """Return the seconds up to each epoch, with one scoring behind it."""
    scoring = trial.phases.get("scoring", 0.0) / len(trial.epoch_scores)
    seconds = scoring
    result: list[float | None] = []
    for stage, epochs in (("stage0", settings.decoder_epochs), ("stage1", settings.joint_epochs)):
        for _ in range(epochs):
            seconds += trial.phases.get(stage, 0.0) / epochs
            result.append(round(seconds, 2))
    return result


_LEFT_OUT = {"data", "weights", "teacher", "latency_tables", "storage", "devices", "executor"}


def _provenance(run: Run, settings: SearchSettings) -> dict[str, Any]:
    """Say how the scores were made; files by their digests, never by their places."""
    _, contents = read_record(run.path / FILE_NAME, SearchSettings)
    ended = max(trial.finished_at or 0.0 for trial in run.trials)
    return {
        "data": Path(settings.data).name,
        "search": settings.model_dump(mode="json", exclude=_LEFT_OUT),
        "rank": (run.ranking or {}).get("settings"),
        "contents": [f"{name.split()[0]} {digest}" for name, digest in sorted(contents.items())],
        "cpu": processor.describe()["model"],
        "date": datetime.fromtimestamp(ended, UTC).date().isoformat(),
        "version": version(),
    }
