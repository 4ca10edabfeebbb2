"""The settings of one network's training."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from export.system.numbers import LARGEST_SEED, LARGEST_SIDE, MOST_THREADS
from toolchain.settings.base import Data, Settings, setting

PLAN = "plan.json"
"""The file in an ablation's folder that holds its flags."""
METRICS = "metrics.jsonl"
"""The file in a training's folder that has a line an epoch."""
AUXILIARY_WEIGHT = 0.15
DISTILLATION_WEIGHT = 0.3


class LossSettings(Settings):
    """What a training minimises."""

    class_power: float = setting(
        0.5, "Weight of rare classes: 0 weighs all alike, 1 in inverse proportion.", ge=0
    )
    class_limit: float = setting(4.0, "Bound on the weights of classes.", ge=1)
    hardest_pixels: float = setting(
        1.0, "Share of a batch's pixels, the hardest, that the cross-entropy is of.", gt=0, le=1
    )
    edge_weight: float = setting(
        0.0, "Of the cross-entropy of pixels where labels change, beside that of all.", ge=0
    )
    dice_weight: float = setting(1.0, "Of the soft F1 loss.", ge=0)
    lovasz_weight: float = setting(1.0, "Of the Lovasz loss, a soft IoU.", ge=0)
    auxiliary_weight: float = setting(
        AUXILIARY_WEIGHT, "Of the auxiliary heads on the merge cells.", ge=0
    )
    distillation_weight: float = setting(
        DISTILLATION_WEIGHT, "Of the difference from the teacher's outputs.", ge=0
    )


class AugmentationSettings(Settings):
    """How much training images are changed; each change is drawn evenly from its range."""

    augment: bool = setting(True, "Vary the images.")
    faceless: float = setting(
        0.1, "Share that becomes a frame without anybody: surroundings alone.", ge=0, le=1
    )
    mirror: bool = setting(True, "Exchange left and right in half of them.")
    smallest_crop: float = setting(0.75, "Least factor of size of a face that fills it.", gt=0)
    largest_crop: float = setting(1.4, "Greatest one.", gt=0, le=100)
    shift: float = setting(0.1, "Largest move of such a face, in parts of the size.", ge=0, le=1)
    framed: float = setting(
        0.5, "Share of the others that is placed anywhere in a wider frame.", ge=0, le=1
    )
    smallest: float = setting(
        0.2, "Least factor of size in a wider frame, drawn evenly in logarithms.", gt=0, le=1
    )
    neighbours: float = setting(
        0.2, "Share of those in a wider frame that have somebody beside them.", ge=0, le=1
    )
    rotation: float = setting(20.0, "Largest turn either way, in degrees.", ge=0, le=180)
    brightness: float = setting(
        30.0, "Largest change either way, in grey levels of 255.", ge=0, le=255
    )
    contrast: float = setting(0.25, "Largest change of the factor either way.", ge=0, le=1)
    saturation: float = setting(0.4, "Largest change of the factor either way.", ge=0, le=1)
    tint: float = setting(0.08, "Largest change of each colour's factor either way.", ge=0, le=1)
    blur: float = setting(1.5, "Largest standard deviation, in pixels.", ge=0, le=100)
    noise: float = setting(12.0, "Largest amplitude, in grey levels of 255.", ge=0, le=255)
    jpeg: int = setting(40, "Lowest JPEG quality; the highest is 95.", ge=1, le=95)
    degraded: float = setting(
        0.25, "Share of images that gets each of blur, noise and JPEG.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _check_crops(self) -> Self:
        if self.smallest_crop > self.largest_crop:
            raise ValueError(
                f"--smallest-crop {self.smallest_crop:g} is above --largest-crop "
                f"{self.largest_crop:g}"
            )
        return self


class TrainingSettings(LossSettings, AugmentationSettings):
    """Everything that decides the outcome of a training, and where it runs."""

    command: ClassVar[str] = "train"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "First of all": (
            "data",
            "genotype",
            "run",
            "pick",
            "output",
            "weights",
            "epochs",
            "resume",
        ),
        "Which switches, and how often": ("switches", "seeds", "framing"),
        "Images": (
            "dataset",
            "limit_images",
            "with_search_images",
            "rare_share",
            "faceless_images",
        ),
        "The network": ("encoder", "input_size", "working_size", "aggregation", "teacher"),
        "Steps": (
            *("batch_size", "accumulate", "learning_rate", "encoder_rate", "weight_decay"),
            *("warm_up", "gradient_norm", "average_half_life"),
            *("start_share", "class_offsets", "seed"),
        ),
        "What is minimised": tuple(LossSettings.model_fields),
        "How images vary": tuple(AugmentationSettings.model_fields),
        "Where it runs, and what it keeps": ("device", "half", "workers", "keep_every"),
    }
    data: Data
    dataset: str | None = setting(None, "Kind of the data; recognised by its layout when left out.")
    genotype: str = setting(
        help="Architecture: published text, loose text or .json file.", reads="genotype"
    )
    encoder: str = setting("mobilenetv2", "Its name; see nastool encoders.")
    aggregation: int = setting(48, "Channels of the decoder.", ge=1, le=1024)
    weights: Path | None = setting(None, "Start from this checkpoint or encoder file.")
    teacher: Path | None = setting(None, "Checkpoint whose outputs are learned beside the labels.")
    with_search_images: bool = setting(
        False, "Train on the images of a search's candidates too, when no search is to follow."
    )
    limit_images: int | None = setting(
        None,
        "Train on this many at most, chosen by name.",
        flag="images",
        formerly=("limit-images",),
        ge=2,
    )
    rare_share: float = setting(
        0.0,
        "Show images more often that hold a class which fewer than this share of them hold, by the "
        "square root of the quotient, and the others less.",
        ge=0,
        le=1,
    )
    faceless_images: Path | None = setting(
        None,
        "Folder of pictures without a face: frames without anybody, and what lies around faces, "
        "are made of them too.",
        free=True,
        reads="folder",
    )
    epochs: int = setting(30, "Passes over the training images.", ge=1, may_rise=True)
    input_size: int = setting(
        512, "Pixels, a multiple of 32.", ge=32, le=LARGEST_SIDE, multiple_of=32
    )
    working_size: int | None = setting(
        None,
        "Pixels to which the network averages an image down before it works on it, a multiple of "
        "32; the --input-size if left out.",
        ge=32,
        le=LARGEST_SIDE,
        multiple_of=32,
    )
    batch_size: int = setting(4, "Images at once.", ge=2)
    accumulate: int = setting(1, "Batches whose gradients make one step.", ge=1)
    learning_rate: float = setting(4e-3, "AdamW's highest.", gt=0)
    encoder_rate: float = setting(
        0.25, "Factor on it for an encoder that starts from weights.", ge=0
    )
    weight_decay: float = setting(1e-4, "AdamW's, on convolutions.", ge=0)
    warm_up: float = setting(0.05, "Share of the steps in which the rate rises.", ge=0, lt=1)
    gradient_norm: float = setting(3.0, "Longer gradients are shortened to this.", gt=0)
    average_half_life: float = setting(
        0.13,
        "Epochs after which a weight counts half in the averaged weights, which are the ones that "
        "are kept; 0 keeps the last ones.",
        ge=0,
    )
    start_share: float = setting(
        0.0,
        "In the end average best.pt with the network of --weights, which counts so much: what it "
        "knew and the new images do not show stays.",
        ge=0,
        lt=1,
    )
    # It changes what comes of a training, not where it goes.
    class_offsets: bool = setting(
        True,
        "In the end shift each class's logits by what raises mean F1 on the images that choose the "
        "epoch, small faces included, if it does so too from either half of them to the other.",
        free=True,
    )
    seed: int = setting(0, "Of initial weights, order and augmentation.", ge=0, le=LARGEST_SEED)
    half: bool | None = setting(None, "Train in 16 bits; on CUDA if left out.")
    # What follows changes how fast a training runs, not where it goes.
    workers: int | None = setting(
        None,
        "Processes that prepare images; 0 prepares them between the steps. If left out, as many as "
        "a GPU needs, and none on a CPU.",
        ge=0,
        le=MOST_THREADS,
        free=True,
    )
    keep_every: int = setting(
        0,
        "Keep the checkpoint of every so many epochs beside best.pt and last.pt.",
        ge=0,
        free=True,
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
