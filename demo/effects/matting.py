"""Soft masks of a person or a part: probabilities at low resolution, edges from the picture.

The network's grid is coarse, the picture is not: a guided filter (He, Sun, Tang, "Guided image
filtering", PAMI 2013; computed small and applied large as in He, Sun, "Fast guided filter", 2015)
makes the mask a linear function of the colours nearby, so that it follows the edges and strands
that the picture shows.
"""

from typing import Any

import cv2
import numpy as np

from demo.geometry import Fit, resize

Array = np.ndarray[Any, np.dtype[Any]]

GUIDE_SIDE = 160  # longer side, in pixels, of the picture from which the filter is computed
RADIUS = 3  # of its windows, in pixels of the guide: one place of a network's grid covers 2
REGULARISATION = 1e-3  # variance of colours, of 0 to 1, below which they are one surface
SURE = 0.12  # probabilities within this of 0 and 1 become 0 and 1
LARGEST_HOLE = 0.06  # of the person's area; larger ones may be true, as between arm and body
SMALLEST_ISLAND = 0.2  # of the largest part's area: a second part may be a hand or another person


def matte(image: Array, share: Array, fit: Fit, *, whole: bool = False) -> Array:
    """Return how far each pixel belongs to something: uint8 [H, W], 0 to 255.

    Args:
        image: the frame, uint8 [H, W, 3].
        share: its probability on the model's square, float32 [h, w].
        fit: the square's placement in the frame.
        whole: it is in one piece, without holes: a person. Else it may be any part.
    """
    seen, inner = fit.frame_area, fit.square_area
    scale = share.shape[0] / fit.size
    part = seen.of(image)
    guide = _reduced(part)
    height, width = guide.shape[:2]
    # Where the part lies on the grid of the share, to a fraction of its pixels.
    x, y = inner.width * scale / width, inner.height * scale / height
    way = np.array(
        [
            [x, 0, inner.left * scale + 0.5 * x - 0.5],
            [0, y, inner.top * scale + 0.5 * y - 0.5],
        ]
    )
    coarse = cv2.warpAffine(
        share, way, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    if whole:
        coarse = in_one_piece(coarse)
    fine = _apply(part, *_guided(guide, coarse))
    if whole:
        # Inside and outside are settled; the picture's edges decide in between.
        sure = np.round(255 * coarse).astype(np.uint8)
        sure = cv2.resize(sure, fine.shape[::-1], interpolation=cv2.INTER_LINEAR)
        fine = cv2.max(cv2.min(fine, levels(sure, 0, 0.2)), levels(sure, 0.8, 1))
    if fine.shape == fit.frame_shape:
        return fine
    fine = cv2.multiply(fine, fit.vignette(below=not whole), scale=1 / 255)
    result = np.zeros(fit.frame_shape, np.uint8)
    seen.of(result)[:] = fine
    if whole:
        # Below the part that was seen the body goes on.
        result[seen.top + seen.height :, seen.left : seen.left + seen.width] = fine[-1]
    return result


def levels(alpha: Array, low: float, high: float) -> Array:
    """Stretch a mask so that ``low`` becomes 0 and ``high`` 1, both in parts of 255.

    Below 0.5 on average its edge moves outwards, above inwards.
    """
    table = np.clip((np.arange(256) / 255 - low) / (high - low), 0, 1)
    return cv2.LUT(alpha, np.round(255 * table).astype(np.uint8))


def in_one_piece(share: Array) -> Array:
    """Fill small holes of a person and remove what lies apart: float32 [h, w] from 0 to 1."""
    inside = (share > 0.5).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    if count < 2:
        return np.zeros_like(share)
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = np.flatnonzero(areas >= SMALLEST_ISLAND * areas.max()) + 1
    person = np.isin(parts, kept).astype(np.uint8)
    # Clefts in clothes are holes that reach an edge.
    person = cv2.morphologyEx(person, cv2.MORPH_CLOSE, _disc(RADIUS))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(1 - person, connectivity=4)
    width = share.shape[1]
    for k in range(1, count):
        left, top, wide, _, area = stats[k]
        # Of the edges only the lower one is not open: there a person is cut off.
        at_edge = left == 0 or top == 0 or left + wide == width
        if not at_edge and area < LARGEST_HOLE * areas.max():
            person[parts == k] = 1
    core = cv2.erode(person, _disc(RADIUS // 2), borderValue=1)
    rim = cv2.dilate(person, _disc(RADIUS))
    share = np.clip((share - SURE) / (1 - 2 * SURE), 0, 1)
    share[core > 0] = 1
    share[rim == 0] = 0
    return share


def _disc(radius: int) -> Array:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)


def _reduced(image: Array) -> Array:
    height, width = image.shape[:2]
    scale = min(1.0, GUIDE_SIDE / max(height, width))
    return resize(image, max(1, round(width * scale)), max(1, round(height * scale)))


def _guided(guide: Array, values: Array) -> tuple[Array, Array]:
    """Return the filter's coefficients: ``values`` ~ slope . colour + offset around each place.

    Args:
        guide: uint8 [h, w, 3].
        values: float32 [h, w].

    Returns:
        slope float32 [h, w, 3] for colours from 0 to 1, offset float32 [h, w].
    """
    window = (2 * RADIUS + 1,) * 2

    def mean(array: Array) -> Array:
        return cv2.blur(array, window)

    colour = guide.astype(np.float32) / np.float32(255)
    b, g, r = cv2.split(colour)
    middle, average = mean(colour), mean(values)
    mb, mg, mr = cv2.split(middle)
    cross = mean(colour * values[..., None]) - middle * average[..., None]
    bb = mean(b * b) - mb * mb + REGULARISATION
    gg = mean(g * g) - mg * mg + REGULARISATION
    rr = mean(r * r) - mr * mr + REGULARISATION
    bg, br, gr = mean(b * g) - mb * mg, mean(b * r) - mb * mr, mean(g * r) - mg * mr
    # The symmetric 3 x 3 system of each place, solved by its adjugate.
    i00, i01, i02 = gg * rr - gr * gr, br * gr - bg * rr, bg * gr - br * gg
    i11, i12, i22 = bb * rr - br * br, bg * br - bb * gr, bb * gg - bg * bg
    determinant = bb * i00 + bg * i01 + br * i02
    cb, cg, cr = cv2.split(cross)
    slope = cv2.merge(
        [
            (i00 * cb + i01 * cg + i02 * cr) / determinant,
            (i01 * cb + i11 * cg + i12 * cr) / determinant,
            (i02 * cb + i12 * cg + i22 * cr) / determinant,
        ]
    )
    offset = average - (slope * middle).sum(axis=2)
    return mean(slope), mean(offset)


def _apply(image: Array, slope: Array, offset: Array) -> Array:
    """Compute the mask at the picture's own resolution: uint8 [H, W]."""
    size = image.shape[1], image.shape[0]
    slope = cv2.resize(slope, size, interpolation=cv2.INTER_LINEAR)
    result = cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR) * np.float32(255)
    for channel in range(3):
        result += slope[..., channel] * image[..., channel]
    return np.clip(result, 0, 255).astype(np.uint8)
