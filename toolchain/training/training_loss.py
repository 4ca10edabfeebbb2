"""The whole loss of a training: the sum of the losses that are switched on."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.system.errors import DataError
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
            # It may never have seen a frame without anybody.
            somebody = (labels > 0).flatten(1).any(1)
            loss = loss + settings.distillation_weight * distillation_loss(logits, target, somebody)
        return loss


class Teacher(nn.Module):
    """A trained network whose outputs another one is to imitate; it stays as it is.

    Args:
        network: gives logits.
        size: width and height in pixels of the images that it was trained on.
    """

    def __init__(self, network: nn.Module, size: int):
        super().__init__()
        self.network, self.size = network, size

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images of any size, brought to its own first."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        logits: Tensor = self.network(images)
        return logits


def load_teacher(path: str | Path, classes: tuple[str, ...], device: torch.device) -> Teacher:
    """Load a checkpoint as a teacher.

    Args:
        path: the checkpoint.
        classes: names of the classes that it must have.
        device: where it is to compute.

    Raises:
        DataError: the checkpoint cannot be read or has other classes.
    """
    teacher, info = load_segmenter(path)
    if info.label_set.classes != classes:
        raise DataError(
            path, f"has {len(info.label_set.classes)} classes that are not those of the data"
        )
    network = teacher.deployable(info.network_size).requires_grad_(False)
    return Teacher(on_device(network, device), info.network_size)
