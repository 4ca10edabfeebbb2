"""Which image is for what: the one authority, for every command and every kind of dataset.

A source's training images are cut into parts by a hash of the sample's name, so that the parts are
disjoint whoever asks, and adding images moves none of the others:

============  =======  ==========================================================================
part          percent  what it is for
============  =======  ==========================================================================
train         rest     weights: ``pretrain``, ``train`` and the long trainings of ``rank``
search-train  18       the short trainings of a search's candidates
search-score  8        choosing: scores of candidates, the epoch of ``best.pt``
calibration   4        int8: ranges of activations, parts that stay in float
val           10       figures; the source's own where it has one, and then nothing is cut off
test          none     figures; where the source has its own
============  =======  ==========================================================================

Nothing is chosen by ``val`` or ``test``: what is reported on them was seen by nobody.
"""

from collections.abc import Container
from hashlib import blake2b
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Literal, get_args

from export.system.errors import DataError
from toolchain.datasets.base import FaceDataset, join
from toolchain.datasets.photographs import Photographs
from toolchain.datasets.registry import open_dataset

Part = Literal["train", "search-train", "search-score", "calibration", "val", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
PERCENT: dict[Part, int] = {"calibration": 4, "search-score": 8, "search-train": 18, "val": 10}
"""Percent of a source's training images; ``train`` has the rest."""
ALL = "all"
"""In place of a part: every image of the source."""


def open_part(spec: str, part: Part, kind: str | None = None, least: int = 1) -> FaceDataset:
    """Open one part of a dataset.

    Args:
        spec: a folder, or ``synthetic:COUNT[:SEED]``.
        part: which.
        kind: of the dataset; recognised when None.
        least: how many images it must have.

    Raises:
        DataError: there is no such part, or it has too few images.
        UsageError: see `open_dataset`.
    """
    source = open_dataset(spec, kind=kind)
    if part in source.splits and part != "train":
        chosen = open_dataset(spec, part, kind)
        return _require(chosen, spec, part, least, len(chosen), 100)
    if part == "test":
        raise DataError(
            spec, "has no test images of its own; --split val takes those that are held out"
        )
    own_val = "val" in source.splits
    training = open_dataset(spec, "train", kind) if source.splits else source
    mine = [i for i, name in enumerate(training.names) if part_of(name, own_val=own_val) == part]
    cut = {name: share for name, share in PERCENT.items() if not (own_val and name == "val")}
    percent = cut.get(part, 100 - sum(cut.values()))
    return _require(training.subset(mine), spec, part, least, len(training), percent)


def open_for_figures(
    spec: str, part: str | None = None, kind: str | None = None
) -> tuple[FaceDataset, str]:
    """Open the images that figures are of, and say which part they are.

    Args:
        spec: a folder, or ``synthetic:COUNT[:SEED]``.
        part: one of `PARTS`, or `ALL`; None: test where the source has one, else val.
        kind: of the dataset; recognised when None.

    Raises:
        DataError: there is no such part.
    """
    if part == ALL:
        return open_dataset(spec, kind=kind), ALL
    if part is None:
        part = "test" if "test" in open_dataset(spec, kind=kind).splits else "val"
    assert part in PARTS
    return open_part(spec, part, kind), part


def open_calibration(
    spec: str, count: int, without: Container[int] = (), kind: str | None = None
) -> FaceDataset:
    """Open the images that int8 is made by: the part ``calibration``, and of ``train`` if more.

    Args:
        spec: a folder, one of photographs alone too, or ``synthetic:COUNT[:SEED]``.
        count: how many images, at most.
        without: fingerprints (`FaceDataset.fingerprint`) of images that must not be among them,
            because the result will be judged on them.
        kind: of the dataset; recognised when None.

    Raises:
        DataError: there is no such image.
    """
    if kind is None and Photographs.are_in(spec):
        pool = _by_hash(Photographs(Path(spec)))
    else:
        parts: tuple[Part, Part] = ("calibration", "train")
        pool = join(*(_by_hash(open_part(spec, part, kind, least=0)) for part in parts))
    free = (index for index in range(len(pool)) if pool.fingerprint(index) not in without)
    chosen = tuple(islice(free, count))
    if not chosen:
        raise DataError(
            spec,
            "has no images for calibration that are not judged too; give another --calibration",
        )
    return pool.subset(chosen)


def part_of(name: str, *, own_val: bool) -> Part:
    """Return the part of a training image.

    Args:
        name: of the sample; folders in front of the last slash do not count.
        own_val: the source has images for val, so that none are cut off for it.
    """
    place = _hash(name) % 100
    for part, percent in PERCENT.items():
        if place < percent:
            return "train" if part == "val" and own_val else part
        place -= percent
    return "train"


def first(dataset: FaceDataset, count: int | None) -> FaceDataset:
    """Return ``count`` samples, or all if there are no more, chosen by a hash of their names.

    The choice looks random, a smaller one lies within a larger one, and images that are added
    replace few of it.
    """
    if count is None or count >= len(dataset):
        return dataset
    return dataset.subset(sorted(_order(dataset)[:count]))


def _by_hash(dataset: FaceDataset) -> FaceDataset:
    return dataset.subset(_order(dataset))


def _order(dataset: FaceDataset) -> list[int]:
    return sorted(range(len(dataset)), key=lambda i: (_hash(dataset.names[i], b"first"), i))


def _hash(name: str, purpose: bytes = b"part") -> int:
    stem = name.rpartition("/")[2].encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(stem, digest_size=8, person=purpose).digest(), "big")


def _require(
    dataset: FaceDataset, spec: str, part: Part, least: int, source: int, percent: int
) -> FaceDataset:
    if len(dataset) >= least:
        return dataset
    # By chance a part gets fewer than its share: two standard deviations are room enough.
    wanted = least if percent == 100 else ceil((least + 2 * least**0.5 + 1) * 100 / percent)
    raise DataError(
        spec,
        f"has {source} images, of which {len(dataset)} are in its part {part}; {least} are needed "
        f"there: about {wanted} images in all",
    )
