"""What is drawn with the labels, by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from demo.colours import Colour, parse_colour
from demo.effects.background import BlurBackground, ReplaceBackground
from demo.effects.labels import LabelMap, SideBySide
from demo.effects.overlay import Overlay
from demo.effects.recolour import Recolour
from demo.faces import HEAD, PERSON, PORTRAIT
from demo.parser import Look
from demo.sources.pictures import read_image
from export.system.errors import DataError, UsageError

Array = np.ndarray[Any, np.dtype[Any]]

# How much around the face each wants to be seen.
VIEWS = {
    "overlay": HEAD,
    "blur": PERSON,
    "background": PERSON,
    "recolour": HEAD,
    "labels": PORTRAIT,
    "side-by-side": HEAD,
}


class Effect(Protocol):
    """Draws with a look at a frame."""

    def __call__(self, image: Array, look: Look) -> Array:
        """Return a new picture, uint8 [H, W, 3] BGR, or labels, uint8 [H, W]."""


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
    overlay = Overlay(classes, palette, opacity, outlines, legend)
    effects: dict[str, Effect] = {
        "overlay": overlay,
        "blur": BlurBackground(),
        "background": ReplaceBackground(_image_or_colour(background)),
        "labels": LabelMap(),
        "side-by-side": SideBySide(overlay),
    }
    parts = [
        (
            [label for label, name in enumerate(classes) if word in name.lower()],
            parse_colour(colour),
        )
        for word, colour in (("hair", hair), ("lip", lips))
    ]
    if any(labels for labels, _ in parts):
        effects["recolour"] = Recolour([part for part in parts if part[0]])
    return {name: effects[name] for name in VIEWS if name in effects}


def _image_or_colour(text: str) -> Colour | Array:
    if Path(text).is_file():
        return read_image(Path(text))
    try:
        return parse_colour(text)
    except UsageError:
        raise DataError(
            text, "is neither an image file nor a colour such as teal or #008080"
        ) from None
