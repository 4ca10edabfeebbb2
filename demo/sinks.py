"""Where drawn frames go: a video, an image or a folder, encoded in a thread."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from demo.sources import Frame, Source
from export.errors import DataError, UsageError
from export.files import whole_file

Array = np.ndarray[Any, np.dtype[Any]]
Write = Callable[[Frame, Array], None]

# What OpenCV's own packages can encode everywhere, by suffix.
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
BEHIND = 4  # drawn frames that may wait to be encoded


@contextmanager
def open_sink(output: Path, source: Source, write_ms: list[float]) -> Iterator[Write]:
    """Yield a function that takes a frame and its drawn picture, and returns at once.

    The file name decides: ``.mp4 .mov .mkv .avi`` is a video, an image's suffix an image, anything
    without a suffix (or an existing folder) a folder of images. Videos and images appear whole: a
    video when the block ends, or not at all when it raises.

    Args:
        output: where to write.
        source: where the frames come from; its own files are never overwritten.
        write_ms: receives the time that encoding each frame took.

    Raises:
        UsageError: the name does not fit the source.
        DataError: the output cannot be written.
    """
    suffix = output.suffix.lower()
    if _overwrites(output, source):
        raise UsageError(f"{output}: would overwrite the source; give --output another name")
    if output.is_dir() or not suffix:
        with _in_background(_to_folder(output), write_ms) as write:
            yield write
    elif suffix in CODECS:
        with (
            whole_file(output) as temporary,
            _video(temporary, output, source.fps) as encode,
            _in_background(encode, write_ms) as write,
        ):
            yield write
    elif not cv2.haveImageWriter(output.name):
        raise UsageError(f"{output}: unknown format; give {' '.join(CODECS)}, an image or a folder")
    elif source.total != 1:
        raise UsageError(f"{output}: is one image, the source has more; give a folder or a video")
    else:
        with _in_background(lambda _, image: save_image(output, image), write_ms) as write:
            yield write


def save_image(path: Path, image: Array) -> None:
    """Write an image, uint8 [H, W, 3] BGR, in the format of its suffix; whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    with whole_file(path) as temporary:
        if not cv2.imwrite(str(temporary), image):
            raise DataError(path, "cannot be written; choose another path")


def _overwrites(output: Path, source: Source) -> bool:
    if source.path is None:
        return False
    path, origin = output.resolve(), source.path.resolve()
    if source.kind == "folder":
        return origin in (path, path.parent)
    # An image keeps its name in an output folder.
    return path == origin or (source.kind == "image" and path == origin.parent)


def _to_folder(folder: Path) -> Write:
    def write(frame: Frame, image: Array) -> None:
        name = frame.name if cv2.haveImageWriter(frame.name) else f"{frame.name}.png"
        save_image(folder / name, image)

    return write


@contextmanager
def _video(path: Path, output: Path, fps: float) -> Iterator[Write]:
    writer = cv2.VideoWriter()
    size: tuple[int, int] | None = None
    written = 0

    def write(frame: Frame, image: Array) -> None:
        nonlocal size, written
        here = image.shape[1], image.shape[0]
        if size is None:
            size = here
            codec = cv2.VideoWriter.fourcc(*CODECS[output.suffix.lower()])
            if not writer.open(str(path), codec, fps, size):
                raise DataError(output, "this OpenCV cannot encode it; try .avi or a folder")
        if here != size:
            sizes = " and ".join(f"{width}x{height}" for width, height in (size, here))
            raise DataError(output, f"a video cannot hold {sizes}; write to a folder instead")
        # A camera's frames come at uneven times: repeat or leave out, so that the film keeps time.
        while written <= round(frame.timestamp * fps):
            writer.write(image)
            written += 1

    try:
        yield write
    finally:
        writer.release()


@contextmanager
def _in_background(write: Write, write_ms: list[float]) -> Iterator[Write]:
    waiting: queue.Queue[tuple[Frame, Array] | None] = queue.Queue(BEHIND)
    errors: list[Exception] = []

    def work() -> None:
        while (item := waiting.get()) is not None:
            if errors:
                continue  # keep taking, so that nobody waits for room
            start = time.perf_counter()
            try:
                write(*item)
            except Exception as error:
                errors.append(error)
            write_ms.append(1e3 * (time.perf_counter() - start))

    def put(frame: Frame, image: Array) -> None:
        if errors:
            raise errors[0]
        waiting.put((frame, image))

    thread = threading.Thread(target=work, name="write", daemon=True)
    thread.start()
    try:
        yield put
    finally:
        waiting.put(None)
        thread.join()
    if errors:
        raise errors[0]
