"""The face in the frame: found, followed, lost and found again, by the parser's own labels.

A network sees a face best at the size at which it was trained: a portrait. So it first looks at the
whole frame and at large parts of it; where there is a face, the next looks are at a square around
it, which follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from demo.geometry import Area
from demo.parser import Look

Array = np.ndarray[Any, np.dtype[Any]]

FACE = ("skin", "nose", "eye", "brow", "mouth", "lip")  # in the names of a face's classes
KNOWN = 2  # features that a face must show to be followed further
FINEST = 256  # pixels a side in which faces are looked for
SMALLEST = 0.012  # side of the smallest face, in parts of the square's; 6 pixels of 512
SMALLEST_PLACE = 32  # pixels a side of a part of the frame that is searched alone
STEADY = 0.08  # movements below this part of the square's side leave it where it is
PURSUIT = 0.5  # share of a larger movement that is made up for in one frame
PATIENCE = 12  # looks without a face before it is lost: heads turn away and back


@dataclass(frozen=True)
class View:
    """How much of the frame is seen around a face.

    A face's size is the root of its area. Among CelebAMask-HQ's pictures, on which networks are
    trained, it is 0.54 of the side (median), its middle 0.55 below the top.

    Attributes:
        reach: side of the square in sizes of the face.
        above: part of the square above the face's middle.
    """

    reach: float
    above: float

    def region(self, face: "Face", frame_shape: tuple[int, int]) -> Area:
        """Return the square, moved into the frame as far as it fits."""
        height, width = frame_shape
        side = min(max(8, round(self.reach * face.size)), max(frame_shape))
        top, left = round(face.y - self.above * side), round(face.x - side / 2)
        return Area(_inside(top, side, height), _inside(left, side, width), side, side)


PORTRAIT = View(2.2, 0.55)
HEAD = View(2.6, 0.53)
"""With all of the hair."""
PERSON = View(6, 0.25)
"""With shoulders and arms; the face is still large enough to be sure of it."""


def _inside(start: int, length: int, whole: int) -> int:
    free = whole - length
    return min(max(start, min(0, free)), max(0, free))


@dataclass(frozen=True)
class Face:
    """A face in the frame.

    Attributes:
        x: of its middle, in pixels of the frame.
        y: the same.
        size: the root of its area, in pixels.
        features: how many it shows of those in `FEATURES`.
    """

    x: float
    y: float
    size: float
    features: int = 0

    def moved_towards(self, other: "Face", share: float) -> "Face":
        """Return the face part of the way to another place and size."""
        return Face(
            self.x + share * (other.x - self.x),
            self.y + share * (other.y - self.y),
            self.size + share * (other.size - self.size),
            other.features,
        )


@dataclass(frozen=True)
class Feature:
    """A feature of upright faces.

    Attributes:
        words: in the names of its classes.
        below: where it is under the face's middle, in sizes of the face.
    """

    words: tuple[str, ...]
    below: float

    def is_in(self, mask: Array, middle: Array, size: float) -> bool:
        """Say whether a mask of the feature (0 or 255) is as a face's is, in extent and place."""
        moments = cv2.moments(mask, binaryImage=True)
        share = moments["m00"] / size**2
        if not PLAUSIBLE_SHARE[0] <= share <= PLAUSIBLE_SHARE[1]:
            return False
        x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
        away = max(abs(x - middle[0]), abs(y - middle[1] - self.below * size))
        return bool(away <= PLAUSIBLE_SHIFT * size)


# The heights are those of CelebAMask-HQ's faces.
FEATURES = (
    Feature(("eye", "brow"), -0.33),
    Feature(("nose",), -0.08),
    Feature(("mouth", "lip"), 0.24),
)
PLAUSIBLE_SHARE = (0.008, 0.3)  # of the face's area: half-closed eyes, sunglasses
PLAUSIBLE_SHIFT = 0.25  # in sizes of the face: turned and tilted heads


class FaceFinder:
    """Finds faces in labels.

    Attributes:
        certain: features that a face which was not known before must show; 0 where the classes
            have none, and with them no faces.
    """

    def __init__(self, classes: Sequence[str]):
        def table(words: Sequence[str]) -> Array:
            found = np.zeros(256, np.uint8)
            for label, name in enumerate(classes):
                if any(word in name.lower() for word in words):
                    found[label] = 255
            return found

        self._face = table(FACE)
        features = ((table(feature.words), feature) for feature in FEATURES)
        self._features = [(labels, feature) for labels, feature in features if labels.any()]
        self.certain = len(self._features) if len(self._features) >= KNOWN else 0

    def faces(self, look: Look) -> list[Face]:
        """Return what may be faces, those with the most features first, then the largest."""
        # A face is found as well in every second pixel, in a quarter of the time.
        step = max(1, len(look.labels) // FINEST)
        seen_labels = np.ascontiguousarray(look.labels[::step, ::step])
        skin = cv2.LUT(seen_labels, self._face)
        _, parts, stats, middles = cv2.connectedComponentsWithStats(skin)
        places = look.fit.points_to_frame(step * middles)
        scale = look.fit.frame_area.width / look.fit.square_area.width
        faces = []
        for k in range(1, len(stats)):
            left, top, width, height, area = map(int, stats[k])
            size = area**0.5
            if step * size < SMALLEST * look.fit.size:
                continue
            box = np.s_[top : top + height, left : left + width]
            inside = np.where(parts[box] == k, seen_labels[box], 0).astype(np.uint8)
            middle = middles[k] - (left, top)
            seen = sum(
                feature.is_in(cv2.LUT(inside, labels), middle, size)
                for labels, feature in self._features
            )
            faces.append(Face(float(places[k][0]), float(places[k][1]), scale * step * size, seen))
        return sorted(faces, key=lambda face: (face.features, face.size), reverse=True)


class FaceFollower:
    """Where the face of a stream is, kept steady: a still head leaves the view where it is.

    Attributes:
        face: around which to look; None when there is none.
    """

    def __init__(self) -> None:
        self.face: Face | None = None
        self._misses = 0

    def learn(self, face: Face | None) -> None:
        """Take what the look around the face has found: where it is now, or nothing."""
        if face is None:
            self._misses += 1
            if self._misses >= PATIENCE:
                self.face = None
            return
        self._misses = 0
        if self.face is None:
            self.face = face
        elif differs(face, self.face):
            self.face = self.face.moved_towards(face, PURSUIT)


def differs(face: Face, other: Face) -> bool:
    """Say whether two places are so far apart, or so different in size, that a view changes."""
    away = max(abs(face.x - other.x), abs(face.y - other.y), abs(face.size - other.size))
    return away > STEADY * PORTRAIT.reach * min(face.size, other.size)


def search_places(frame_shape: tuple[int, int]) -> list[Area]:
    """Return squares in which to look for a face: all of the frame, then parts, down to a half.

    The parts overlap by at least a third, so that each face is whole in one; those that are too
    small for a face are left out.
    """
    height, width = frame_shape
    longer, shorter = max(height, width), min(height, width)
    whole = Area((height - longer) // 2, (width - longer) // 2, longer, longer)
    places = [whole]
    for side in (shorter, shorter // 2):
        if side < SMALLEST_PLACE:
            break
        places += [
            Area(top, left, side, side)
            for top in _steps(height, side)
            for left in _steps(width, side)
        ]
    # A square frame is its own largest part.
    return [place for k, place in enumerate(places) if place not in places[:k]]


def _steps(whole: int, side: int) -> list[int]:
    if whole <= side:
        return [0]
    count = int(np.ceil((whole - side) / (0.6 * side))) + 1
    return [round(step) for step in np.linspace(0, whole - side, count)]
