"""What a trained network does well and badly: image by image, and along the edges of parts."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from export.system.console import track
from toolchain.datasets.base import FaceDataset, Pixels
from toolchain.datasets.labels import IGNORED
from toolchain.training.evaluation import Model
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.samples import EpochOrder, Samples, batches

TOLERANCE = 1 / 256
"""By which edges may lie apart, in parts of the image's side."""
RARE = 0.1
"""A class that fewer of the images have is rare."""


@dataclass(frozen=True)
class Inspection:
    """A network's labels of some images against the true ones.

    Attributes:
        images: that were labelled, all of one size.
        scores: mean F1 of each image, over the classes in its labels but background.
        matrix: of all images.
        boundary_f1: of each class, see `EdgeCount`.
        shares: of images that have each class, [classes].
    """

    images: FaceDataset
    scores: NDArray[np.float64]
    matrix: ConfusionMatrix
    boundary_f1: list[float | None]
    shares: NDArray[np.float64]

    @property
    def worst(self) -> list[int]:
        """Places of the images, the worst first."""
        return np.argsort(self.scores, kind="stable").tolist()

    @property
    def rare(self) -> list[int]:
        """Classes that few of the images have."""
        return np.flatnonzero((self.shares < RARE) & (self.shares > 0)).tolist()

    @property
    def mean_f1_without_rare(self) -> float | None:
        """Mean F1 over all classes but background and the rare ones."""
        rare = set(self.rare)
        scores = enumerate(self.matrix.f1)
        common = [f1 for k, f1 in scores if k and k not in rare and f1 is not None]
        return float(np.mean(common)) if common else None


class EdgeCount:
    """Pixels on the edges of classes that are near an edge of the other map.

    The boundary F1 of Csurka et al., "What is a good evaluation measure for semantic
    segmentation?", BMVC 2013, over all images together: precision is the share of predicted edge
    pixels that have a true one within the tolerance, recall the share of true ones.

    Args:
        classes: how many.
    """

    def __init__(self, classes: int):
        self._near = np.zeros((2, classes), np.int64)
        self._all = np.zeros((2, classes), np.int64)

    def update(self, labels: Pixels, predictions: Pixels) -> None:
        """Add two maps of one size, uint8 [H, W]."""
        counted = labels != IGNORED
        reach = max(1, round(TOLERANCE * len(labels)))
        side = 2 * reach + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        for k in np.unique(np.concatenate([np.unique(labels[counted]), np.unique(predictions)])):
            true, guessed = (_edges(one == k) & counted for one in (labels, predictions))
            for place, (one, other) in enumerate(((guessed, true), (true, guessed))):
                self._all[place, k] += np.count_nonzero(one)
                near = cv2.dilate(other.astype(np.uint8), disc)
                self._near[place, k] += np.count_nonzero(one & (near > 0))

    @property
    def f1(self) -> list[float | None]:
        """Boundary F1 of each class; None where neither map has an edge of it."""
        shares = self._near / np.maximum(self._all, 1)
        sums = shares.sum(0)
        means = np.where(sums > 0, 2 * shares.prod(0) / np.where(sums > 0, sums, 1), 0)
        there = self._all.sum(0) > 0
        return [float(f1) if known else None for f1, known in zip(means, there, strict=True)]


def _edges(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a class that have a pixel of another one beside them."""
    # Beyond the frame nothing is known: no edge.
    eroded = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8))
    return inside & (eroded == 0)


def inspect(model: Model, images: FaceDataset) -> Inspection:
    """Label images with a model, and compare.

    Raises:
        DataError: the images cannot be read.
    """
    samples = Samples(images, model.input_size, keep=False)
    classes = len(images.label_set.classes)
    matrix, edges = ConfusionMatrix(classes), EdgeCount(classes)
    scores, present = [], np.zeros(classes)
    loader = batches(samples, EpochOrder(len(samples), shuffle=False), model.batch_size)
    for batch, true in track(loader, "inspecting", len(loader)):
        for labels, predictions in zip(true, model.predict(batch).cpu(), strict=True):
            own = ConfusionMatrix(classes)
            own.update(labels, predictions)
            matrix.counts += own.counts
            edges.update(labels.numpy(), predictions.numpy())
            held = own.counts.sum(1) > 0
            present += held
            f1 = [f1 or 0.0 for f1, has in zip(own.f1[1:], held[1:], strict=True) if has]
            scores.append(float(np.mean(f1)) if f1 else 1.0)
    return Inspection(images, np.array(scores), matrix, edges.f1, present / len(samples))


def sheet(model: Model, images: FaceDataset, side: int) -> list[tuple[Pixels, ...]]:
    """Return, for each image, the picture, true labels over it and predicted ones, RGB.

    Args:
        model: that predicts.
        images: few.
        side: of the pictures, pixels.
    """
    samples = Samples(images, model.input_size, keep=False)
    palette = np.zeros((IGNORED + 1, 3), np.uint8)
    palette[: len(images.label_set.palette)] = images.label_set.palette
    rows = []
    for place in range(len(samples)):
        image, labels = samples[0, place]
        guessed = model.predict(torch.stack([image]))[0].cpu()
        picture = image.numpy()
        maps = (palette[labels.numpy()], palette[guessed.numpy()])
        shown = (picture, *(cv2.addWeighted(picture, 0.35, colours, 0.65, 0) for colours in maps))
        shrunk = (cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in shown)
        rows.append(tuple(np.asarray(one) for one in shrunk))
    return rows
