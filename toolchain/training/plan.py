"""Which trainings a command line asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import UsageError
from toolchain.genotype import Genotype
from toolchain.settings.base import FILE_NAME, check_files
from toolchain.settings.training_settings import TrainingSettings
from toolchain.training.initialisation import match_weights
from toolchain.training.start import Start
from toolchain.training.trainer import TrainingResult, claim, train

# Like a feature pyramid (Lin et al., CVPR 2017): a cell of 3x3 convolutions merges the deepest tap
# into the next higher ones, step by step.
REFERENCE_DECODER = "[[1, [0, 1, 2, 9], [1, 4, 3, 9]], [[3, 2], [4, 1], [5, 0]]]"


@dataclass(frozen=True)
class _Architecture:
    """What is to be trained, and the folder that it gets."""

    genotype: str
    encoder: str
    folder: Path


def train_all(
    output: Path,
    resume: bool,
    *,
    genotype: str | None,
    run: Path | None,
    pick: str | None,
    encoder: str | None,
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
        weights: a file for each encoder, in any order; none takes those of the search.
        settings: further fields of `TrainingSettings`.

    Raises:
        UsageError: neither or both of ``genotype`` and ``run`` are given, or ``weights`` do not
            match the encoders.
        NastoolError: see `train`.
    """
    if genotype is not None and run is None and pick is None:
        name = encoder or TrainingSettings.model_fields["encoder"].default
        chosen = [_Architecture(str(Genotype.parse(genotype)), name, output)]
        start = match_weights([name], weights)
    elif genotype is None and run is not None and pick is not None:
        chosen = _picked(output, run, pick, encoder)
        names = [one.encoder for one in chosen]
        start = match_weights(names, weights) if weights else _weights_of(run, names)
    else:
        raise UsageError("give either --genotype, or --run with --pick")
    plan = [
        (
            TrainingSettings.of(
                genotype=one.genotype,
                encoder=one.encoder,
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
    return [train(training, folder, resume) for training, folder in plan]


def pretrain(output: Path, resume: bool, **settings: Any) -> TrainingResult:
    """Train an encoder under `REFERENCE_DECODER`; see `train`.

    ``best.pt`` serves as weights of any network with this encoder, and as a teacher.
    """
    return train(TrainingSettings.of(genotype=REFERENCE_DECODER, **settings), output, resume)


def _picked(output: Path, run: Path, pick: str, encoder: str | None) -> list[_Architecture]:
    from toolchain.search.run import pick as pick_trials

    return [
        _Architecture(
            trial.genotype,
            encoder or trial.encoder,
            output / str(trial.id) if pick == "pareto" else output,
        )
        for trial in pick_trials(run, pick)
    ]


def _weights_of(run: Path, encoders: Sequence[str]) -> dict[str, Path]:
    """Return the weights that a search began with, by encoder; nothing where it had none.

    Raises:
        DataError: they have changed since, or are gone.
        UsageError: it had some, but none for an encoder.
    """
    from toolchain.search.run import Run

    settings = Run.load(run).settings
    assert settings, "a run folder has settings"
    check_files(run / FILE_NAME, settings, ["weights"], "bring it back, or give --weights FILE")
    found = match_weights(settings.encoders, settings.weights)
    for encoder in encoders:
        if found and encoder not in found:
            raise UsageError(
                f"the search in {run} had no weights for {encoder}; give --weights FILE"
            )
    return found
