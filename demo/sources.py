"""Frames from a webcam, a video, an image or a folder, read ahead in a thread."""

import mimetypes
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import cv2
import numpy as np

from export.console import silence_opencv
from export.errors import DataError, UnavailableError

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["webcam", "video", "image", "folder"]
Frames = Generator["Frame", None, None]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
READ_AHEAD = 4  # frames decoded before they are asked for
DEFAULT_FPS = 25.0
CAMERA_SIZE = (1280, 720)

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
    """

    name: str
    image: Array
    timestamp: float
    capture_ms: float


class Source:
    """Frames in order, read by a background thread; a context manager, iterated once.

    Files are read a few frames ahead and none is lost. A webcam gives the newest frame each time:
    those that came while the last one was drawn are dropped, so that the delay never grows.

    Attributes:
        kind: what is read.
        name: short name without folder and suffix, to name outputs by.
        fps: nominal frames per second.
        total: number of frames, or None when it is not known.
        path: the file or folder; None for a webcam.
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
    ):
        self.kind, self.name, self.fps, self.total, self.path = kind, name, fps, total, path
        self._frames = frames
        self._waiting: deque[Frame] = deque(maxlen=1 if self.live else None)
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name=f"read {name}", daemon=True)

    @property
    def live(self) -> bool:
        """Whether frames come by themselves and without end."""
        return self.kind == "webcam"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                frame = self._waiting.popleft()
                self._changed.notify_all()
            yield frame
        if self._error:
            raise self._error

    def _read(self) -> None:
        try:
            # Closing the generator releases the device or file, in the thread that uses it.
            with closing(self._frames):
                for frame in self._frames:
                    with self._changed:
                        if not self.live:
                            self._changed.wait_for(
                                lambda: self._closed or len(self._waiting) < READ_AHEAD
                            )
                        if self._closed:
                            return
                        self._waiting.append(frame)
                        self._changed.notify_all()
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


def open_source(where: str | Path) -> Source:
    """Open a source, and read its first frame if it is a video or a webcam.

    Args:
        where: a webcam's index, or the path of a video, an image or a folder of images.

    Raises:
        DataError: there is no such file, or nothing in it can be read.
        UnavailableError: there is no such camera.
    """
    if str(where).isdecimal():
        return _webcam(int(str(where)))
    path = Path(where)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise DataError(
            path, "does not exist; give a webcam's index, a video, an image or a folder of images"
        )
    if cv2.haveImageReader(str(path)):
        return Source("image", path.stem, _images([path]), total=1, path=path)
    return _video(path)


def read_image(path: Path) -> Array:
    """Read an image as uint8 [H, W, 3] BGR, turned upright.

    Raises:
        DataError: it is not an image, or is damaged.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(path, "cannot be read as an image; it may be damaged")
    return image


def _webcam(index: int) -> Source:
    capture = cv2.VideoCapture(index)
    # Compressed frames: uncompressed ones at this size pass USB 2 only about ten times a second.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, CAMERA_SIZE[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, CAMERA_SIZE[1])
    first, milliseconds = _read(capture)
    if first is None:
        capture.release()
        raise UnavailableError(
            f"camera {index} gives no picture: connect it, close other programs that use it, "
            "allow this one to use it, or name a file with --source"
        )
    name = f"webcam-{index}"
    start = time.perf_counter()
    frames = _captured(capture, first, milliseconds, name, lambda _: time.perf_counter() - start)
    return Source("webcam", name, frames, fps=_frame_rate(capture))


def _video(path: Path) -> Source:
    # FFmpeg draws any text file as a film of characters.
    is_text = (mimetypes.guess_type(path)[0] or "").startswith("text/")
    capture = cv2.VideoCapture() if is_text else cv2.VideoCapture(str(path))
    first, milliseconds = _read(capture)
    if first is None:
        capture.release()
        raise DataError(path, "is neither an image nor a video that OpenCV can read")
    fps = _frame_rate(capture)
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = _captured(capture, first, milliseconds, path.stem, lambda index: index / fps)
    return Source(
        "video", path.stem, frames, fps=fps, total=total if total > 0 else None, path=path
    )


def _folder(path: Path) -> Source:
    paths = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    )
    if not paths:
        raise DataError(path, f"holds no images ({' '.join(IMAGE_SUFFIXES)})")
    return Source("folder", path.resolve().name, _images(paths), total=len(paths), path=path)


def _images(paths: list[Path]) -> Frames:
    for index, path in enumerate(paths):
        start = time.perf_counter()
        image = read_image(path)
        yield Frame(path.name, image, index / DEFAULT_FPS, 1e3 * (time.perf_counter() - start))


def _captured(
    capture: Any,
    image: Array | None,
    milliseconds: float,
    name: str,
    timestamp: Callable[[int], float],
) -> Frames:
    try:
        for index in count():
            if image is None:
                return
            yield Frame(f"{name}-{index:06d}.png", image, timestamp(index), milliseconds)
            image, milliseconds = _read(capture)
    finally:
        capture.release()


def _read(capture: Any) -> tuple[Array | None, float]:
    start = time.perf_counter()
    image = capture.read()[1] if capture.isOpened() else None
    return image, 1e3 * (time.perf_counter() - start)


def _frame_rate(capture: Any) -> float:
    # Unknown is 0 or absurd (1000 for some cameras and variable-rate files).
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 1 <= fps <= 240 else DEFAULT_FPS
