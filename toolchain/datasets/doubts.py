"""What is probably wrong with one's own images and masks, though they can be read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from export.errors import DataError
from toolchain.datasets.base import Pixels
from toolchain.datasets.image_files import read_mask
from toolchain.datasets.labels import CELEBAMASK_HQ, LabelSet

LOOKED_AT = 24
"""Pairs, spread over the data, that are looked at."""
_ORIENTATION = 0x0112
"""The tag of EXIF 2.32 that says how a picture is to be turned; 1 leaves it as it is."""

Pair = tuple[Path, Path]


def doubts(files: Sequence[Pair], label_set: LabelSet) -> list[str]:
    """Say what is probably wrong, each kind once, in a line that names a file and a remedy.

    Args:
        files: pairs of image and mask.
        label_set: what the labels are taken for.
    """
    places = np.unique(np.linspace(0, len(files) - 1, LOOKED_AT).astype(int)).tolist()
    some = [files[place] for place in places]
    kinds = [_lossy(some), _turned(some)]
    if label_set == CELEBAMASK_HQ:
        kinds.append(_hair_for_neck(some))
    return [line for kind in kinds if (line := next(kind, None))]


def _lossy(pairs: Sequence[Pair]) -> Iterator[str]:
    for _, mask in pairs:
        if mask.suffix.lower() in (".jpg", ".jpeg"):
            yield f"{mask}: is a JPEG, which changes labels where they meet; make masks PNG files"


def _turned(pairs: Sequence[Pair]) -> Iterator[str]:
    for pair in pairs:
        try:
            image, mask = map(_orientation, pair)
        except OSError:  # whoever reads the file says so
            continue
        if image != mask:
            yield (
                f"{pair[0]}: EXIF orientation {image} turns it, {pair[1].name} has {mask}: look "
                "whether the mask fits the upright image, and save both without EXIF"
            )


def _orientation(path: Path) -> int:
    with Image.open(path) as picture:
        return int(picture.getexif().get(_ORIENTATION, 1))


def _hair_for_neck(pairs: Sequence[Pair]) -> Iterator[str]:
    """Masks whose neck is above the skin, where most are like that."""
    neck, skin = (CELEBAMASK_HQ.classes.index(name) for name in ("neck", "skin"))
    above, both = [], 0
    for _, path in pairs:
        try:
            mask = read_mask(path)
        except DataError:
            continue
        if (mask == neck).any() and (mask == skin).any():
            both += 1
            above += [path] if _height(mask == neck) < _height(mask == skin) else []
    if len(above) > both / 2:
        yield (
            f"{above[0]}: its label {neck} lies above the skin, like hair; here it is neck, and "
            "hair is 13: renumber the masks, or say what the labels are in a labels.json"
        )


def _height(there: Pixels) -> float:
    """Return the mean row of what is True, from the top."""
    return float(np.flatnonzero(there.any(1)).mean())
