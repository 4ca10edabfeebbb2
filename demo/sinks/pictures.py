"""Drawn frames as images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from demo.sources import Frame
from export.system.errors import DataError
from export.system.files import whole_file

Array = np.ndarray[Any, np.dtype[Any]]


def has_writer(name: str | Path) -> bool:
    """Say whether OpenCV writes images of such a suffix; it never sees names that are no text."""
    suffix = Path(name).suffix
    return suffix.isascii() and bool(cv2.haveImageWriter(f"a{suffix}"))


def save_image(path: Path, image: Array, labels: bytes | None = None) -> None:
    """Write an image in the format of its suffix; whole or not at all.

    Args:
        path: where.
        image: uint8 [H, W, 3] BGR, or [H, W] of labels.
        labels: their palette: the image is a PNG whose palette indices are the labels.

    Raises:
        DataError: it cannot be written.
    """
    with whole_file(path) as temporary:
        try:
            if labels:
                picture = Image.fromarray(image, "L")
                picture.putpalette(labels)
                picture.save(temporary)
                written = True
            else:
                # Not imwrite: at a name that is no text OpenCV ends the process.
                written, content = cv2.imencode(path.suffix, image)
                temporary.write_bytes(content.tobytes())
        except OSError as error:
            raise DataError(path, f"cannot be written ({error.strerror})") from None
        if not written:
            raise DataError(path, "cannot be written; choose another path")


def to_folder(folder: Path, labels: bytes | None = None) -> Callable[[Frame, Array], None]:
    """Return a function that writes each frame under its own name."""

    def write(frame: Frame, image: Array) -> None:
        name = frame.name if has_writer(frame.name) else f"{frame.name}.png"
        if labels:
            name = f"{Path(frame.name).stem}.png"
        save_image(folder / name, image, labels)

    return write
