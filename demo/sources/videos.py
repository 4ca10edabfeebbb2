"""Video files, by FFmpeg's libraries (PyAV), each frame at its own time."""

import logging
import mimetypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from demo.sources.frames import DEFAULT_FPS, Array, Condition, Frame, Frames, Source
from demo.sources.pictures import PAPER
from export.errors import DataError

SEVERAL = 2  # a stream may end in so many frames less than it announced

log = logging.getLogger(__name__)


def open_video(path: Path) -> Source:
    """Open a video and decode its first frame.

    Raises:
        DataError: it is no video, or nothing in it can be decoded.
    """
    problem = DataError(path, "is neither an image nor a video that can be read")
    # FFmpeg draws any text file as a film of characters.
    if (mimetypes.guess_type(path)[0] or "").startswith("text/"):
        raise problem
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError):
        raise problem from None
    if not container.streams.video:
        container.close()
        raise problem
    stream = container.streams.video[0]
    fps = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
    announced = stream.frames or _frames_of_duration(container, stream, fps)
    condition = Condition()
    frames = _frames(container, stream, path, announced, condition)
    try:
        first = next(frames)
    except StopIteration:
        raise problem from None
    return Source(
        "video",
        path.stem,
        _resumed(first, frames),
        fps=fps,
        total=announced or None,
        path=path,
        condition=condition,
    )


def _resumed(first: Frame, frames: Frames) -> Frames:
    try:
        yield first
        yield from frames
    finally:
        frames.close()


def _frames_of_duration(container: Any, stream: Any, fps: float) -> int:
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base) * fps)
    return round(container.duration / 1e6 * fps) if container.duration else 0


def _frames(
    container: Any, stream: Any, path: Path, announced: int, condition: Condition
) -> Frames:
    stream.thread_type = "AUTO"
    first: float | None = None
    given = 0
    with container:
        start = time.perf_counter()
        for decoded in _decoded(container, stream, condition):
            image = upright(decoded)
            at = _seconds(decoded, given, stream)
            first = at if first is None else first
            duration = float(decoded.duration * decoded.time_base) if decoded.duration else None
            spent = 1e3 * (time.perf_counter() - start)
            yield Frame(f"{path.stem}-{given:06d}.png", image, at - first, spent, duration)
            given += 1
            start = time.perf_counter()
    if given and condition.damaged:
        log.info("%s: %d damaged frames were skipped", path, condition.damaged)
    exact = bool(stream.frames)
    missing = announced - given - condition.damaged
    if announced and missing > (0 if exact else max(SEVERAL, announced // 20)):
        about = "" if exact else "about "
        condition.failure = f"{path}: {given} of {about}{announced} frames; the file is cut short"


def _decoded(container: Any, stream: Any, condition: Condition) -> Iterator[Any]:
    """Yield what can be decoded, and count what cannot."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            frames = packet.decode()
        except StopIteration:
            return
        except EOFError:
            return
        except av.error.FFmpegError:
            condition.damaged += 1
            continue
        for frame in frames:
            if frame.is_corrupt:
                condition.damaged += 1
            else:
                yield frame


def _seconds(frame: Any, number: int, stream: Any) -> float:
    if frame.pts is None:
        return number / float(stream.average_rate or DEFAULT_FPS)
    return float(frame.pts * frame.time_base)


def upright(frame: Any) -> Array:
    """Return a decoded frame as uint8 [H, W, 3] BGR, turned as it asks for, on white paper."""
    if any(component.is_alpha for component in frame.format.components):
        pixels = frame.to_ndarray(format="bgra")
        opacity = pixels[..., 3:].astype(np.float32) / 255
        image = (pixels[..., :3] * opacity + PAPER * (1 - opacity)).round().astype(np.uint8)
    else:
        image = frame.to_ndarray(format="bgr24")
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
