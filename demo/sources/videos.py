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
from export.system.errors import DataError

TOLERANCE = 0.05  # part of a length that is not said for the picture alone

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
    total, least = _announced(container, stream, fps)
    condition = Condition()
    frames = _frames(container, stream, path, condition, total, least)
    try:
        first = next(frames)
    except StopIteration:
        raise problem from None
    return Source(
        "video",
        path.stem,
        _resumed(first, frames),
        fps=fps,
        total=total or None,
        path=path,
        condition=condition,
    )


def _resumed(first: Frame, frames: Frames) -> Frames:
    try:
        yield first
        yield from frames
    finally:
        frames.close()


def _announced(container: Any, stream: Any, fps: float) -> tuple[int, float]:
    """Return how many frames a file says that it has, and seconds before which they cannot end."""
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
        return stream.frames or round(seconds * fps), seconds - 1 / fps
    if container.duration and not container.streams.audio:
        seconds = container.duration / av.time_base
        return stream.frames or round(seconds * fps), (1 - TOLERANCE) * seconds - 1 / fps
    return stream.frames, 0.0


def _frames(
    container: Any, stream: Any, path: Path, condition: Condition, total: int, least: float
) -> Frames:
    stream.thread_type = "AUTO"
    first: float | None = None
    given, end = 0, 0.0
    with container:
        start = time.perf_counter()
        for decoded in _decoded(container, stream, condition):
            image = upright(decoded)
            at = _seconds(decoded, given, stream)
            first = at if first is None else first
            duration = float(decoded.duration * decoded.time_base) if decoded.duration else None
            end = at - first + (duration or 0)
            spent = 1e3 * (time.perf_counter() - start)
            yield Frame(f"{path.stem}-{given:06d}.png", image, at - first, spent, duration)
            given += 1
            start = time.perf_counter()
    if given and condition.damaged:
        log.info("%s: %d damaged frames were skipped", path, condition.damaged)
    # A film may have fewer frames than places for them, but not end before its time.
    if end < least and given + condition.damaged < total:
        condition.failure = f"{path}: {given} of {total} frames; the file is cut short"


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
        # Threads for so little wait for each other, and for the model's.
        image = frame.to_ndarray(format="bgr24", threads=1)
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
