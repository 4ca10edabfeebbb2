"""Colours: read from text, and a palette for classes that colour-blind people can tell apart."""

from collections.abc import Sequence

from PIL import ImageColor

from export.system.errors import UsageError

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

# Chosen by search so that the two that are most alike are 20 apart in CIELAB, to normal eyes and
# to those without one kind of cones, as Machado, Oliveira and Fernandes (TVCG 2009) simulate them.
COLOUR_BLIND: tuple[Colour, ...] = (
    (224, 255, 35),
    (36, 105, 184),
    (255, 138, 115),
    (138, 25, 255),
    (92, 255, 255),
    (181, 30, 68),
    (173, 251, 123),
    (127, 27, 117),
    (255, 218, 190),
    (25, 25, 177),
    (222, 179, 43),
    (162, 83, 27),
    (188, 151, 255),
    (25, 65, 25),
    (63, 180, 202),
    (141, 109, 128),
    (136, 103, 255),
    (25, 25, 25),
)
# By name; the model's own is in its file.
COLOUR_MAPS: dict[str, tuple[Colour, ...]] = {"model": (), "colour-blind": COLOUR_BLIND}


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


def colour_map(name: str, own: Sequence[Colour]) -> list[Colour]:
    """Return a colour for each class.

    Args:
        name: one of `COLOUR_MAPS`.
        own: the model's colours.
    """
    spread = COLOUR_MAPS[name]
    if not spread:
        return list(own)
    return [own[0], *(spread[k % len(spread)] for k in range(len(own) - 1))]
