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

from toolchain.datasets.labels import IGNORED

EDGE = 2
"""Pixels that `near_edges` reaches to either side of where labels change."""


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
    full = resize_logits(logits, labels.shape[1:])
    return F.cross_entropy(full, labels, weight=weights, ignore_index=IGNORED)


class PixelLosses:
    """The cross-entropy of every pixel, of which means over some of them are taken.

    Args:
        logits: ``[N, K, h, w]``.
        labels: int64 ``[N, H, W]``; the loss is taken at their resolution.
        weights: of the classes, ``[K]``.
    """

    def __init__(self, logits: Tensor, labels: Tensor, weights: Tensor):
        full = resize_logits(logits, labels.shape[1:])
        self._losses = F.cross_entropy(
            full, labels, weight=weights, ignore_index=IGNORED, reduction="none"
        )
        counted = labels != IGNORED
        self._weights = weights[labels.where(counted, 0)] * counted

    def mean(self) -> Tensor:
        """Return the weighted mean over all pixels, which `cross_entropy` is too."""
        return _ratio(self._losses, self._weights)

    def hardest(self, share: float) -> Tensor:
        """Return the mean over a share of the pixels, those of the largest loss.

        Online hard example mining: Shrivastava et al., CVPR 2016; here over pixels of the batch.
        """
        losses, places = self._losses.flatten().topk(max(1, round(share * self._losses.numel())))
        return _ratio(losses, self._weights.flatten()[places])

    def among(self, chosen: Tensor) -> Tensor:
        """Return the mean over the pixels that are True in ``chosen``, [N, H, W]; 0 of none."""
        return _ratio(self._losses * chosen, self._weights * chosen)


def _ratio(losses: Tensor, weights: Tensor) -> Tensor:
    # Of pixels that all do not count, both are 0.
    return losses.sum() / weights.sum().clamp(min=torch.finfo(losses.dtype).tiny)


def near_edges(labels: Tensor, reach: int = EDGE) -> Tensor:
    """Tell which pixels of ``[N, H, W]`` have one of another label within ``reach`` pixels.

    Edges of what does not count are none.
    """
    side = 2 * reach + 1
    values = labels[:, None].float()
    # What does not count is the last of all labels, so never the smallest beside another.
    ignored = values == IGNORED
    largest = F.max_pool2d(values.masked_fill(ignored, -1), side, 1, reach)
    smallest = -F.max_pool2d(-values, side, 1, reach)
    return ((largest != smallest) & ~ignored)[:, 0]


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the mean soft F1 of the classes but background that the batch's labels hold.

    Soft Dice (Milletari et al., "V-Net", 3DV 2016) summed over the batch, which is the F1 that
    `toolchain.training.metrics` reports, with probabilities in place of decisions. It is taken at
    the logits' resolution, against the share of each class in the pixels under each logit; there
    it costs a sixteenth of what it would cost at the input's.
    """
    probabilities = logits.contiguous().softmax(1)
    counted = labels != IGNORED
    shares = F.one_hot(labels.where(counted, 0), logits.shape[1]) * counted[..., None]
    shares = F.interpolate(shares.permute(0, 3, 1, 2).float(), size=logits.shape[2:], mode="area")
    # Where part of the pixels under a logit does not count, as much of what it says does not.
    probabilities = probabilities * shares.sum(1, keepdim=True)
    over_pixels = (0, 2, 3)
    shared = torch.minimum(probabilities, shares).sum(over_pixels)
    total = probabilities.sum(over_pixels) + shares.sum(over_pixels)
    present = (shares.sum(over_pixels) > 0).float()
    present[0] = 0
    missed = 1 - 2 * shared / total.clamp(min=torch.finfo(total.dtype).tiny)
    return (missed * present).sum() / present.sum().clamp(min=1)


def lovasz_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the mean IoU of the classes that the batch's labels hold, as a Lovasz extension.

    Berman et al., "The Lovasz-Softmax loss", CVPR 2018, equations 8 to 10 and algorithm 1, over
    the pixels of the batch, at the logits' resolution.
    """
    labels = shrink_labels(labels, logits.shape[2:]).flatten()
    counted = labels != IGNORED
    probabilities = logits.softmax(1).permute(0, 2, 3, 1).flatten(0, 2)[counted]
    labels = labels[counted]
    losses = [_lovasz_of_class(probabilities[:, k], labels == k) for k in labels.unique().tolist()]
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def _lovasz_of_class(probabilities: Tensor, present: Tensor) -> Tensor:
    """Return the loss of one class: its probabilities [n], and where it is, bool [n]."""
    errors, order = (present.float() - probabilities).abs().sort(descending=True)
    inside = present[order].float()
    intersection = inside.sum() - inside.cumsum(0)
    union = inside.sum() + (1 - inside).cumsum(0)
    jaccard = 1 - intersection / union
    # What each pixel's error adds to the loss, were the pixels to fail in this order.
    return errors @ jaccard.diff(prepend=jaccard.new_zeros(1))


def distillation_loss(student: Tensor, teacher: Tensor, images: Tensor | None = None) -> Tensor:
    """Kullback-Leibler divergence of the student's classes from the teacher's, mean per pixel.

    Both are logits ``[N, K, h, w]``. The teacher's are resized to the student's resolution first:
    compared at two resolutions, the loss measures the upsampling instead of the networks.

    Args:
        student: logits.
        teacher: logits, of any resolution.
        images: which of them count, bool ``[N]``; None: all.
    """
    target = resize_logits(teacher, student.shape[2:]).log_softmax(1)
    prediction = student.contiguous().log_softmax(1)
    losses = (target.exp() * (target - prediction)).sum(1).mean((1, 2))
    # A product, as a choice would have to wait for the device.
    return losses.mean() if images is None else (losses * images).sum() / images.sum().clamp(min=1)


class AuxiliaryHeads(nn.ModuleList):
    """A 3x3 convolution to class logits on each merge cell's output, in training only.

    Nekrasov et al., CVPR 2019, section 3.3: the heads train merge cells whose output reaches the
    classifier only through others.
    """

    def __init__(self, cells: int, channels: int, classes: int):
        super().__init__(nn.Conv2d(channels, classes, 3, padding=1) for _ in range(cells))

    def loss(self, merges: Sequence[Tensor], labels: Tensor, weights: Tensor) -> Tensor:
        """Mean cross-entropy of the heads, each at the resolution of its cell's output."""
        losses = [
            PixelLosses(head(merge), shrink_labels(labels, merge.shape[2:]), weights).mean()
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
        present = logits.new_zeros(len(logits), IGNORED + 1).scatter_(1, labels.flatten(1), 1.0)
        return F.binary_cross_entropy_with_logits(logits, present[:, : logits.shape[1]])
