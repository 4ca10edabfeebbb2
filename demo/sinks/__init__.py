"""Where drawn frames go: a video, an image or a folder, encoded in a thread."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from demo.sinks.pictures import has_writer, save_image, to_folder
from demo.sinks.videos import FORMATS, open_video_sink
from demo.sources import Frame, Source
from export.system.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]
Write = Callable[[Frame, Array], None]

BEHIND = 4  # drawn frames that may wait to be encoded


@contextmanager
def open_sink(
    output: Path, source: Source, write_ms: MutableSequence[float], labels: bytes | None = None
) -> Iterator[Write]:
    """Yield a function that takes a frame and its drawn picture, and returns at once.

    The file name decides: a suffix of `FORMATS` is a video, an image's suffix an image, anything
    without a suffix (or an existing folder) a folder of images. Videos and images appear whole: a
    video when the block ends, or not at all when it raises; on a full disk as far as it came.

    Args:
        output: where to write.
        source: where the frames come from; its own files are never overwritten.
        write_ms: receives the time that encoding each frame took.
        labels: the frames are label maps, uint8 [H, W]; this is their palette, three bytes each.

    Raises:
        UsageError: the name does not fit the source.
        DataError: the output cannot be written.
    """
    suffix = output.suffix.lower()
    if _overwrites(output, source):
        raise UsageError(f"{output}: would overwrite the source; give --output another name")
    if output.is_dir() or not suffix:
        with in_background(to_folder(output, labels), write_ms) as write:
            yield write
    elif labels and suffix != ".png":
        raise UsageError(f"{output}: label maps are PNG files; give a folder, or a name in .png")
    elif suffix in FORMATS:
        sound = source.path if source.kind == "video" else None
        with (
            open_video_sink(output, source.fps, sound) as encode,
            in_background(encode, write_ms) as write,
        ):
            yield write
    elif not has_writer(output):
        raise UsageError(
            f"{output}: unknown format; give {' '.join(FORMATS)}, an image or a folder"
        )
    elif source.total != 1:
        raise UsageError(f"{output}: is one image, the source has more; give a folder or a video")
    else:
        with in_background(lambda _, image: save_image(output, image, labels), write_ms) as write:
            yield write


def _overwrites(output: Path, source: Source) -> bool:
    if source.path is None:
        return False
    path, origin = output.resolve(), source.path.resolve()
    if source.kind == "folder":
        return origin in (path, path.parent)
    # An image keeps its name in an output folder.
    return path == origin or (source.kind == "image" and path == origin.parent)


@contextmanager
def in_background(write: Write, write_ms: MutableSequence[float]) -> Iterator[Write]:
    """Yield a function that hands over to ``write`` in a thread, and raises what that raised."""
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
