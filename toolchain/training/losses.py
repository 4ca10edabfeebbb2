"""What training minimises.

Logits come at the decoder's resolution, labels at that of the image that the network sees. The
cross-entropy of the final training is taken at the labels' resolution, with the upsampling inside
(`cross_entropy`): a network trained at the decoder's own resolution loses several points of F1 on
eyes and brows.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def resize_logits(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Resize ``[N, K, h, w]`` bilinearly to ``size`` (height, width), as the exported file does."""
    # Everything after this works class plane by class plane, which wants planes in one piece.
    return F.interpolate(logits.contiguous(), size=tuple(size), mode="bilinear")


def shrink_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Resize label maps ``[N, H, W]`` to ``size`` (height, width) by nearest pixel centres."""
    return F.interpolate(labels[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].long()


def class_weights(pixels: npt.NDArray[np.int64], power: float, limit: float) -> Tensor:
    """Weights for rare classes: ``(median frequency / frequency) ** power`` in [1/limit, limit].

    After Eigen & Fergus, "Predicting Depth, Surface Normals and Semantic Labels" (ICCV 2015,
    section 4.3), where the power is 1. Classes that never occur get weight 1.

    Args:
        pixels: number of pixels of each class, ``[classes]``.
        power: 0 weighs all classes alike, 1 gives all classes the same total weight.
        limit: bound on the weights.
    """
    occurring = pixels > 0
    weights = np.ones(len(pixels), np.float32)
    ratio = np.median(pixels[occurring]) / pixels[occurring]
    weights[occurring] = np.clip(ratio**power, 1 / limit, limit)
    return torch.from_numpy(weights)


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of ``[N, K, h, w]`` against int64 ``[N, H, W]`` at the labels' resolution."""
    return F.cross_entropy(resize_logits(logits, labels.shape[1:]), labels, weight=weights)


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the mean soft F1 of the classes but background that the batch's labels hold.

    Soft Dice (Milletari et al., "V-Net", 3DV 2016) summed over the batch, which is the F1 that
    `toolchain.training.metrics` reports, with probabilities in place of decisions. It is taken at
    the logits' resolution, against the share of each class in the pixels under each logit; there
    it costs a sixteenth of what it would cost at the input's.
    """
    probabilities = logits.contiguous().softmax(1)
    classes = logits.shape[1]
    shares = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()
    shares = F.interpolate(shares, size=logits.shape[2:], mode="area")
    over_pixels = (0, 2, 3)
    shared = torch.minimum(probabilities, shares).sum(over_pixels)
    total = probabilities.sum(over_pixels) + shares.sum(over_pixels)
    present = shares.sum(over_pixels) > 0
    present[0] = False
    return (1 - 2 * shared / total)[present].mean() if present.any() else logits.sum() * 0


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student's classes from the teacher's, mean per pixel.

    Both are logits ``[N, K, h, w]``. The teacher's are resized to the student's resolution first:
    compared at two resolutions, the loss measures the upsampling instead of the networks.
    """
    target = resize_logits(teacher, student.shape[2:]).log_softmax(1)
    prediction = student.contiguous().log_softmax(1)
    return (target.exp() * (target - prediction)).sum(1).mean()


class AuxiliaryHeads(nn.ModuleList):
    """A 3x3 convolution to class logits on each merge cell's output, in training only.

    Nekrasov et al., CVPR 2019, section 3.3: the heads train merge cells whose output reaches the
    classifier only through others.
    """

    def __init__(self, cells: int, channels: int, classes: int):
        super().__init__(nn.Conv2d(channels, classes, 3, padding=1) for _ in range(cells))

    def loss(
        self, merges: Sequence[Tensor], labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Mean cross-entropy of the heads, each at the resolution of its cell's output."""
        losses = [
            F.cross_entropy(head(merge), shrink_labels(labels, merge.shape[2:]), weight=weights)
            for head, merge in zip(self, merges, strict=True)
        ]
        return torch.stack(losses).mean()


class PresenceBranch(nn.Module):
    """Says which classes an image holds, from an encoder's tap, in training only.

    Multi-task learning as in Lyu et al., 2023: what tells a face with glasses from one without
    helps to find the glasses.
    """

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean binary cross-entropy over images and classes.

        Args:
            features: ``[N, C, h, w]``.
            labels: int64 ``[N, H, W]``.
        """
        logits = self.linear(features.mean((2, 3)))
        present = torch.zeros_like(logits).scatter_(1, labels.flatten(1), 1.0)
        return F.binary_cross_entropy_with_logits(logits, present)
