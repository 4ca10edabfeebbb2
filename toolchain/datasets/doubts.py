"""What is probably wrong with one's own images and masks, though they can be read."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from export.system.errors import DataError
from toolchain.datasets.base import Pixels
from toolchain.datasets.image_files import open_picture, orientation, read_mask
from toolchain.datasets.labels import CELEBAMASK_HQ, IGNORED, LabelSet

LOOKED_AT = 24
"""Pairs, spread over the data, that are looked at."""

Pair = tuple[Path, Path]
Masks = Mapping[Path, Pixels]


def doubts(files: Sequence[Pair], label_set: LabelSet, label_file: Path) -> list[str]:
    """Say what is probably wrong, each kind once, in a line that names a file and a remedy.

    Args:
        files: pairs of image and mask.
        label_set: what the labels are taken for.
        label_file: that says so, or might.
    """
    places = np.unique(np.linspace(0, len(files) - 1, LOOKED_AT).astype(int)).tolist()
    some = [files[place] for place in places]
    masks = _readable(mask for _, mask in some)
    kinds = [_turned(some), _few_labels(masks, label_set, label_file)]
    if label_set == CELEBAMASK_HQ:
        kinds.append(_hair_for_neck(masks))
    return [line for kind in kinds if (line := next(kind, None))]


def _readable(paths: Iterator[Path]) -> Masks:
    masks = {}
    for path in paths:
        try:
            masks[path] = read_mask(path)
        except DataError:  # whoever reads it for a purpose says so
            continue
    return masks


def _turned(pairs: Sequence[Pair]) -> Iterator[str]:
    for pair in pairs:
        try:
            image, mask = (orientation(open_picture(path)) for path in pair)
        except DataError:
            continue
        if image != mask:
            yield (
                f"{pair[0]}: EXIF orientation {image} turns it, {pair[1].name} has {mask}: look "
                "whether the mask fits the upright image, and save both without EXIF"
            )


def _few_labels(masks: Masks, label_set: LabelSet, label_file: Path) -> Iterator[str]:
    """Masks with less than half of the labels that they may have."""
    found = {int(label) for mask in masks.values() for label in np.unique(mask)}
    found -= {IGNORED, label_set.ignored}
    classes = len(label_set.classes)
    if found and 2 * len(found) < classes:
        listed = ", ".join(map(str, sorted(found)))
        names = ", ".join(f'"name of {label}"' for label in range(max(found) + 1))
        yield (
            f"{next(iter(masks))}: the masks hold labels {listed} alone, but {label_set.name} has "
            f"{classes} classes; if yours are others, write "
            f'{label_file}: {{"name": "mine", "classes": [{names}]}}'
        )


def _hair_for_neck(masks: Masks) -> Iterator[str]:
    """Masks whose neck is above the skin, where most are like that."""
    neck, skin = (CELEBAMASK_HQ.classes.index(name) for name in ("neck", "skin"))
    above, both = [], 0
    for path, mask in masks.items():
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
