"""Scores of label maps: F1 and IoU of a whole data set, from one confusion matrix.

All figures come from pixel counts summed over every image, so that a small part in a few images
weighs as much as its pixels, and an image without the part does not count as a perfect or a failed
one. With true positives TP, false positives FP and false negatives FN of a class::

    F1  = 2 TP / (2 TP + FP + FN)          IoU = TP / (TP + FP + FN)

A class that is in neither the labels nor the predictions has no score (None) and is left out of
means. ``mean_f1`` averages over all classes but background (class 0), ``miou`` over all classes.

Groups follow the face-parsing literature (Liu et al., CVPR 2015; Lin et al., CVPR 2019): the parts
of a group (left and right eye; inner mouth and both lips) are made one class *before* errors are
counted, so a left eye taken for a right one is no error there. ``overall`` merges all groups and
all left/right pairs in that way and then counts the pixels of its classes together (micro F1):
those that the label set lists as ``overall``, or all but background when it lists none.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from toolchain.datasets.labels import IGNORED, LabelSet

LabelMap = torch.Tensor | npt.NDArray[Any]


class ConfusionMatrix:
    """Pixel counts of label against prediction, summed over all images given to `update`.

    Attributes:
        counts: int64 ``[classes, classes]``; row = label, column = prediction.
    """

    def __init__(self, classes: int):
        self.counts: npt.NDArray[np.int64] = np.zeros((classes, classes), np.int64)

    def update(self, labels: LabelMap, predictions: LabelMap) -> None:
        """Add label maps of any one shape, integer, each value in ``[0, classes)``.

        Pixels whose label is `IGNORED` do not count.
        """
        classes = len(self.counts)
        predictions = torch.as_tensor(predictions)
        # Counting is done where the predictions are.
        labels = torch.as_tensor(labels).to(predictions.device)
        pairs = labels.flatten().long() * classes + predictions.flatten()
        pairs = pairs[labels.flatten() != IGNORED]
        counts = torch.bincount(pairs, minlength=classes**2)
        self.counts += counts.reshape(classes, classes).cpu().numpy()

    @property
    def pixel_accuracy(self) -> float:
        """Share of pixels with the right class."""
        return float(self.counts.trace() / self.counts.sum())

    @property
    def f1(self) -> list[float | None]:
        """F1 of each class; None for a class in neither labels nor predictions."""
        return _f1(self.counts)

    @property
    def mean_f1(self) -> float:
        """Mean F1 of all classes that occur, background left out."""
        return _mean(self.f1[1:])

    @property
    def miou(self) -> float:
        """Mean intersection over union of all classes that occur, background included."""
        # F1 = 2 IoU / (1 + IoU)
        return _mean([None if f1 is None else f1 / (2 - f1) for f1 in self.f1])

    def groups(self, label_set: LabelSet) -> dict[str, float | None]:
        """F1 of each group of parts, and ``overall``; see the module's text."""
        groups = dict(label_set.groups)
        overall = list(groups.pop("overall", range(1, len(self.counts))))
        scores: dict[str, float | None] = {
            name: _f1(self._merged([parts]))[parts[0]] for name, parts in groups.items()
        }
        merged = self._merged([*groups.values(), *label_set.swaps])
        named = merged[overall].sum() + merged[:, overall].sum()
        right = merged.diagonal()[overall].sum()
        scores["overall"] = float(2 * right / named) if named else None
        return scores

    def summary(self, label_set: LabelSet) -> dict[str, Any]:
        """Return all figures as plain numbers, with the names of the classes."""
        return {
            "pixel_accuracy": self.pixel_accuracy,
            "mean_f1": self.mean_f1,
            "miou": self.miou,
            "f1": dict(zip(label_set.classes, self.f1, strict=True)),
            "groups": self.groups(label_set),
        }

    def _merged(self, groups: Iterable[Sequence[int]]) -> npt.NDArray[np.int64]:
        """Move the counts of the classes of each group to the group's first class."""
        target = np.arange(len(self.counts))
        for parts in groups:
            target[list(parts)] = target[parts[0]]
        move = np.eye(len(target), dtype=np.int64)[target]
        return move.T @ self.counts @ move


def _f1(counts: npt.NDArray[np.int64]) -> list[float | None]:
    named = counts.sum(0) + counts.sum(1)
    return [
        float(2 * right / both) if both else None
        for right, both in zip(counts.diagonal(), named, strict=True)
    ]


def _mean(scores: Sequence[float | None]) -> float:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else 0.0
