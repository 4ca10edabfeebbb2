"""The whole loss of a training: the sum of the losses that are switched on."""

from pathlib import Path

import torch
from torch import Tensor, nn

from export.errors import DataError
from toolchain.datasets.labels import IGNORED
from toolchain.networks.segmenter import Segmenter
from toolchain.settings.training_settings import LossSettings
from toolchain.training.checkpoints import load_segmenter
from toolchain.training.device import on_device
from toolchain.training.losses import (
    AuxiliaryHeads,
    PixelLosses,
    dice_loss,
    distillation_loss,
    lovasz_loss,
    near_edges,
)


class TrainingLoss(nn.Module):
    """Cross-entropy, and beside it what the settings give a weight.

    Args:
        network: that is trained.
        class_weights: of the cross-entropies, ``[classes]``.
        settings: the weights of the losses.
        teacher: see `load_teacher`.

    Attributes:
        auxiliary: the auxiliary heads, which are trained with the network and never deployed.
    """

    class_weights: Tensor

    def __init__(
        self,
        network: Segmenter,
        class_weights: Tensor,
        settings: LossSettings,
        teacher: nn.Module | None = None,
    ):
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.auxiliary = AuxiliaryHeads(
            network.genotype.cells, network.aggregation, network.classes
        )
        self._settings = settings
        # In a tuple, so that the teacher's weights are not among this module's.
        self._teacher = (teacher,)

    def forward(self, network: Segmenter, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of normalised images ``[N, 3, H, W]`` and int64 labels ``[N, H, W]``."""
        settings = self._settings
        logits, merges = network.decoder.forward_with_merges(network.features(images))
        (teacher,) = self._teacher
        loss = logits.sum() * 0
        if (labels != IGNORED).any():
            pixels = PixelLosses(logits, labels, self.class_weights)
            hardest = settings.hardest_pixels
            loss = pixels.mean() if hardest == 1 else pixels.hardest(hardest)
            if weight := settings.edge_weight:
                loss = loss + weight * pixels.among(near_edges(labels))
            if weight := settings.auxiliary_weight:
                loss = loss + weight * self.auxiliary.loss(merges, labels, self.class_weights)
            if weight := settings.dice_weight:
                loss = loss + weight * dice_loss(logits, labels)
            if weight := settings.lovasz_weight:
                loss = loss + weight * lovasz_loss(logits, labels)
        if teacher is not None and settings.distillation_weight:
            with torch.no_grad():
                target = teacher(images)
            loss = loss + settings.distillation_weight * distillation_loss(logits, target)
        return loss


def load_teacher(
    path: str | Path, classes: tuple[str, ...], size: int, device: torch.device
) -> nn.Module:
    """Load a checkpoint whose outputs another network is to imitate; it stays as it is.

    Args:
        path: the checkpoint.
        classes: names of the classes that it must have.
        size: width and height in pixels of the images that it will see, which its pupil sees too.
        device: where it is to compute.

    Raises:
        DataError: the checkpoint cannot be read, has other classes or was trained at another size.
    """
    teacher, info = load_segmenter(path)
    if info.label_set.classes != classes:
        raise DataError(
            path, f"has {len(info.label_set.classes)} classes that are not those of the data"
        )
    if info.network_size != size:
        raise DataError(
            path,
            f"was trained at {info.network_size} pixels, its pupil sees {size}: their outputs do "
            f"not compare; train a teacher with --working-size {size} or --input-size {size}",
        )
    return on_device(teacher.deployable(size).requires_grad_(False), device)
