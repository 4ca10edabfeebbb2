"""The picture that every measurement runs on.

The tail of the exported file takes longer the more boundaries between classes the labels have, so
what is measured must look like a face: one synthetic label map serves as image (its classes in
flat colours), as feature maps (its classes, one a channel) and as the aim of classifiers.
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from export.runtimes import TensorSpec
from toolchain.datasets import open_dataset
from toolchain.profiling.entry_graphs import Array


@lru_cache
def _sample() -> tuple[Array, Array]:
    dataset = open_dataset("synthetic:1:0")
    labels = dataset.read(0).labels
    return labels, np.array(dataset.label_set.palette, np.uint8)[labels]


def face_labels(classes: int, size: tuple[int, int]) -> Array:
    """Return the label map, [height, width], with labels below ``classes``."""
    height, width = size
    labels = cv2.resize(_sample()[0], (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return labels % classes


def face_image(size: tuple[int, int]) -> Array:
    """Return the image, uint8 [1, height, width, 3]."""
    height, width = size
    return cv2.resize(_sample()[1], (width, height), interpolation=cv2.INTER_NEAREST_EXACT)[None]


def face_maps(channels: int, size: tuple[int, int]) -> Array:
    """Return feature maps, float32 [1, channels, height, width]: one class each, over and over."""
    planes = soft_masks(size)
    return planes[np.arange(channels) % len(planes)][None]


@lru_cache
def soft_masks(size: tuple[int, int]) -> Array:
    """Return a soft mask of each class, float32 [classes, height, width]."""
    height, width = size
    labels = _sample()[0]
    masks = [(labels == label).astype(np.float32) for label in range(labels.max() + 1)]
    soft = [cv2.GaussianBlur(mask, (0, 0), 4) for mask in masks]
    return np.stack(
        [cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) for mask in soft]
    )


def feeds(inputs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """Make the inputs of a graph: images for uint8, feature maps for float32."""
    result = {}
    for spec in inputs:
        shape: tuple[Any, ...] = spec.shape
        if spec.dtype == np.uint8:
            result[spec.name] = face_image((shape[1], shape[2]))
        else:
            result[spec.name] = face_maps(shape[1], (shape[2], shape[3]))
    return result
