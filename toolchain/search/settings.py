"""How much, and by what, a candidate is trained before it is judged."""

from dataclasses import dataclass

from toolchain.training.losses import (
    AUXILIARY_WEIGHT,
    DISTILLATION_WEIGHT,
    PRESENCE_WEIGHT,
)


@dataclass(frozen=True)
class EvaluationSettings:
    """The procedure of a candidate's evaluation; every part of it can be left out.

    Attributes:
        size: side of the images, pixels. Whole faces, shrunk.
        images: images for training; more cost time in proportion.
        validation_images: other images of the same split, for the score.
        decoder_epochs: passes of stage 0 (decoder alone, on cached features).
        joint_epochs: passes of stage 1 (encoder and decoder, on images).
        batch_size: images a step.
        parts: names of the classes whose F1 are averaged; empty: all but background.
        distillation_weight: of the difference from the teacher's outputs, where there is one.
        auxiliary_weight: of the auxiliary heads on the merge cells.
        presence_weight: of the image-level branch of stage 1: which classes does the image hold?
        polyak: score the average of the weights over the steps instead of the last ones.
        early_stop: score after stage 0 too, and end there where the search says so.
        half: compute in 16 bits; None: where the device gains from it.
    """

    size: int = 192
    images: int = 320
    validation_images: int = 80
    decoder_epochs: int = 2
    joint_epochs: int = 1
    batch_size: int = 16
    parts: tuple[str, ...] = ()
    distillation_weight: float = DISTILLATION_WEIGHT
    auxiliary_weight: float = AUXILIARY_WEIGHT
    presence_weight: float = PRESENCE_WEIGHT
    polyak: bool = True
    early_stop: bool = True
    half: bool | None = None
