"""Small translucent panels with text: the legend and the figures."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demo.colours import Colour

Array = np.ndarray[Any, np.dtype[Any]]

INK = (255, 255, 255, 255)
PAPER = (18, 20, 24, 168)  # dark and see-through: white text reads on any picture
ROWS_IN_FRAME = 42  # text is this fraction of the frame's height
SMALLEST_TEXT = 11  # pixels


def draw_panel(
    image: Array,
    rows: Sequence[str],
    swatches: Sequence[Colour] | None = None,
    bottom: bool = False,
) -> None:
    """Draw rows of text, in place, into the left corner at the top or the bottom of a picture.

    Args:
        image: uint8 [H, W, 3] BGR.
        rows: the texts; panels are kept, so texts that stay the same cost little.
        swatches: a colour (RGB) to show before each row.
        bottom: draw into the bottom corner.
    """
    height, width = image.shape[:2]
    size = max(SMALLEST_TEXT, height // ROWS_IN_FRAME)
    layer, keep = _panel(tuple(rows), tuple(swatches) if swatches else None, size)
    margin = size // 2
    panel_height = min(layer.shape[0], height - 2 * margin)
    panel_width = min(layer.shape[1], width - 2 * margin)
    if panel_height <= 0 or panel_width <= 0:
        return
    top = height - margin - panel_height if bottom else margin
    place = image[top : top + panel_height, margin : margin + panel_width]
    cv2.multiply(place, keep[:panel_height, :panel_width], dst=place, scale=1 / 255)
    cv2.add(place, layer[:panel_height, :panel_width], dst=place)


@lru_cache(maxsize=32)
def _panel(
    rows: tuple[str, ...], swatches: tuple[Colour, ...] | None, size: int
) -> tuple[Array, Array]:
    """Render a panel: its colours times their opacity (BGR), and what to keep of the picture."""
    font = ImageFont.load_default(size)
    line, pad, dot = round(1.5 * size), round(0.6 * size), 0.36 * size
    indent = line if swatches else 0
    width = 2 * pad + indent + max(round(font.getlength(row)) for row in rows)
    height = 2 * pad + line * len(rows)
    middles = [pad + line * index + line // 2 for index in range(len(rows))]
    # Shapes are drawn larger and reduced, which gives them smooth edges; text has its own.
    scale = 4
    large = Image.new("RGBA", (width * scale, height * scale), (*PAPER[:3], 0))
    pen = ImageDraw.Draw(large)
    box = (0, 0, large.width - 1, large.height - 1)
    pen.rounded_rectangle(box, radius=pad * scale, fill=PAPER)
    for middle, colour in zip(middles, swatches or (), strict=False):
        pen.circle(((pad + dot) * scale, middle * scale), dot * scale, fill=colour)
    panel = large.resize((width, height), Image.Resampling.BOX)
    pen = ImageDraw.Draw(panel)
    for middle, row in zip(middles, rows, strict=True):
        pen.text((pad + indent, middle), row, font=font, fill=INK, anchor="lm")
    pixels = np.asarray(panel).astype(np.float32)
    opacity = pixels[..., 3:] / 255
    layer = np.ascontiguousarray((pixels[..., 2::-1] * opacity).round().astype(np.uint8))
    keep = (255 * (1 - opacity)).round().astype(np.uint8).repeat(3, axis=2)
    return layer, keep
