"""What is drawn with the labels: overlay, blurred or other background, coloured hair and lips."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ImageColor

from demo.blending import blend, soft_mask
from demo.geometry import Area, Fit, resize
from demo.overlay import Overlay
from demo.panels import Colour
from demo.sources import read_image
from export.errors import DataError, UsageError

Array = np.ndarray[Any, np.dtype[Any]]
# (picture uint8 [H, W, 3] BGR, labels uint8 [size, size], their placement) -> a new picture
Effect = Callable[[Array, Array, Fit], Array]

BLURRED_SIDE = 192  # longer side, in pixels, of the picture that is blurred
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of R, G, B: ITU-R BT.601, as OpenCV's grey


class BlurBackground:
    """Keep the person sharp and blur everything else.

    Args:
        radius: standard deviation of the blur, in parts of the picture's longer side.
    """

    def __init__(self, radius: float = 0.02):
        self.radius = radius

    def __call__(self, image: Array, labels: Array, fit: Fit) -> Array:
        """Return a new picture with its background blurred."""
        person = fit.to_frame(soft_mask(labels, range(1, 256)))
        return blend(image, self._blurred(image, person), cv2.bitwise_not(person))

    def _blurred(self, image: Array, person: Array) -> Array:
        # A blurred picture has no details, so a small one serves. Weighting by the background
        # keeps the person's colours from bleeding into it as a halo.
        height, width = image.shape[:2]
        scale = BLURRED_SIDE / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        weight = 1 - resize(person, *size)[..., None] / np.float32(255)
        weight = np.maximum(weight, np.float32(1e-3))
        weighted = np.dstack((resize(image, *size) * weight, weight))
        blurred = cv2.GaussianBlur(weighted, (0, 0), self.radius * max(size))
        return resize((blurred[..., :3] / blurred[..., 3:]).astype(np.uint8), width, height)


class ReplaceBackground:
    """Put the person in front of a picture or a colour.

    Args:
        background: a colour (RGB), or a picture (uint8 BGR), which is scaled to cover the frame.
    """

    def __init__(self, background: Colour | Array):
        self.background = background
        self._scaled: Array | None = None

    def __call__(self, image: Array, labels: Array, fit: Fit) -> Array:
        """Return a new picture with its background replaced."""
        if self._scaled is None or self._scaled.shape != image.shape:
            self._scaled = self._cover(*image.shape[:2])
        person = fit.to_frame(soft_mask(labels, range(1, 256)))
        return blend(image, self._scaled.copy(), cv2.bitwise_not(person))

    def _cover(self, height: int, width: int) -> Array:
        if isinstance(self.background, tuple):
            return np.full((height, width, 3), self.background[::-1], np.uint8)
        scale = max(height / self.background.shape[0], width / self.background.shape[1])
        large_width, large_height = (
            max(1, round(side * scale)) for side in self.background.shape[1::-1]
        )
        large = resize(self.background, large_width, large_height)
        return Area.centred(height, width, large_height, large_width).of(large).copy()


class Recolour:
    """Give hair and lips other colours at unchanged luminance, so that light and strands stay.

    Args:
        colours: pairs of labels and the colour (RGB) that they get.
        strength: 0 (nothing) to 1 (only the new colour).
    """

    def __init__(self, colours: Sequence[tuple[Sequence[int], Colour]], strength: float = 0.7):
        self.colours = [(labels, tint_table(colour)) for labels, colour in colours]
        self.strength = strength

    def __call__(self, image: Array, labels: Array, fit: Fit) -> Array:
        """Return a new picture with the colours changed."""
        drawn = image.copy()
        for targets, table in self.colours:
            amount = fit.to_frame(soft_mask(labels, targets))
            left, top, width, height = cv2.boundingRect(amount)
            if not width:
                continue
            place = np.s_[top : top + height, left : left + width]
            part = drawn[place]
            tinted = cv2.applyColorMap(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), table)
            tinted = cv2.addWeighted(part, 1 - self.strength, tinted, self.strength, 0)
            drawn[place] = blend(part, tinted, amount[place])
        return drawn


def make_effects(
    classes: Sequence[str],
    palette: Sequence[Colour],
    *,
    opacity: float = 0.45,
    outlines: bool = True,
    legend: bool = False,
    background: str = "white",
    hair: str = "purple",
    lips: str = "crimson",
) -> dict[str, Effect]:
    """Make every effect that a model with these classes can give, by name.

    Args:
        classes: names in the order of the labels; the first is background.
        palette: an RGB colour for each class.
        opacity: of the overlay, 0 to 1.
        outlines: draw the outlines of the regions in the overlay.
        legend: list the classes in the overlay.
        background: an image file or a colour (``teal``, ``#008080``).
        hair: colour of hair.
        lips: colour of lips.

    Raises:
        UsageError: a colour is unknown.
        DataError: the background image is unreadable.
    """
    effects: dict[str, Effect] = {
        "overlay": Overlay(classes, palette, opacity, outlines, legend),
        "blur": BlurBackground(),
        "background": ReplaceBackground(_image_or_colour(background)),
    }
    parts = [
        (
            [label for label, name in enumerate(classes) if word in name.lower()],
            parse_colour(colour),
        )
        for word, colour in (("hair", hair), ("lip", lips))
    ]
    if any(labels for labels, _ in parts):
        effects["recolour"] = Recolour(parts)
    return effects


def tint_table(colour: Colour) -> Array:
    """Return, for each luminance 0 to 255, the shade of a colour (RGB) with that luminance.

    The shades lie on the line from black to the colour and on to white, on which luminance is
    linear. uint8 [256, 1, 3] BGR, for `cv2.applyColorMap`.
    """
    own = float(LUMINANCE @ colour)
    at = np.arange(256)
    channels = [np.interp(at, [0, own, 255], [0, value, 255]) for value in reversed(colour)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)[:, None]


def parse_colour(text: str) -> Colour:
    """Read a colour: a CSS name or ``#rrggbb``.

    Raises:
        UsageError: it is neither.
    """
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise UsageError(f"{text!r} is not a colour; give a name like teal, or #008080") from None
    return red, green, blue


def _image_or_colour(text: str) -> Colour | Array:
    if Path(text).is_file():
        return read_image(Path(text))
    try:
        return parse_colour(text)
    except UsageError:
        raise DataError(
            text, "is neither an image file nor a colour such as teal or #008080"
        ) from None
