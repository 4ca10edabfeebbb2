"""Other colours for hair and lips, the light on them unchanged."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from demo.colours import Colour
from demo.effects.blending import blend
from demo.effects.matting import matte
from demo.parser import Look

Array = np.ndarray[Any, np.dtype[Any]]

LUMINANCE = np.array([0.299, 0.587, 0.114])  # of R, G, B: ITU-R BT.601, as OpenCV's grey


class Recolour:
    """Give hair and lips other colours at unchanged luminance, so that light and strands stay.

    Args:
        colours: pairs of labels and the colour (RGB) that they get.
        strength: 0 (nothing) to 1 (only the new colour).
    """

    def __init__(self, colours: Sequence[tuple[Sequence[int], Colour]], strength: float = 0.7):
        self.colours = [(labels, tint_table(colour)) for labels, colour in colours]
        self.strength = strength

    def __call__(self, image: Array, look: Look) -> Array:
        """Return a new picture with the colours changed."""
        drawn = image.copy()
        for targets, table in self.colours:
            amount = matte(image, look.share(targets), look.fit)
            left, top, width, height = cv2.boundingRect(amount)
            if not width:
                continue
            place = np.s_[top : top + height, left : left + width]
            part = drawn[place]
            tinted = cv2.applyColorMap(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), table)
            tinted = cv2.addWeighted(part, 1 - self.strength, tinted, self.strength, 0)
            drawn[place] = blend(part, tinted, amount[place])
        return drawn


def tint_table(colour: Colour) -> Array:
    """Return, for each luminance 0 to 255, the shade of a colour (RGB) with that luminance.

    The shades lie on the line from black to the colour and on to white, on which luminance is
    linear. uint8 [256, 1, 3] BGR, for `cv2.applyColorMap`.
    """
    own = float(LUMINANCE @ colour)
    at = np.arange(256)
    channels = [np.interp(at, [0, own, 255], [0, value, 255]) for value in reversed(colour)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)[:, None]
