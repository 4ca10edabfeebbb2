"""What lies around a face in a frame: the picture continued, a texture, another one's scene."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from toolchain.datasets.base import Pixels, Sample, resize_sample

Matrix = NDArray[np.float64]
_COARSE = 16
"""Pixels of the grid from which the holes that people leave in a scene are filled."""


def continued(image: Pixels, place: Matrix, size: int) -> Pixels:
    """Return the edges of an image drawn out over a frame, out of focus.

    Args:
        image: uint8 [h, w, 3].
        place: 2 x 3, from its pixels to those of the frame.
        size: of the frame, pixels.
    """
    way = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    canvas = cv2.warpAffine(image, place, (size, size), **way)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), max(size / 32, 0.5)))


def textured(rng: np.random.Generator, size: int) -> Pixels:
    """Return random colours in blots of random size, with grain: walls, curtains, shelves."""
    cells = rng.integers(2, 13, 2)
    blots = rng.normal(0, rng.uniform(5, 60), (*cells, 3)) + rng.uniform(20, 235, 3)
    way = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_CUBIC
    canvas = cv2.resize(blots, (size, size), interpolation=way)
    grain = rng.normal(0, rng.uniform(0, 12), (size, size, 1))
    return np.clip(canvas + grain, 0, 255).astype(np.uint8)


def scene(other: Sample, rng: np.random.Generator, size: int) -> Pixels:
    """Return the background of another picture, magnified, its people painted over."""
    other = resize_sample(other, size)
    # What is next to people has their outline.
    margin = np.ones((size // 32 + 1, size // 32 + 1), np.uint8)
    free = cv2.erode((other.labels == 0).astype(np.float32), margin)[..., None]
    coarse = (_COARSE, _COARSE)
    weights = cv2.resize(free, coarse, interpolation=cv2.INTER_AREA)[..., None] + 1e-3
    colours = cv2.resize(other.image * free, coarse, interpolation=cv2.INTER_AREA) / weights
    spread = cv2.GaussianBlur(weights, (0, 0), 2)[..., None]
    colours = cv2.GaussianBlur(colours * weights, (0, 0), 2) / spread
    filled = cv2.resize(colours, (size, size), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(free, (0, 0), max(size / 64, 0.5))[..., None] * free
    canvas = np.clip(other.image * soft + filled * (1 - soft), 0, 255).astype(np.uint8)
    side = int(size * rng.uniform(0.4, 1))
    top, left = rng.integers(0, size - side + 1, 2)
    return np.asarray(cv2.resize(canvas[top : top + side, left : left + side], (size, size)))


def surroundings(
    sample: Sample,
    place: Matrix,
    rng: np.random.Generator,
    size: int,
    other: Callable[[], Sample] | None = None,
) -> Pixels:
    """Draw what surrounds a sample: one of the three kinds above, uint8 [size, size, 3].

    Args:
        sample: the face.
        place: 2 x 3, from its pixels to those of the frame.
        rng: the source of chance.
        size: of the frame, pixels.
        other: returns another sample; None: there is none.
    """
    kind = rng.integers(3)
    if kind == 0:
        return continued(sample.image, place, size)
    if kind == 1 or other is None:
        return textured(rng, size)
    return scene(other(), rng, size)
