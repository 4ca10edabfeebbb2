"""Reading image and mask files, with errors that name the file."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from export.errors import DataError
from toolchain.datasets.base import Pixels, Split
from toolchain.datasets.labels import IGNORED, LabelSet

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_image(path: Path) -> Pixels:
    """Read an image as uint8 [H, W, 3] RGB, turned upright by its EXIF orientation.

    Raises:
        DataError: the file is missing, unreadable or truncated.
    """
    return np.array(ImageOps.exif_transpose(_open(path)).convert("RGB"))


def read_mask(path: Path) -> Pixels:
    """Read a mask as uint8 [H, W]: palette index, grey value, or 0 and 1 of a bilevel file.

    Like an image it is turned upright by its EXIF orientation.

    Raises:
        DataError: the file is missing, unreadable, truncated or a colour picture.
    """
    picture = _open(path)
    if picture.mode not in ("P", "L", "1"):
        raise DataError(path, f"has mode {picture.mode}; a mask is an 8-bit palette or grey image")
    return np.array(ImageOps.exif_transpose(picture)).astype(np.uint8)


def read_grey(path: Path) -> Pixels:
    """Read a picture of any mode as grey values, uint8 [H, W].

    Raises:
        DataError: the file is missing, unreadable or truncated.
    """
    return np.array(_open(path).convert("L"))


def check_size(path: Path, mask: Pixels, image: Pixels) -> None:
    """Check that the mask read from ``path`` is as large as its image; else raise DataError."""
    if mask.shape != image.shape[:2]:
        sizes = f"is {describe_size(mask)} but its image is {describe_size(image)}"
        raise DataError(path, f"{sizes}; make them one size")


def check_labels(path: Path, mask: Pixels, label_set: LabelSet) -> None:
    """Check that the mask read from ``path`` has labels of the set only; else raise DataError.

    `IGNORED` is in every set.
    """
    last = len(label_set.classes) - 1
    if (highest := int(mask.max(initial=0, where=mask != IGNORED))) > last:
        raise DataError(path, f"has label {highest}; those of {label_set.name} end at {last}")


def describe_size(picture: Pixels) -> str:
    """Return ``WIDTHxHEIGHT``."""
    return f"{picture.shape[1]}x{picture.shape[0]}"


def list_images(folder: Path) -> dict[str, Path]:
    """Map the stem of each image file in ``folder`` to its path, sorted by stem.

    Raises:
        DataError: the folder is missing or has no image, or two images share a stem.
    """
    if not folder.is_dir():
        raise DataError(folder, "is not a folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (_natural(path.stem), path.suffix)):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            if path.stem in found:
                raise DataError(path, f"shares its stem with {found[path.stem].name}; remove one")
            found[path.stem] = path
    if not found:
        raise DataError(folder, f"has no image ({', '.join(IMAGE_SUFFIXES)})")
    return found


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without blank ones.

    Raises:
        DataError: the file is missing, not text or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"cannot be read ({error})") from None
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise DataError(path, "is empty")
    return lines


def find(stem: str, files: dict[str, Path], needed_by: Path) -> Path:
    """Return the file of ``files`` (see `list_images`) with this stem.

    Raises:
        DataError: there is none.
    """
    if stem not in files:
        folder = next(iter(files.values())).parent
        raise DataError(folder / f"{stem}.*", f"is missing; {needed_by} needs it")
    return files[stem]


def require_split(root: Path, split: Split | None, splits: tuple[Split, ...]) -> None:
    """Raise DataError if ``split`` is not one of those that ``root`` has."""
    if split is not None and split not in splits:
        raise DataError(root, f"has no split {split}; it has {', '.join(splits)}")


def _natural(stem: str) -> tuple[int, int, str]:
    # 2 before 10, numbers before words.
    return (0, int(stem), stem) if stem.isascii() and stem.isdigit() else (1, 0, stem)


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(BytesIO(path.read_bytes()))
        picture.load()
    except FileNotFoundError:
        raise DataError(path, "is missing") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on broken files
        unknown = isinstance(error, UnidentifiedImageError)
        problem = "of no format that is known" if unknown else str(error)
        raise DataError(path, f"cannot be read as an image ({problem})") from None
    return picture
