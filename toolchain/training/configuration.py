"""Everything that decides the outcome of a training, as one record that is saved beside it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from export.errors import DataError, UsageError
from export.files import read_json, write_json

FILE_NAME = "config.json"
# These change how fast a training runs, not where it goes; a resumed one may have others.
FREE_FIELDS = {"device", "workers"}


class TrainingConfiguration(BaseModel):
    """A training.

    Attributes:
        data: folder or ``synthetic:COUNT[:SEED]``.
        dataset: kind of the data; recognised when None.
        genotype: published text of the decoder.
        encoder: name of the encoder.
        aggregation: channels of the decoder.
        weights: checkpoint or encoder file to start from.
        teacher: checkpoint whose outputs the network also learns from.
        epochs: passes over the training images.
        input_size: width and height in pixels, a multiple of 32.
        batch_size: images a step.
        learning_rate: AdamW's highest rate.
        encoder_rate: factor on it for an encoder that starts from weights.
        weight_decay: AdamW's, on convolutions.
        warm_up: share of the steps in which the rate rises.
        gradient_norm: longer gradients are shortened to this.
        polyak_decay: of the averaged weights, which are the ones that are scored and kept.
        class_power, class_limit: see `toolchain.training.losses.class_weights`.
        dice: weight of `toolchain.training.losses.dice_loss`.
        augment: whether images are varied (see `toolchain.datasets.augmentation`).
        limit_images: train on this many images, drawn by the seed; None takes all.
        seed: of initial weights, order, augmentation and held-out images.
        workers: processes that prepare images; 0 prepares them between the steps.
        device: ``cpu`` or ``cuda:N``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    dataset: str | None = None
    genotype: str
    encoder: str = "mobilenetv2"
    aggregation: int = 48
    weights: str | None = None
    teacher: str | None = None
    epochs: int = 30
    input_size: int = 512
    batch_size: int = 4
    learning_rate: float = 4e-3
    encoder_rate: float = 0.25
    weight_decay: float = 1e-4
    warm_up: float = 0.05
    gradient_norm: float = 3.0
    polyak_decay: float = 0.99
    class_power: float = 0.5
    class_limit: float = 4.0
    dice: float = 1.0
    augment: bool = True
    limit_images: int | None = None
    seed: int = 0
    workers: int = 0
    device: str = "cpu"


def settle(configuration: TrainingConfiguration, output: Path, resume: bool) -> None:
    """Write ``output/config.json``, or check that a training in ``output`` may go on with it.

    Raises:
        UsageError: ``output`` holds a training and ``resume`` is False, or its configuration
            differs; or the input size is impossible.
        DataError: the configuration in ``output`` cannot be read.
    """
    if configuration.input_size % 32:
        raise UsageError(f"--input-size {configuration.input_size} is not a multiple of 32")
    path = output / FILE_NAME
    if (output / "last.pt").exists():
        if not resume:
            raise UsageError(
                f"{output} holds a training; continue it with --resume or choose another --output"
            )
        _check_same(configuration, path)
    write_json(path, configuration.model_dump())


def _check_same(configuration: TrainingConfiguration, path: Path) -> None:
    try:
        earlier = TrainingConfiguration.model_validate(read_json(path)).model_dump()
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(path, f"{place}: {first['msg']}; train into a new folder") from None
    for name, value in configuration.model_dump().items():
        if name not in FREE_FIELDS and earlier[name] != value:
            raise UsageError(
                f"{path}: the training was started with {name} {earlier[name]}, not {value}; "
                "resume with the same flags"
            )
