"""Labels that do not flicker where nothing moves, and do not trail where something does."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from demo.geometry import Fit
from demo.parser import Look
from export.system.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]

FULL = 255
CUT = 0.25  # share of pixels whose change means another scene, not flicker
SLOWEST = 0.95  # share of the full confidence that strength 1 keeps at each contradiction
MOTION_GRID = 64  # places along each side where motion is looked for
STILL, MOVING = 6.0, 18.0  # grey levels of change: sensors' noise, averaged; certainly motion


class Smoother:
    """Per-pixel memory over the looks of one stream.

    Labels have hysteresis: each pixel holds a label and a confidence from 0 to 255. A frame that
    agrees raises the confidence by a step, one that contradicts lowers it by the same step; at 0
    the pixel takes the new label with full confidence. So a lasting change passes after
    ``ceil(255 / step)`` frames (`delay`), and a label that comes and goes within fewer never shows.
    Probabilities are averaged over time, with weights that fall exponentially.

    Both yield to motion: where the picture itself changes by more than a sensor's noise, a look
    counts as it is. Where over a quarter of the labels change at once, the scene was cut: all of
    the look counts as it is. What is remembered moves along with the part of the frame that is
    looked at. Apart from the probabilities it is saturating 8-bit arithmetic.

    Attributes:
        strength: 0 (off) to 1 (strongest).
    """

    def __init__(self, strength: float):
        if not 0 <= strength <= 1:
            raise UsageError(f"smoothing must be from 0 to 1, not {strength:g}")
        self.strength = strength
        self._last: Look | None = None
        self._picture = np.empty(0, np.uint8)
        self._confidence = np.empty(0, np.uint8)

    @property
    def step(self) -> int:
        """What one contradiction takes from the confidence."""
        return round(FULL * (1 - SLOWEST * self.strength))

    @property
    def delay(self) -> int:
        """Frames that a new label must outweigh the old one to be shown; 1 when off."""
        return -(-FULL // self.step)

    def __call__(self, look: Look, square: Array) -> Look:
        """Take the next look and return the one to show.

        Args:
            look: what the model says.
            square: what it saw, uint8 [1, size, size, 3].
        """
        if self.delay == 1:
            self._last = None
            return look
        grid = (MOTION_GRID, MOTION_GRID)
        picture = cv2.resize(square[0], grid, interpolation=cv2.INTER_AREA)
        last = self._last
        if last is None or last.labels.shape != look.labels.shape:
            return self._restart(look, picture)
        memory = last.fit.moved(last.labels, look.fit, cv2.INTER_NEAREST)
        agrees = cv2.compare(look.labels, memory, cv2.CMP_EQ)
        if cv2.countNonZero(agrees) < (1 - CUT) * agrees.size:
            return self._restart(look, picture)
        moving = _motion(last.fit.moved(self._picture, look.fit), picture)
        labels = self._steady_labels(look, last.fit, memory, agrees, moving)
        probabilities = self._steady_probabilities(look, last, moving)
        self._last = replace(look, labels=labels, probabilities=probabilities)
        self._picture = picture
        # What is kept goes on changing; what is shown does not.
        return replace(self._last, labels=labels.copy())

    def _steady_labels(
        self, look: Look, fit: Fit, memory: Array, agrees: Array, moving: Array
    ) -> Array:
        before = fit.moved(self._confidence, look.fit, cv2.INTER_NEAREST)
        confidence = cv2.subtract(before, self.step)
        cv2.copyTo(cv2.add(before, self.step), agrees, confidence)
        moved = cv2.resize(moving, agrees.shape[::-1], interpolation=cv2.INTER_LINEAR)
        confidence = cv2.subtract(confidence, cv2.bitwise_and(moved, cv2.bitwise_not(agrees)))
        changes = cv2.compare(confidence, 0, cv2.CMP_EQ)
        cv2.copyTo(look.labels, changes, memory)
        # Where it changed, 0 | 255; elsewhere the mask is 0.
        self._confidence = cv2.bitwise_or(confidence, changes)
        return memory

    def _steady_probabilities(self, look: Look, last: Look, moving: Array) -> Array | None:
        new, old = look.probabilities, last.probabilities
        if new is None or old is None or new.shape != old.shape:
            return new
        if last.fit != look.fit:
            # OpenCV takes channels last.
            old = last.fit.moved(np.ascontiguousarray(old.transpose(1, 2, 0)), look.fit)
            old = old.transpose(2, 0, 1)
        still = cv2.resize(255 - moving, new.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        kept = still.astype(np.float32) * np.float32(SLOWEST * self.strength / 255)
        return new + (old - new) * kept

    def _restart(self, look: Look, picture: Array) -> Look:
        self._last = replace(look, labels=look.labels.copy())
        self._picture, self._confidence = picture, np.full_like(look.labels, FULL)
        return look


def _motion(before: Array, after: Array) -> Array:
    """Return how surely each place moves, uint8 [h, w], from two small pictures [h, w, 3]."""
    change = cv2.absdiff(before, after).max(axis=2).astype(np.float32)
    change = cv2.blur(change, (3, 3))
    level = (change - STILL) * np.float32(255 / (MOVING - STILL))
    moving = np.clip(level, 0, 255).astype(np.uint8)
    return cv2.dilate(moving, np.ones((3, 3), np.uint8))
