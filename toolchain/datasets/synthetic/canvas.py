"""A picture and its label map, painted together; curves and colours to paint with."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from toolchain.datasets.base import Pixels

Points = NDArray[np.float64]
Colour = tuple[float, float, float]
_FRACTION_BITS = 4


class Canvas:
    """An RGB image and a label map of equal size; all points are in pixels, float [N, 2]."""

    def __init__(self, image: Pixels):
        self.image = image
        self.labels: Pixels = np.zeros(image.shape[:2], np.uint8)

    def fill(self, points: Points, colour: Colour, label: int | None = None) -> None:
        """Fill a closed shape: the image with smooth edges, the labels exactly."""
        corners = [_fixed(points)]
        cv2.fillPoly(self.image, corners, colour, cv2.LINE_AA, _FRACTION_BITS)
        if label is not None:
            cv2.fillPoly(self.labels, corners, label, cv2.LINE_8, _FRACTION_BITS)

    def stroke(
        self,
        points: Points,
        width: float,
        colour: Colour,
        label: int | None = None,
        *,
        closed: bool = False,
    ) -> None:
        """Draw a line through ``points``, ``width`` pixels wide (at least one)."""
        corners, thick = [_fixed(points)], max(round(width), 1)
        cv2.polylines(self.image, corners, closed, colour, thick, cv2.LINE_AA, _FRACTION_BITS)
        if label is not None:
            cv2.polylines(self.labels, corners, closed, label, thick, cv2.LINE_8, _FRACTION_BITS)

    def wash(
        self, points: Points, colour: Colour, opacity: float, label: int | None = None
    ) -> None:
        """Fill a closed shape with a colour that lets the image through."""
        below = self.image.copy()
        self.fill(points, colour, label)
        cv2.addWeighted(self.image, opacity, below, 1 - opacity, 0, dst=self.image)

    def texture(self, label: int, lines: Sequence[Points], width: float, colour: Colour) -> None:
        """Draw lines that show only where the label map has ``label``."""
        above = self.image.copy()
        corners = [_fixed(line) for line in lines]
        thick = max(round(width), 1)
        cv2.polylines(above, corners, False, colour, thick, cv2.LINE_AA, _FRACTION_BITS)
        cv2.copyTo(above, cv2.compare(self.labels, label, cv2.CMP_EQ), self.image)

    def light(self, rng: np.random.Generator) -> None:
        """Light the image from one side, with a tint."""
        height, width = self.labels.shape
        y, x = np.mgrid[-1:1:16j, -1:1:16j]
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4)
        fall = 1 + strength * (x * np.cos(angle) + y * np.sin(angle))
        tint = rng.uniform(0.75, 1.15) * rng.normal(1, 0.04, 3)
        # Bytes in units of 1/128: several times as fast as floats.
        coarse = np.clip(128 * fall[..., None] * tint, 0, 255).astype(np.uint8)
        factor = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        self.image = cv2.multiply(self.image, factor, scale=1 / 128)

    def photograph(self, rng: np.random.Generator) -> None:
        """Blur the image a little and add even noise of up to 16 grey levels either way."""
        self.image = cv2.GaussianBlur(self.image, (0, 0), rng.uniform(0.3, 1.5))
        grain, most = rng.integers(256, size=self.image.shape, dtype=np.uint8), rng.uniform(1, 16)
        self.image = cv2.addWeighted(self.image, 1, grain, most / 128, -most)


def smooth(points: Sequence[tuple[float, float]], closed: bool = True, steps: int = 6) -> Points:
    """Return a Catmull-Rom curve through ``points``, with ``steps`` samples per piece."""
    given = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([given[-1:], given, given[:2]])
    else:
        padded = np.concatenate([2 * given[:1] - given[1:2], given, 2 * given[-1:] - given[-2:-1]])
    pieces = padded[np.arange(len(padded) - 3)[:, None] + np.arange(4)]
    curve: Points = (_catmull_rom(steps) @ pieces).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, given[-1:]])


@lru_cache
def _catmull_rom(steps: int) -> NDArray[np.float64]:
    """Return the weights of four neighbouring points at ``steps`` places from the second on."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    powers = np.concatenate([np.ones_like(t), t, t**2, t**3], axis=1)
    basis = np.asarray([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    return powers @ basis


def oval(
    x: float,
    y: float,
    half_width: float,
    half_height: float,
    power: float = 2.0,
    turns: tuple[float, float] = (0.0, 1.0),
) -> Points:
    """Return a superellipse (power 2: ellipse, higher: boxier), or the arc between two turns.

    Turn 0 is at the right, 0.25 at the bottom, 0.5 at the left, 0.75 at the top.
    """
    circle = _arc(turns)
    if power != 2:
        circle = np.sign(circle) * np.abs(circle) ** (2 / power)
    return circle * (half_width, half_height) + (x, y)


@lru_cache
def _arc(turns: tuple[float, float]) -> Points:
    angle = 2 * np.pi * np.linspace(*turns, 40)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def symmetric(right: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a closed outline from its right half, given from the top of the axis to the bottom."""
    return [*right, *((-x, y) for x, y in reversed(right) if x)]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return ``first`` with ``share`` (0..1) of ``second`` in it."""
    return tuple(a + (b - a) * share for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def shade(colour: Colour, factor: float) -> Colour:
    """Return ``colour`` made darker (factor < 1) or lighter."""
    return tuple(min(channel * factor, 255.0) for channel in colour)  # type: ignore[return-value]


def backdrop(size: int, rng: np.random.Generator) -> Pixels:
    """Return a background, uint8 [size, size, 3]: fields of colour with objects, sharp or soft."""
    base = rng.uniform(20, 235) + rng.normal(0, rng.uniform(5, 50), 3)

    def colour(spread: float, *shape: int) -> NDArray[np.uint8]:
        """Vary the brightness more than the hue, as rooms and landscapes do."""
        brightness = rng.normal(0, spread, (*shape, 1))
        return np.clip(base + brightness + rng.normal(0, spread / 2, (*shape, 3)), 0, 255).astype(
            np.uint8
        )

    cells = int(rng.integers(2, 9))
    way = cv2.INTER_NEAREST if rng.random() < 0.15 else cv2.INTER_CUBIC
    field = cv2.resize(colour(rng.uniform(5, 60), cells, cells), (128, 128), interpolation=way)
    image = cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR)
    for _ in range(int(rng.integers(0, 9))):
        (x, y), reach = rng.integers(0, size, 2).tolist(), int(rng.integers(15, 120))
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), reach, colour(60).tolist(), -1, cv2.LINE_AA)
        else:
            far = (x + int(rng.integers(10, 90)), y + 3 * reach)
            cv2.rectangle(image, (x, y), far, colour(60).tolist(), -1)
    return cv2.blur(image, (25, 25)) if rng.random() < 0.5 else image


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.round(points * 2**_FRACTION_BITS).astype(np.int32)
