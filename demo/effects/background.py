"""The person kept, what is around changed: blurred, or another picture."""

from typing import Any

import cv2
import numpy as np

from demo.colours import Colour
from demo.effects.blending import blend, edge_of
from demo.effects.matting import levels, matte
from demo.geometry import Area, resize
from demo.parser import Look

Array = np.ndarray[Any, np.dtype[Any]]

SMALL_SIDE = 192  # longer side, in pixels, of pictures that are only blurred
OUTWARDS = (0.0, 0.6)  # levels that keep a rim of the true background sharp: it hides the edge
INWARDS = (0.25, 0.9)  # levels that keep none of the old background
REACH = 0.012  # of what colours are estimated from: standard deviation, in parts of the longer side
WRAP = 0.4  # share of the new background's light at the outermost edge


def person_mask(image: Array, look: Look) -> Array:
    """Return the person's mask, uint8 [H, W]: every class but the background."""
    classes = 256 if look.probabilities is None else len(look.probabilities)
    return matte(image, look.share(range(1, classes)), look.fit, whole=True)


class BlurBackground:
    """Keep the person sharp and blur everything else.

    Args:
        radius: standard deviation of the blur, in parts of the picture's longer side.
    """

    def __init__(self, radius: float = 0.02):
        self.radius = radius

    def __call__(self, image: Array, look: Look) -> Array:
        """Return a new picture with its background blurred."""
        person = levels(person_mask(image, look), *OUTWARDS)
        return blend(image, self._blurred(image, person), cv2.bitwise_not(person))

    def _blurred(self, image: Array, person: Array) -> Array:
        # Weighting by the background keeps the person's colours from bleeding into it as a halo.
        height, width = image.shape[:2]
        size = _small(width, height)
        weight = 1 - resize(person, *size)[..., None] / np.float32(255)
        blurred = _weighted_blur(resize(image, *size), weight, self.radius * max(size))
        return resize(blurred, width, height)


class ReplaceBackground:
    """Put the person in front of a picture or a colour.

    At the edge a pixel holds both the person's colour and the old background's. The person's is
    estimated from both neighbourhoods (Forte, "Approximate fast foreground colour estimation",
    ICIP 2021), so that no old light shines between strands of hair; and a little of the new
    background's light falls on the edge, as it would in that place.

    Args:
        background: a colour (RGB), or a picture (uint8 BGR), which is scaled to cover the frame.
    """

    def __init__(self, background: Colour | Array):
        self.background = background
        self._scaled = self._light = np.empty((0, 0, 3), np.uint8)

    def __call__(self, image: Array, look: Look) -> Array:
        """Return a new picture with its background replaced."""
        if self._scaled.shape != image.shape:
            self._scaled = self._cover(*image.shape[:2])
            size = _small(image.shape[1], image.shape[0])
            self._light = cv2.GaussianBlur(resize(self._scaled, *size), (0, 0), 0.04 * max(size))
        person = person_mask(image, look)
        own = self._own_colours(image, person)
        return blend(own, self._scaled.copy(), cv2.bitwise_not(levels(person, *INWARDS)))

    def _own_colours(self, image: Array, person: Array) -> Array:
        size = _small(image.shape[1], image.shape[0])
        small, weight = resize(image, *size), resize(person, *size)[..., None] / np.float32(255)
        result = image.copy()
        rows, columns = edge_of(person)
        share = person[rows, columns].astype(np.float32)[:, None] / np.float32(255)
        # Blurred pictures have no details: the nearest pixel of a small one serves.
        at = rows * size[1] // image.shape[0], columns * size[0] // image.shape[1]
        front = _weighted_blur(small, weight, REACH * max(size))[at].astype(np.float32)
        behind = _weighted_blur(small, 1 - weight, REACH * max(size))[at]
        own = front + share * (image[rows, columns] - share * front - (1 - share) * behind)
        wrap = WRAP * (1 - share)
        result[rows, columns] = np.clip(own * (1 - wrap) + self._light[at] * wrap, 0, 255)
        return result

    def _cover(self, height: int, width: int) -> Array:
        if isinstance(self.background, tuple):
            return np.full((height, width, 3), self.background[::-1], np.uint8)
        scale = max(height / self.background.shape[0], width / self.background.shape[1])
        large_width, large_height = (
            max(1, round(side * scale)) for side in self.background.shape[1::-1]
        )
        large = resize(self.background, large_width, large_height)
        return Area.centred(height, width, large_height, large_width).of(large).copy()


def _small(width: int, height: int) -> tuple[int, int]:
    scale = SMALL_SIDE / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _weighted_blur(image: Array, weight: Array, radius: float) -> Array:
    """Blur a picture, each pixel counting with its weight, float32 [h, w, 1] from 0 to 1."""
    weight = weight.reshape(*image.shape[:2], 1) + np.float32(1e-3)
    blurred = cv2.GaussianBlur(np.dstack((image * weight, weight)), (0, 0), radius)
    return (blurred[..., :3] / blurred[..., 3:]).astype(np.uint8)
