"""Images, folders of them, and animations."""

import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from demo.sources.frames import DEFAULT_FPS, Array, Frame, Frames, Source
from export.system.errors import DataError
from export.system.numbers import MOST_PIXELS

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
PAPER = 255  # what shows through transparent pixels
SHORTEST_MS = 20  # GIFs that ask for less are shown at `UNSAID_MS` everywhere
UNSAID_MS = 100


def is_image(path: Path) -> bool:
    """Say whether a file is an image that OpenCV reads."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # at a name that is no text OpenCV ends the process
        return path.suffix.lower() in IMAGE_SUFFIXES
    return bool(cv2.haveImageReader(str(path)))


def is_animated(path: Path) -> bool:
    """Say whether a file is an image that moves: GIF, WebP, PNG. Pages of a TIFF do not."""
    try:
        with _opened(path) as image:
            return image.format in ("GIF", "WEBP", "PNG") and getattr(image, "n_frames", 1) > 1
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return False


def read_image(path: Path) -> Array:
    """Read an image as uint8 [H, W, 3] BGR, turned upright, transparent pixels white.

    Raises:
        DataError: it is not an image, is damaged or too large.
    """
    if _has_alpha(path):
        try:
            with _opened(path) as image:
                return _opaque(ImageOps.exif_transpose(image))
        except (OSError, SyntaxError, ValueError):
            raise _damaged(path) from None
    try:
        content = np.fromfile(path, np.uint8)  # see `is_image`
    except OSError:
        raise _damaged(path) from None
    pixels = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if pixels is None:
        raise _damaged(path)
    return pixels


def open_image(path: Path) -> Source:
    """Open one image."""
    return Source("image", path.stem, _images([path]), total=1, path=path)


def open_folder(path: Path) -> Source:
    """Open the images of a folder, in natural order: 9 before 10.

    Raises:
        DataError: there are none.
    """
    paths = sorted(
        (
            file
            for file in path.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        ),
        key=natural_order,
    )
    if not paths:
        raise DataError(path, f"holds no images ({' '.join(IMAGE_SUFFIXES)})")
    return Source("folder", path.resolve().name, _images(paths), total=len(paths), path=path)


def open_animation(path: Path) -> Source:
    """Open an animated GIF, WebP or PNG as a video."""
    with _opened(path) as image:
        total = int(getattr(image, "n_frames", 1))
        seconds = 0.0
        for number in range(total):
            image.seek(number)
            seconds += _duration(image)
    return Source(
        "video", path.stem, _animation(path, total), fps=total / seconds, total=total, path=path
    )


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by their value."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (0, part.lower()) for part in parts]


def _images(paths: list[Path]) -> Frames:
    for index, path in enumerate(paths):
        start = time.perf_counter()
        image = read_image(path)
        yield Frame(path.name, image, index / DEFAULT_FPS, 1e3 * (time.perf_counter() - start))


def _animation(path: Path, total: int) -> Frames:
    timestamp = 0.0
    with _opened(path) as image:
        for number in range(total):
            start = time.perf_counter()
            try:
                image.seek(number)
                pixels = _opaque(image)
            except (OSError, EOFError, SyntaxError, ValueError):
                raise _damaged(path) from None
            spent = 1e3 * (time.perf_counter() - start)
            duration = _duration(image)
            yield Frame(f"{path.stem}-{number:06d}.png", pixels, timestamp, spent, duration)
            timestamp += duration


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image of which no file of some kilobytes makes gigabytes of memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise _too_large(path)
        yield image


def _duration(image: Image.Image) -> float:
    # A WebP tells how long its frame is shown only once that has been decoded.
    image.load()
    milliseconds = float(image.info.get("duration", 0))
    return (milliseconds if milliseconds >= SHORTEST_MS else UNSAID_MS) / 1e3


def _has_alpha(path: Path) -> bool:
    try:
        with _opened(path) as image:
            return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return False


def _opaque(image: Image.Image) -> Array:
    layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, (PAPER, PAPER, PAPER, 255))
    pixels = np.asarray(Image.alpha_composite(paper, layer).convert("RGB"))
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)


def _too_large(path: Path) -> DataError:
    return DataError(path, f"has more than {MOST_PIXELS // 10**6} million pixels; shrink it")


def _damaged(path: Path) -> DataError:
    return DataError(path, "cannot be read as an image; it may be damaged")
