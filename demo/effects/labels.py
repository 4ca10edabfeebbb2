"""The labels as they are, and beside the picture."""

from typing import Any

import cv2
import numpy as np

from demo.effects.overlay import Overlay
from demo.parser import Look

Array = np.ndarray[Any, np.dtype[Any]]


class LabelMap:
    """The label of every pixel of the frame, for other programs: uint8 [H, W]."""

    def __call__(self, image: Array, look: Look) -> Array:
        """Return the labels."""
        return look.fit.to_frame(look.labels, cv2.INTER_NEAREST)


class SideBySide:
    """The picture, and the same under an overlay at its right: uint8 [H, 2 W, 3]."""

    def __init__(self, overlay: Overlay):
        self._overlay = overlay

    def __call__(self, image: Array, look: Look) -> Array:
        """Return both."""
        return np.hstack((image, self._overlay(image, look)))
