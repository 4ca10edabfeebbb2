"""Where a frame lies in the model's square input, and the way back."""

from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np

from export.system.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]

FADE = 0.06  # of the side of what was seen, over which drawings end
PADDING = 127  # mid-grey: close to 0 once the model has normalised it
MODES = ("letterbox", "crop")  # of the frame as it is; the face is followed in `demo.faces`


def resize(image: Array, width: int, height: int) -> Array:
    """Resize an image, uint8 [H, W, C], without skipping pixels.

    Halving first, each time the mean of 2x2 pixels, is far quicker than OpenCV's ``INTER_AREA``.
    """
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Area:
    """A rectangle in whole pixels."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def centred(cls, height: int, width: int, outer_height: int, outer_width: int) -> Self:
        """Place a rectangle in the middle of a larger one."""
        return cls((outer_height - height) // 2, (outer_width - width) // 2, height, width)

    def mirrored(self, outer_width: int) -> Self:
        """Return the same rectangle in the mirrored larger one."""
        return replace(self, left=outer_width - self.left - self.width)

    def of(self, array: Array) -> Array:
        """Return the view of ``array`` [H, W, ...] that this rectangle covers."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Fit:
    """An undistorted placement of frames of one size in a square.

    Attributes:
        frame_shape: (height, width) of the frame in pixels.
        size: side of the square in pixels.
        frame_area: the part of the frame that the model sees.
        square_area: the part of the square that it fills; the rest is padding.
    """

    frame_shape: tuple[int, int]
    size: int
    frame_area: Area
    square_area: Area

    @classmethod
    def make(cls, frame_shape: tuple[int, int], size: int, mode: str) -> Self:
        """Place a frame: ``letterbox`` keeps all of it, ``crop`` its central square."""
        height, width = frame_shape
        if mode == "crop":
            side = min(height, width)
            return cls(
                frame_shape,
                size,
                Area.centred(side, side, height, width),
                Area(0, 0, size, size),
            )
        if mode != "letterbox":
            raise UsageError(f"fit {mode!r} is not known; known: {', '.join(MODES)}")
        scale = size / max(height, width)
        inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
        return cls(
            frame_shape,
            size,
            Area(0, 0, height, width),
            Area.centred(inner_height, inner_width, size, size),
        )

    @classmethod
    def around(cls, frame_shape: tuple[int, int], size: int, region: Area) -> Self:
        """See a square region of a frame in more detail; beyond the frame's edges is padding."""
        height, width = frame_shape
        top, left = max(region.top, 0), max(region.left, 0)
        bottom = min(region.top + region.height, height)
        right = min(region.left + region.width, width)
        scale = size / region.height
        inner_top, inner_left, inner_bottom, inner_right = (
            round((edge - start) * scale)
            for edge, start in (
                (top, region.top),
                (left, region.left),
                (bottom, region.top),
                (right, region.left),
            )
        )
        return cls(
            frame_shape,
            size,
            Area(top, left, bottom - top, right - left),
            # Of a frame that is a line a pixel is left.
            Area(
                min(inner_top, size - 1),
                min(inner_left, size - 1),
                max(1, inner_bottom - inner_top),
                max(1, inner_right - inner_left),
            ),
        )

    def mirrored(self) -> Self:
        """Return the placement of the mirrored frame in the mirrored square."""
        return replace(
            self,
            frame_area=self.frame_area.mirrored(self.frame_shape[1]),
            square_area=self.square_area.mirrored(self.size),
        )

    def of_part(self) -> Self:
        """Return the placement of that part of the frame alone which the model sees."""
        seen = self.frame_area
        shape = seen.height, seen.width
        return replace(self, frame_shape=shape, frame_area=Area(0, 0, *shape))

    def new_square(self) -> Array:
        """Make an empty model input: uint8 [1, size, size, 3], all padding."""
        return np.full((1, self.size, self.size, 3), PADDING, np.uint8)

    def to_square(self, frame: Array, square: Array) -> None:
        """Write a frame (uint8 [H, W, 3] BGR) into a model input (RGB) made by `new_square`."""
        seen, inner = self.frame_area, self.square_area
        resized = resize(seen.of(frame), inner.width, inner.height)
        cv2.cvtColor(resized, cv2.COLOR_BGR2RGB, dst=inner.of(square[0]))

    def to_frame(self, values: Array, interpolation: int = cv2.INTER_LINEAR) -> Array:
        """Map values on the square (uint8 [size, size] or [size, size, C]) to the whole frame.

        Args:
            values: labels (with ``cv2.INTER_NEAREST``), masks or colours.
            interpolation: one of OpenCV's flags.

        Returns:
            uint8 [H, W] or [H, W, C], contiguous; 0 where the model did not look.
        """
        seen = self.frame_area
        inner = self.square_area.of(values)
        if inner.shape[:2] == (seen.height, seen.width):
            inner = np.ascontiguousarray(inner)
        else:
            inner = cv2.resize(inner, (seen.width, seen.height), interpolation=interpolation)
        if (seen.height, seen.width) == self.frame_shape:
            return inner
        whole = np.zeros((*self.frame_shape, *values.shape[2:]), values.dtype)
        seen.of(whole)[:] = inner
        return whole

    def vignette(self, below: bool = True) -> Array:
        """Return a mask that lets drawings end softly where the part ends that is seen.

        255 inside, falling to 0 at those of its edges that are not the frame's: uint8
        [frame_area.height, frame_area.width].

        Args:
            below: at the lower edge, too.
        """
        seen = self.frame_area
        reach = max(1.0, FADE * max(seen.height, seen.width))

        def ramp(length: int, start: int, whole: int) -> Array:
            at = np.arange(length) + 0.5
            before = at if start > 0 else np.full(length, reach)
            after = length - at if start + length < whole else np.full(length, reach)
            share = np.clip(np.minimum(before, after) / reach, 0, 1)
            return np.round(255 * share).astype(np.uint8)

        rows = ramp(seen.height, seen.top, self.frame_shape[0] if below else 0)
        columns = ramp(seen.width, seen.left, self.frame_shape[1])
        return np.minimum(rows[:, None], columns)

    @property
    def matrix(self) -> Array:
        """The way from pixel-centre coordinates (x, y, 1) on the square to the frame: [3, 3]."""
        seen, inner = self.frame_area, self.square_area
        x, y = seen.width / inner.width, seen.height / inner.height
        return np.array(
            [
                [x, 0, seen.left - 0.5 - (inner.left - 0.5) * x],
                [0, y, seen.top - 0.5 - (inner.top - 0.5) * y],
                [0, 0, 1],
            ]
        )

    def moved(self, values: Array, target: Self, interpolation: int = cv2.INTER_LINEAR) -> Array:
        """Map values on this square to where the same places are on another placement's square.

        Args:
            values: [h, w] or [h, w, C], at any resolution of the square.
            target: the other placement, in the same frame.
            interpolation: one of OpenCV's flags.
        """
        if target == self:
            return values
        height, width = values.shape[:2]
        grid = np.diag([width / self.size, height / self.size, 1])
        grid[:2, 2] = (grid[0, 0] - 1) / 2, (grid[1, 1] - 1) / 2
        way = grid @ np.linalg.inv(target.matrix) @ self.matrix @ np.linalg.inv(grid)
        return cv2.warpAffine(
            values, way[:2], (width, height), flags=interpolation, borderMode=cv2.BORDER_REPLICATE
        )

    def points_to_frame(self, points: Array) -> Array:
        """Map pixel-centre coordinates (x, y) on the square, float [N, 2], to the frame."""
        return points @ self.matrix[:2, :2].T + self.matrix[:2, 2]
