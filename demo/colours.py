"""Colours: read from text, and a palette for classes that colour-blind people can tell apart."""

from collections.abc import Sequence

from PIL import ImageColor

from export.errors import UsageError

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

# By name; the model's own is in its file.
COLOUR_MAPS: dict[str, tuple[Colour, ...]] = {"model": (), "colour-blind": ()}


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
