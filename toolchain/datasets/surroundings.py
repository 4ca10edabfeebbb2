"""What lies around a face in a frame: its edges drawn out, or a backdrop and things before it."""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from toolchain.datasets.base import Pixels, Sample, resize_sample

Matrix = NDArray[np.float64]
Pictures = Callable[[np.random.Generator], Pixels]
"""Draws one of some pictures, uint8 [size, size, 3]."""
Floats = NDArray[np.float32]
_COARSE = 16
"""Pixels of the grid from which the holes that people leave in a scene are filled."""
_MOST_THINGS = 64
_SMALLEST, _LARGEST = 0.03, 0.5
"""Half of a thing's length, in parts of the frame."""
_MOST_PIECES = 10
"""Of a picture's side in another order."""


def continued(image: Pixels, place: Matrix, size: int) -> Pixels:
    """Return the edges of an image drawn out over a frame, out of focus.

    Args:
        image: uint8 [h, w, 3].
        place: 2 x 3, from its pixels to those of the frame.
        size: of the frame, pixels.
    """
    way = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    canvas = cv2.warpAffine(image, place, (size, size), **way)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), max(size / 32, 0.5)))


def textured(rng: np.random.Generator, size: int) -> Pixels:
    """Return random colours in blots of random size, with grain: walls, curtains, shelves."""
    cells = rng.integers(2, 13, 2)
    blots = rng.normal(0, rng.uniform(5, 60), (*cells, 3)) + rng.uniform(20, 235, 3)
    way = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_CUBIC
    canvas = cv2.resize(blots, (size, size), interpolation=way)
    grain = rng.normal(0, rng.uniform(0, 12), (size, size, 1))
    return np.clip(canvas + grain, 0, 255).astype(np.uint8)


def scene(other: Sample, rng: np.random.Generator, size: int) -> Pixels:
    """Return the background of another picture, magnified, its people painted over."""
    other = resize_sample(other, size)
    # What is next to people has their outline.
    margin = np.ones((size // 32 + 1, size // 32 + 1), np.uint8)
    free = cv2.erode((other.labels == 0).astype(np.float32), margin)[..., None]
    coarse = (_COARSE, _COARSE)
    weights = cv2.resize(free, coarse, interpolation=cv2.INTER_AREA)[..., None] + 1e-3
    colours = cv2.resize(other.image * free, coarse, interpolation=cv2.INTER_AREA) / weights
    spread = cv2.GaussianBlur(weights, (0, 0), 2)[..., None]
    colours = cv2.GaussianBlur(colours * weights, (0, 0), 2) / spread
    filled = cv2.resize(colours, (size, size), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(free, (0, 0), max(size / 64, 0.5))[..., None] * free
    canvas = np.clip(other.image * soft + filled * (1 - soft), 0, 255).astype(np.uint8)
    return _cropped(canvas, rng, size)


def _cropped(picture: Pixels, rng: np.random.Generator, size: int) -> Pixels:
    """Return a part of a square picture, magnified, perhaps mirrored."""
    side = max(1, int(len(picture) * rng.uniform(0.4, 1)))
    top, left = rng.integers(0, len(picture) - side + 1, 2)
    part = picture[top : top + side, left : left + side][:, :: rng.choice([-1, 1])]
    return np.asarray(cv2.resize(part, (size, size)))


def _people(sample: Sample) -> Pixels:
    """Return the part of a picture in which people are, so that its pieces are no whole faces."""
    rows, columns = (np.flatnonzero((sample.labels > 0).any(axis)) for axis in (1, 0))
    if not len(rows):
        return sample.image
    return sample.image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def shuffled(picture: Pixels, rng: np.random.Generator, size: int) -> Pixels:
    """Return the pieces of a picture in another order, turned: hair, skin and cloth of no face."""
    count = int(rng.integers(5, _MOST_PIECES + 1))
    side = -(-size // count)
    whole = cv2.resize(picture, (side * count, side * count), interpolation=cv2.INTER_AREA)
    pieces = whole.reshape(count, side, count, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    pieces = pieces[rng.permutation(len(pieces))]
    turns = rng.integers(4, size=len(pieces))
    pieces = np.stack([np.rot90(piece, turn) for piece, turn in zip(pieces, turns, strict=True)])
    rows = pieces.reshape(count, count, side, side, 3).swapaxes(1, 2)
    return rows.reshape(side * count, side * count, 3)[:size, :size]


def coloured_as(picture: Pixels, person: Sample) -> Pixels:
    """Give a picture the mean and the spread of somebody's red, green and blue.

    Where all else is of other colours, those of skin and hair would be enough to find a face by.
    """
    shown = person.image[person.labels > 0]
    if not len(shown):
        return picture
    (mean, spread), (old, wide) = ((p.mean(0), p.std(0)) for p in (shown, picture.reshape(-1, 3)))
    stretch = np.minimum(spread / (wide + 1), 2)
    return np.clip((picture - old) * stretch + mean, 0, 255).astype(np.uint8)


def with_things(
    canvas: Pixels,
    rng: np.random.Generator,
    person: Pixels | None = None,
    pictures: Pictures | None = None,
) -> Pixels:
    """Return a canvas with things before it, some or many: cups, screens, books, hands.

    They are discs, boxes and rings with soft or sharp edges, small ones more often, after the dead
    leaves model of photographs. They are lit from one side, striped or checked, or show a picture
    or a part of somebody, so that neither a round shape nor the look of skin or hair is a face.

    Args:
        canvas: uint8 [size, size, 3].
        rng: the source of chance.
        person: uint8 [h, w, 3], of which parts are seen; None: there is none.
        pictures: see `backdrop`.
    """
    size, mixed = len(canvas), canvas.astype(np.float32)
    for _ in range(int(np.exp(rng.uniform(0, np.log(_MOST_THINGS + 1))))):
        length = size / rng.uniform(1 / _LARGEST, 1 / _SMALLEST)
        width, angle = length * rng.uniform(0.3, 1), rng.uniform(0, np.pi)
        x, y = rng.uniform(0, size, 2).tolist()
        reach = 1.5 * length
        left, top = max(0, int(x - reach)), max(0, int(y - reach))
        part = mixed[top : int(y + reach) + 1, left : int(x + reach) + 1]
        right = np.arange(part.shape[1], dtype=np.float32) + (left + 0.5 - x)
        down = np.arange(part.shape[0], dtype=np.float32)[:, None] + (top + 0.5 - y)
        cos, sin = math.cos(angle), math.sin(angle)
        along = (right * cos + down * sin) / length
        across = (down * cos - right * sin) / width
        boxed, hollow = rng.random(2) < [0.5, 0.2]
        outward = np.maximum(abs(along), abs(across)) if boxed else np.hypot(along, across)
        sharpness = width / rng.uniform(1, 1 + size / 128)
        shown = np.clip((1 - outward) * sharpness + 0.5, 0, 1)
        if hollow:
            shown *= np.clip((outward - rng.uniform(0.5, 0.9)) * sharpness + 0.5, 0, 1)
        pictured, parted = rng.random(2) < 0.4
        if pictured and pictures:
            surface = cv2.resize(pictures(rng), part.shape[1::-1]).astype(np.float32)
        elif parted and person is not None:
            surface = _part(person, part.shape[:2], rng)
        else:
            surface = _surface(along, across, rng)
        part += shown[..., None] * (surface - part)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _surface(along: Floats, across: Floats, rng: np.random.Generator) -> Floats:
    """Return colours lit from one side, half of them in stripes or checks."""
    light, steep = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
    colours = (rng.uniform(0, 255, (2, 1)) + rng.normal(0, 30, (2, 3))).astype(np.float32)
    fall = 1 + steep * (along * math.cos(light) + across * math.sin(light))
    surface = fall[..., None] * colours[0]
    if rng.random() < 0.5:
        pattern = np.sin(along * rng.uniform(2, 30))
        if rng.random() < 0.5:
            pattern *= np.sin(across * rng.uniform(2, 30))
        share = np.clip(pattern * rng.uniform(0.5, 5) + 0.5, 0, 1)[..., None]
        surface += share * (colours[1] - surface)
    return surface


def _part(picture: Pixels, shape: Sequence[int], rng: np.random.Generator) -> Floats:
    """Return a part of a picture as large as ``shape``, or a smaller one magnified to it."""
    most = min(1.0, 0.3 * min(picture.shape[:2]) / max(shape))  # too small for a face
    sides = (np.array(shape) * most * rng.uniform(0.3, 1)).astype(int).clip(1)
    top, left = rng.integers(0, np.array(picture.shape[:2]) - sides + 1)
    piece = picture[top : top + sides[0], left : left + sides[1]]
    return cv2.resize(piece, tuple(shape[::-1])).astype(np.float32)


def backdrop(
    rng: np.random.Generator,
    size: int,
    other: Callable[[], Sample] | None = None,
    pictures: Pictures | None = None,
) -> Pixels:
    """Draw what nobody is in: a texture, another sample's scene or its pieces; half with things.

    Args:
        rng: the source of chance.
        size: of the frame, pixels.
        other: returns a sample; None: there is none.
        pictures: draws those without a face, which half of the others give way to; None: none are.
    """
    drawn = other() if other else None
    person = None if drawn is None else _people(drawn)
    kind = rng.integers(3)
    if pictures and rng.random() < 0.5:
        canvas = _cropped(pictures(rng), rng, size)
    elif drawn is None or person is None or kind == 0:
        canvas = textured(rng, size)
    elif kind == 1:
        canvas = scene(drawn, rng, size)
    else:
        canvas = shuffled(person, rng, size)
    if drawn is not None and rng.random() < 0.5:
        canvas = coloured_as(canvas, drawn)
    if rng.random() < 0.5:
        return canvas
    return with_things(canvas, rng, person, pictures)


def surroundings(
    sample: Sample,
    place: Matrix,
    rng: np.random.Generator,
    size: int,
    behind: Callable[[], Pixels],
) -> Pixels:
    """Draw what surrounds a sample: a third of it is the sample continued, uint8 [size, size, 3].

    Args:
        sample: the face.
        place: 2 x 3, from its pixels to those of the frame.
        rng: the source of chance.
        size: of the frame, pixels.
        behind: draws a backdrop of that size.
    """
    if rng.random() < 1 / 3:
        return continued(sample.image, place, size)
    return behind()
