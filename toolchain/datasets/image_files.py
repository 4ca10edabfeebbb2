"""Reading image and mask files: from anywhere, bounded, with errors that name the file."""

import unicodedata
import warnings
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from export.system.errors import DataError
from export.system.files import read_bytes, read_text
from export.system.numbers import MOST_PIXELS
from toolchain.datasets.base import Pixels, Split
from toolchain.datasets.labels import IGNORED, LabelSet

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LARGEST_FILE = 512 * 2**20
"""Bytes."""
_SIXTEEN_BITS = ("I;16", "I;16B", "I")
"""Modes of greys, as different versions of Pillow call them."""
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_ORIENTATION = 0x0112
"""The tag of EXIF 2.32 that says how a picture is to be turned; 1 leaves it as it is."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What it doubts is refused here, or does not matter.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_image(path: Path) -> Pixels:
    """Read an image as uint8 [H, W, 3] RGB, turned upright by its EXIF orientation.

    Raises:
        DataError: the file is missing, unreadable, truncated or too large.
    """
    return np.array(_upright(_grey_of_8_bits(_loaded(path))).convert("RGB"))


def read_mask(path: Path) -> Pixels:
    """Read a mask as uint8 [H, W]: palette index, grey value, or 0 and 1 of a bilevel file.

    Like an image it is turned upright by its EXIF orientation. Greys of 16 bits are labels too.

    Raises:
        DataError: the file is missing, unreadable, truncated, too large, a colour picture, a JPEG,
            or has greys above 255.
    """
    picture = _loaded_mask(path)
    if picture.mode not in ("P", "L", "1", *_SIXTEEN_BITS):
        raise DataError(path, f"has mode {picture.mode}; a mask is a palette or grey image")
    values = np.array(_upright(picture))
    if (highest := int(values.max(initial=0))) > IGNORED:
        raise DataError(path, f"has grey {highest}; labels end at {IGNORED}")
    return values.astype(np.uint8)


def read_grey(path: Path) -> Pixels:
    """Read the mask of one part, a picture of any mode, as grey values, uint8 [H, W].

    Raises:
        DataError: the file is missing, unreadable, truncated, too large or a JPEG.
    """
    return np.array(_grey_of_8_bits(_loaded_mask(path)).convert("L"))


def open_picture(path: Path) -> Image.Image:
    """Open a picture without decoding its pixels.

    Raises:
        DataError: the file is missing, no picture, or too large.
    """
    if not path.is_file():
        raise DataError(path, "is missing" if not path.exists() else "is not a file")
    content = BytesIO(read_bytes(path, LARGEST_FILE))
    try:
        picture = Image.open(content, formats=_FORMATS)
        pixels = picture.width * picture.height
    except Image.DecompressionBombError:
        pixels = MOST_PIXELS + 1
    except Exception as error:
        raise _unreadable(path, error) from None
    if pixels > MOST_PIXELS:
        raise DataError(path, f"has more than {MOST_PIXELS // 10**6} million pixels; shrink it")
    return picture


def orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # at odd EXIF Pillow raises whatever its parsing met
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def fit_image(path: Path, mask: Pixels, image: Pixels) -> Pixels:
    """Return an image at the size of its mask: as it is, or averaged down by a whole number.

    Args:
        path: of the mask.
        mask: [H, W].
        image: [k H, k W, 3].

    Raises:
        DataError: the sizes are others.
    """
    (height, width), (below, beside) = image.shape[:2], mask.shape
    times = height // below
    if times and (height, width) == (times * below, times * beside):
        whole = (beside, below)
        return image if times == 1 else cv2.resize(image, whole, interpolation=cv2.INTER_AREA)
    sizes = f"is {describe_size(mask)} but its image is {describe_size(image)}"
    raise DataError(path, f"{sizes}; make them one size, or the mask a whole number smaller")


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
    """Map the stem of each image file in ``folder``, `composed`, to its path, sorted by stem.

    Hidden files are none: a Mac leaves a ``._NAME`` beside each file on other systems' disks.

    Raises:
        DataError: the folder is missing or has no image, or two images share a stem.
    """
    if not folder.is_dir():
        raise DataError(folder, "is not a folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (_natural(path.stem), path.suffix)):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if (stem := composed(path.stem)) in found:
                raise DataError(path, f"shares its stem with {found[stem].name}; remove one")
            found[stem] = path
    if not found:
        raise DataError(folder, f"has no image ({', '.join(IMAGE_SUFFIXES)})")
    return found


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without blank ones.

    Raises:
        DataError: the file is missing, not text or empty.
    """
    lines = read_text(path).splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise DataError(path, "is empty")
    return lines


def find(stem: str, files: dict[str, Path], needed_by: Path) -> Path:
    """Return the file of ``files`` (see `list_images`) with this stem.

    Raises:
        DataError: there is none.
    """
    if (stem := composed(stem)) not in files:
        folder = next(iter(files.values())).parent
        raise DataError(folder / f"{stem}.*", f"is missing; {needed_by} needs it")
    return files[stem]


def composed(stem: str) -> str:
    """Return a name with letters that are one character each: in a Mac's copy accents are apart."""
    return unicodedata.normalize("NFC", stem)


def require_split(root: Path, split: Split | None, splits: tuple[Split, ...]) -> None:
    """Raise DataError if ``split`` is not one of those that ``root`` has."""
    if split is not None and split not in splits:
        raise DataError(root, f"has no split {split}; it has {', '.join(splits)}")


def _natural(stem: str) -> tuple[int, int, str]:
    # 2 before 10, numbers before words.
    return (0, int(stem), stem) if stem.isascii() and stem.isdigit() else (1, 0, stem)


def _loaded(path: Path) -> Image.Image:
    picture = open_picture(path)
    try:
        picture.load()
    except Exception as error:
        raise _unreadable(path, error) from None
    return picture


def _loaded_mask(path: Path) -> Image.Image:
    picture = _loaded(path)
    if picture.format == "JPEG":
        raise DataError(
            path, "is a JPEG, which changes labels where they meet; make masks PNG files anew"
        )
    return picture


def _unreadable(path: Path, error: Exception) -> DataError:
    """Make an error of what Pillow raises on broken files, which is of every kind."""
    unknown = isinstance(error, UnidentifiedImageError)
    problem = "of no format that is known" if unknown else str(error) or type(error).__name__
    return DataError(path, f"cannot be read as an image ({problem})")


def _upright(picture: Image.Image) -> Image.Image:
    turn = _TURNS.get(orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _grey_of_8_bits(picture: Image.Image) -> Image.Image:
    """Keep the upper 8 of 16 bits, as OpenCV does; Pillow would cut off what is above 255."""
    if picture.mode not in _SIXTEEN_BITS:
        return picture
    grey = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    grey.info = picture.info
    return grey
