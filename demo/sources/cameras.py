"""Cameras and streams as they are: slow to wake, sometimes stalled, sometimes unplugged."""

import logging
import re
import time
from itertools import count
from typing import Any

import cv2

from demo.sources.frames import DEFAULT_FPS, Array, Condition, Frame, Frames, Source
from export.system.errors import UnavailableError

BACKENDS = {
    "dshow": cv2.CAP_DSHOW,
    "msmf": cv2.CAP_MSMF,
    "v4l2": cv2.CAP_V4L2,
    "avfoundation": cv2.CAP_AVFOUNDATION,
}
STREAMS = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp")
CAMERA_SIZE = (1280, 720)
WAKING = 2.0  # seconds in which the first frames may fail
ABSENT = 10.0  # seconds for which a camera that vanished is waited for
RETRY = 0.25  # seconds between two tries
STREAM_TIMEOUT_MS = 5000

log = logging.getLogger(__name__)


def is_camera(where: str) -> bool:
    """Say whether a source is a camera's index, its device, ``BACKEND:INDEX``, or a stream."""
    start = where.partition(":")[0].lower()
    return (
        where.isdecimal()
        or where.startswith("/dev/video")
        or ("://" in where and start in STREAMS)
        or (start in BACKENDS and where.partition(":")[2].isdecimal())
    )


def open_camera(where: str) -> Source:
    """Open a camera or a stream; wait until it gives a picture.

    Raises:
        UnavailableError: it gives none.
    """
    camera = Camera(where)
    first = camera.first()
    condition = Condition()
    name = camera.name
    return Source("webcam", name, _frames(camera, first, condition), fps=camera.fps(),
                  condition=condition)  # fmt: skip


class Camera:
    """One camera, opened and opened again.

    Attributes:
        name: short, fit for a file's name.
    """

    def __init__(self, where: str):
        self.where = where
        start, _, rest = where.partition(":")
        self._backend = BACKENDS.get(start.lower(), cv2.CAP_ANY)
        self._index = where if where.isdecimal() else rest if start in BACKENDS else None
        stem = where.rpartition("@")[2].partition("://")[2] or where
        self.name = "webcam-" + re.sub(r"\W+", "-", self._index or stem.rpartition("@")[2]).strip(
            "-"
        )
        self._capture: Any = None

    def first(self) -> Array:
        """Return the first picture: a camera that has just been opened may need some tries.

        Raises:
            UnavailableError: none came in `WAKING` seconds.
        """
        deadline = time.monotonic() + WAKING
        if self.open():
            while True:
                image = self.read()
                if image is not None:
                    return image
                if time.monotonic() > deadline:
                    break
                time.sleep(RETRY / 10)
        self.close()
        raise UnavailableError(
            f"camera {self.where} gives no picture: connect it, close other programs that use it, "
            "allow this one to use it, or name a file with --source"
        )

    def open(self) -> bool:
        """Open it, anew if it was open; say whether that worked."""
        self.close()
        if self._index is None and "://" in self.where:
            timeouts = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, STREAM_TIMEOUT_MS,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC, STREAM_TIMEOUT_MS,
            ]  # fmt: skip
            self._capture = cv2.VideoCapture(self.where, cv2.CAP_FFMPEG, timeouts)
            return bool(self._capture.isOpened())
        device = self.where if self._index is None else int(self._index)
        self._capture = cv2.VideoCapture(device, self._backend)
        # Uncompressed frames of this size pass USB 2 only about ten times a second.
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, CAMERA_SIZE[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, CAMERA_SIZE[1])
        return bool(self._capture.isOpened())

    def read(self) -> Array | None:
        """Return the next picture, or None."""
        return self._capture.read()[1] if self._capture.isOpened() else None

    def fps(self) -> float:
        """Return the nominal frames a second; some cameras say nothing, or 1000."""
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        return fps if 1 <= fps <= 240 else DEFAULT_FPS

    def close(self) -> None:
        """Free the device."""
        if self._capture is not None:
            self._capture.release()


def _frames(camera: Camera, image: Array | None, condition: Condition) -> Frames:
    start = before = time.perf_counter()
    try:
        for number in count():
            if image is None:
                image = _returned(camera)
            if image is None:
                condition.failure = f"camera {camera.where} vanished and stayed away"
                return
            now = time.perf_counter()
            yield Frame(f"{camera.name}-{number:06d}.png", image, now - start, 1e3 * (now - before))
            before = time.perf_counter()
            image = camera.read()
    finally:
        camera.close()


def _returned(camera: Camera) -> Array | None:
    """Wait for a camera that gives nothing any more; return its next picture."""
    log.info("camera %s gives no picture: waiting %g s for it", camera.where, ABSENT)
    deadline = time.monotonic() + ABSENT
    while time.monotonic() < deadline:
        time.sleep(RETRY)
        if camera.open() and (image := camera.read()) is not None:
            log.info("camera %s is back", camera.where)
            return image
    return None
