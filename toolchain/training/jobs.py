"""Which trainings a command line asks for."""

from pathlib import Path
from typing import Any

from export.errors import UsageError
from toolchain.genotype import Genotype
from toolchain.training.configuration import TrainingConfiguration
from toolchain.training.trainer import TrainingResult, train

# Like a feature pyramid (Lin et al., CVPR 2017): a cell of 3x3 convolutions merges the deepest tap
# into the next higher ones, step by step.
REFERENCE_DECODER = "[[1, [0, 1, 2, 9], [1, 4, 3, 9]], [[3, 2], [4, 1], [5, 0]]]"


def train_all(
    output: Path,
    resume: bool,
    *,
    genotype: str | None,
    run: Path | None,
    pick: str | None,
    encoder: str | None,
    **settings: Any,
) -> list[TrainingResult]:
    """Train a genotype, or what ``pick`` takes from a search; several get folders by trial id.

    Args:
        output: folder to fill.
        resume: go on with trainings that are there.
        genotype: an architecture, instead of ``run``.
        run: folder of a search.
        pick: ``best``, ``knee``, ``pareto`` or a trial's id.
        encoder: name; None takes the trial's, or mobilenetv2.
        settings: further fields of `TrainingConfiguration`.

    Raises:
        UsageError: neither or both of ``genotype`` and ``run`` are given.
        NastoolError: see `train`.
    """
    if genotype is not None and run is None and pick is None:
        jobs = [(output, str(Genotype.parse(genotype)), encoder or "mobilenetv2")]
    elif genotype is None and run is not None and pick is not None:
        from toolchain.search.run import pick as pick_trials

        jobs = [
            (
                output / str(trial.id) if pick == "pareto" else output,
                trial.genotype,
                encoder or trial.encoder,
            )
            for trial in pick_trials(run, pick)
        ]
    else:
        raise UsageError("give either --genotype, or --run with --pick")
    results = []
    for folder, text, name in jobs:
        configuration = TrainingConfiguration(genotype=text, encoder=name, **settings)
        results.append(train(configuration, folder, resume))
    return results


def pretrain(output: Path, resume: bool, encoder: str, **settings: Any) -> TrainingResult:
    """Train an encoder under `REFERENCE_DECODER`; see `train`.

    ``best.pt`` serves as weights of any network with this encoder, and as a teacher.
    """
    configuration = TrainingConfiguration(genotype=REFERENCE_DECODER, encoder=encoder, **settings)
    return train(configuration, output, resume)
