"""A frame, and a source of frames that is read in a thread."""

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from demo.overlapped import Overlapped
from export.system.console import silence_opencv

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["webcam", "video", "image", "folder"]
Frames = Generator["Frame", None, None]

READ_AHEAD = 4  # frames decoded before they are asked for
DEFAULT_FPS = 25.0

# OpenCV and FFmpeg would print lines of their own beside the one that says what to do.
silence_opencv()
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture.

    Attributes:
        name: a file name for it, unique in its source.
        image: uint8 [H, W, 3], BGR as in OpenCV.
        timestamp: seconds since the first frame.
        capture_ms: time that reading took; for a camera this includes waiting for its exposure.
        duration: seconds that it is to be shown, where the file says so.
    """

    name: str
    image: Array
    timestamp: float
    capture_ms: float
    duration: float | None = None


@dataclass
class Condition:
    """What turned out while a source was read.

    Attributes:
        damaged: frames that were skipped because they cannot be decoded.
        failure: why there are fewer frames than there should be; None when there are not.
    """

    damaged: int = 0
    failure: str | None = None


class Source(Overlapped[Frame]):
    """Frames in order, read by a thread; a context manager, iterated once.

    Files are read a few frames ahead and none is lost. A camera gives the newest frame each time:
    those that came while the last one was drawn are dropped, so that the delay never grows.

    Attributes:
        kind: what is read; a stream from the network is a webcam, too.
        name: short name without folder and suffix, to name outputs by.
        fps: nominal frames per second.
        total: number of frames, or None when it is not known.
        path: the file or folder; None for a webcam.
        condition: what is wrong with it, as far as it has been read.
    """

    def __init__(
        self,
        kind: Kind,
        name: str,
        frames: Frames,
        *,
        fps: float = DEFAULT_FPS,
        total: int | None = None,
        path: Path | None = None,
        condition: Condition | None = None,
    ):
        self.kind, self.name, self.fps, self.total, self.path = kind, name, fps, total, path
        self.condition = condition or Condition()
        super().__init__(frames, f"read {name}", ahead=READ_AHEAD, newest=self.live)

    @property
    def live(self) -> bool:
        """Whether frames come by themselves and without end."""
        return self.kind == "webcam"

    @property
    def still(self) -> bool:
        """Whether frames are pictures each for itself."""
        return self.kind in ("image", "folder")
