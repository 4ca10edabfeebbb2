"""Labels as colours over the picture, with outlines and a legend."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from demo.colours import Colour
from demo.effects.blending import blend, soften
from demo.geometry import Fit
from demo.panels import draw_panel
from demo.parser import Look

Array = np.ndarray[Any, np.dtype[Any]]

# CelebAMask-HQ's short names; left and right are the person's own.
FULL_NAMES = {
    "eye_g": "glasses",
    "l_eye": "left eye",
    "r_eye": "right eye",
    "l_brow": "left brow",
    "r_brow": "right brow",
    "l_ear": "left ear",
    "r_ear": "right ear",
    "u_lip": "upper lip",
    "l_lip": "lower lip",
    "ear_r": "earring",
    "neck_l": "necklace",
    "cloth": "clothes",
}
SMALLEST_REGION = 24  # pixels of the labels; smaller specks get no outline
SUBPIXEL_BITS = 4


class Overlay:
    """Draw each class in its colour over the picture; background (label 0) stays as it is.

    Args:
        classes: names in the order of the labels.
        palette: an RGB colour for each class.
        opacity: 0 (invisible) to 1 (opaque).
        outlines: draw a fine line around each region.
        legend: list the classes that are in the picture.
    """

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Colour],
        opacity: float = 0.45,
        outlines: bool = True,
        legend: bool = False,
    ):
        self.names = [FULL_NAMES.get(name, name.replace("_", " ")) for name in classes]
        self.palette = list(palette)
        self.outlines, self.legend = outlines, legend
        self.opacity = opacity
        self._colours = colour_table(palette)

    def __call__(self, image: Array, look: Look) -> Array:
        """Return a new picture, uint8 [H, W, 3] BGR."""
        drawn = image.copy()
        pixels = cv2.calcHist([look.labels], [0], None, [256], [0, 256])
        present = [label for label in range(1, len(self.names)) if pixels[label]]
        if not present:
            return drawn
        # Only what was seen is drawn on: a small face costs little.
        seen = look.fit.frame_area.of(drawn)
        local = look.fit.of_part()
        part = self._coloured(seen, look.labels, local)
        if self.outlines:
            for label in present:
                self._outline(part, look.labels, label, local)
        seen[:] = blend(seen, part, look.fit.vignette())
        if self.legend:
            swatches = [self.palette[label] for label in present]
            draw_panel(drawn, [self.names[label] for label in present], swatches)
        return drawn

    def _coloured(self, image: Array, labels: Array, fit: Fit) -> Array:
        covered = fit.to_frame(soften(cv2.threshold(labels, 0, 255, cv2.THRESH_BINARY)[1]))
        # Colours reach a little into the background, so that soft edges do not fade to black.
        spread = cv2.dilate(labels, np.ones((9, 9), np.uint8))
        cv2.copyTo(labels, labels, spread)
        colours = fit.to_frame(soften(cv2.applyColorMap(spread, self._colours)))
        cv2.addWeighted(image, 1 - self.opacity, colours, self.opacity, 0, dst=colours)
        return blend(image, colours, covered)

    def _outline(self, drawn: Array, labels: Array, label: int, fit: Fit) -> None:
        region = cv2.compare(labels, label, cv2.CMP_EQ)
        contours, _ = cv2.findContours(region, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        lines = [
            _subpixels(fit.points_to_frame(_rounded(contour.reshape(-1, 2))))
            for contour in contours
            if len(contour) > SMALLEST_REGION
        ]
        colour = tuple(round(0.6 * value + 0.4 * 255) for value in reversed(self.palette[label]))
        width = max(1, round(max(fit.frame_shape) / 900))
        cv2.polylines(drawn, lines, True, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)


def colour_table(palette: Sequence[Colour]) -> Array:
    """Return the colours of labels for `cv2.applyColorMap`: uint8 [256, 1, 3] BGR."""
    table = np.zeros((256, 1, 3), np.uint8)
    table[: len(palette), 0] = np.array(palette, np.uint8)[:, ::-1]
    return table


def _rounded(contour: Array) -> Array:
    """Turn the outermost pixels of a region, [N, 2] in order, into its smooth outline."""
    # A moving average along the closed line takes away the steps of the pixels.
    reach = 3
    ring = np.concatenate([contour[-reach - 1 :], contour, contour[: reach + 1]])
    ring = cv2.blur(ring.astype(np.float32), (1, 2 * reach + 1))[reach:-reach]
    # Half a pixel outward is the true edge, where the outlines of two neighbours are one line.
    along = ring[2:] - ring[:-2]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
    outward = along[:, ::-1] * (-1, 1) / length
    return ring[1:-1] + 0.5 * outward


def _subpixels(points: Array) -> Array:
    return np.round(points * (1 << SUBPIXEL_BITS)).astype(np.int32)
