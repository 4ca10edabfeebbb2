"""The settings of one network's training."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from toolchain.settings.base import LARGEST_SEED, Data, Settings, setting

AUXILIARY_WEIGHT = 0.15
DISTILLATION_WEIGHT = 0.3


class TrainingSettings(Settings):
    """Everything that decides the outcome of a training, and where it runs."""

    command: ClassVar[str] = "train"
    data: Data
    dataset: str | None = setting(None, "Kind of the data; recognised by its layout when left out.")
    genotype: str = setting(help="Architecture: published text, loose text or .json file.")
    encoder: str = setting("mobilenetv2", "Its name; see nastool encoders.")
    aggregation: int = setting(48, "Channels of the decoder.", ge=1)
    weights: Path | None = setting(None, "Start from this checkpoint or encoder file.")
    teacher: Path | None = setting(None, "Checkpoint whose outputs are learned beside the labels.")
    with_search_images: bool = setting(
        False, "Train on the images of a search's candidates too, when no search is to follow."
    )
    limit_images: int | None = setting(None, "Train on this many, chosen by name.", ge=2)
    epochs: int = setting(30, "Passes over the training images.", ge=1)
    input_size: int = setting(512, "Pixels, a multiple of 32.", ge=32, multiple_of=32)
    working_size: int | None = setting(
        None,
        "Pixels to which the network averages an image down before it works on it, a multiple of "
        "32; the --input-size if left out.",
        ge=32,
        multiple_of=32,
    )
    batch_size: int = setting(4, "Images a step.", ge=2)
    learning_rate: float = setting(4e-3, "AdamW's highest.", gt=0)
    encoder_rate: float = setting(
        0.25, "Factor on it for an encoder that starts from weights.", ge=0
    )
    weight_decay: float = setting(1e-4, "AdamW's, on convolutions.", ge=0)
    warm_up: float = setting(0.05, "Share of the steps in which the rate rises.", ge=0, lt=1)
    gradient_norm: float = setting(3.0, "Longer gradients are shortened to this.", gt=0)
    polyak_decay: float = setting(
        0.99, "Of the averaged weights, which are the ones that are kept.", ge=0, lt=1
    )
    class_power: float = setting(
        0.5, "Weight of rare classes: 0 weighs all alike, 1 in inverse proportion.", ge=0
    )
    class_limit: float = setting(4.0, "Bound on the weights of classes.", ge=1)
    dice_weight: float = setting(1.0, "Of the soft F1 loss.", ge=0)
    auxiliary_weight: float = setting(
        AUXILIARY_WEIGHT, "Of the auxiliary heads on the merge cells.", ge=0
    )
    distillation_weight: float = setting(
        DISTILLATION_WEIGHT, "Of the difference from the teacher's outputs.", ge=0
    )
    augment: bool = setting(True, "Vary the images.")
    seed: int = setting(0, "Of initial weights, order and augmentation.", ge=0, le=LARGEST_SEED)
    # What follows changes how fast a training runs, not where it goes.
    workers: int = setting(
        0, "Processes that prepare images; 0 prepares them between the steps.", ge=0, free=True
    )
    device: str = setting("cpu", "cpu or cuda:N.", free=True)

    @model_validator(mode="after")
    def _check_working_size(self) -> Self:
        if self.network_size > self.input_size:
            raise ValueError(
                f"--working-size {self.working_size} is above --input-size {self.input_size}"
            )
        return self

    @property
    def network_size(self) -> int:
        """Width and height in pixels of the images as the network itself sees them."""
        return self.working_size or self.input_size
