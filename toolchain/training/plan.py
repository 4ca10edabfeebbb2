"""Which trainings are asked for: of a genotype, or of what a search has found."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.system.errors import UsageError
from toolchain.genotype import Genotype
from toolchain.settings.base import FILE_NAME, check_files
from toolchain.settings.search_settings import SearchSettings
from toolchain.settings.training_settings import TrainingSettings
from toolchain.training.initialisation import match_weights
from toolchain.training.start import Start
from toolchain.training.trainer import TrainingResult, claim, train

if TYPE_CHECKING:
    from toolchain.search.trial import Trial

log = logging.getLogger(__name__)
# Like a feature pyramid (Lin et al., CVPR 2017): a cell of 3x3 convolutions merges the deepest tap
# into the next higher ones, step by step.
REFERENCE_DECODER = "[[1, [0, 1, 2, 9], [1, 4, 3, 9]], [[3, 2], [4, 1], [5, 0]]]"


@dataclass(frozen=True)
class _Chosen:
    """What is to be trained, and the folder that it gets."""

    genotype: str
    encoder: str
    input_size: int
    working_size: int | None
    folder: Path


def train_all(
    output: Path,
    resume: bool,
    *,
    genotype: str | None,
    run: Path | None,
    pick: str | None,
    encoder: str | None,
    input_size: int | None,
    working_size: int | None,
    weights: Sequence[Path],
    **settings: Any,
) -> list[TrainingResult]:
    """Train a genotype, or what ``pick`` takes from a search; several get folders by trial id.

    What is wrong with any of the trainings shows before the first one begins.

    Args:
        output: folder to fill.
        resume: go on with trainings that are there.
        genotype: an architecture, instead of ``run``.
        run: folder of a search.
        pick: ``best``, ``knee``, ``pareto`` or a trial's id.
        encoder: name; None takes the trial's, or the default.
        input_size: in pixels; None takes the run's, or the default.
        working_size: in pixels; None takes the trial's, or that of the input.
        weights: a file for each encoder, in any order; none takes those of the search.
        settings: further fields of `TrainingSettings`.

    Raises:
        UsageError: neither or both of ``genotype`` and ``run`` are given, or ``weights`` do not
            match the encoders.
        NastoolError: see `train`.
    """
    picked: list[Trial] = []
    if genotype is not None and run is None and pick is None:
        default = TrainingSettings.model_fields
        name, size = encoder or default["encoder"].default, default["input_size"].default
        text = str(Genotype.parse(genotype))
        chosen = [_Chosen(text, name, input_size or size, working_size, output)]
        start = match_weights([name], weights)
    elif genotype is None and run is not None and pick is not None:
        from toolchain.search.run import Run
        from toolchain.search.run import pick as pick_trials

        searched = Run.load(run).settings
        assert searched, "a run folder has settings"
        picked = pick_trials(run, pick)
        chosen = [
            _Chosen(
                trial.genotype,
                encoder or trial.encoder,
                input_size or searched.input_size,
                working_size or trial.working_size,
                output / str(trial.id) if pick == "pareto" else output,
            )
            for trial in picked
        ]
        names = [one.encoder for one in chosen]
        start = match_weights(names, weights) if weights else _weights_of(run, searched, names)
    else:
        raise UsageError("give either --genotype, or --run with --pick")
    plan = [
        (
            TrainingSettings.of(
                genotype=one.genotype,
                encoder=one.encoder,
                input_size=one.input_size,
                working_size=one.working_size,
                weights=start.get(one.encoder),
                **settings,
            ),
            one.folder,
        )
        for one in chosen
    ]
    for training, folder in plan[1:]:  # the first is checked when it begins
        claim(training, folder, resume)
        Start.of(training)
    for trial, (training, _) in zip(picked, plan, strict=False):  # a genotype is none of a trial
        started = training.weights.name if training.weights else "none"
        log.info(
            "%s of %s: trial %d with score %.3f, encoder %s, weights %s",
            *(pick, run, trial.id, trial.score or 0.0, training.encoder, started),
        )
    return [train(training, folder, resume) for training, folder in plan]


def pretrain(output: Path, resume: bool, **settings: Any) -> TrainingResult:
    """Train an encoder under `REFERENCE_DECODER`; see `train`.

    ``best.pt`` serves as weights of any network with this encoder, and as a teacher.
    """
    return train(TrainingSettings.of(genotype=REFERENCE_DECODER, **settings), output, resume)


def _weights_of(run: Path, settings: SearchSettings, encoders: Sequence[str]) -> dict[str, Path]:
    """Return the weights that a search began with, by encoder; nothing where it had none.

    Raises:
        DataError: they have changed since, or are gone.
        UsageError: it had some, but none for an encoder.
    """
    check_files(run / FILE_NAME, settings, ["weights"], "bring it back, or give --weights FILE")
    found = match_weights(settings.encoders, settings.weights)
    for encoder in encoders:
        if found and encoder not in found:
            raise UsageError(
                f"the search in {run} had no weights for {encoder}; give --weights FILE"
            )
    return found
