"""What a dataset of faces is: samples by index, with sizes and labels checked."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from os import SEEK_END
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from export.system.errors import DataError
from toolchain.datasets.labels import LabelSet

Pixels = NDArray[np.uint8]
Split = Literal["train", "val", "test"]
_PIECE = 16384


@dataclass(frozen=True)
class Sample:
    """One face.

    Attributes:
        name: unique in its dataset.
        image: uint8 [H, W, 3], RGB.
        labels: uint8 [H, W], each below the number of classes.
    """

    name: str
    image: Pixels
    labels: Pixels


class FaceDataset(ABC):
    """Faces by index. Reading has no side effects, so threads and processes may share one.

    Attributes:
        label_set: the meaning of the labels.
        licence: the terms of the images and masks, in one line.
        names: the samples' names, in order.
        splits: the splits that the source itself tells apart; empty where it has none.
            `toolchain.datasets.splits` says which image is for what.
        own_size: published figures are of each label map's own resolution.
        labelled: the labels say something.
    """

    label_set: LabelSet
    licence: str
    names: tuple[str, ...]
    own_size: bool = False
    labelled: bool = True
    splits: tuple[Split, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(index) for index in range(len(self)))

    @abstractmethod
    def read(self, index: int) -> Sample:
        """Read sample ``index`` (0 to len - 1) at its native size.

        Raises:
            DataError: a file is missing, unreadable, of another size or has a label out of range.
        """

    def doubts(self) -> list[str]:
        """Say what is probably wrong with the files, a line for each kind."""
        return []

    def subset(self, indices: Sequence[int]) -> "FaceDataset":
        """Return the samples at ``indices``, in that order."""
        return _Subset(self, indices)

    @abstractmethod
    def image_path(self, index: int) -> Path | None:
        """Return the file of sample ``index``'s image; None where it is drawn, not read."""

    def fingerprint(self, index: int) -> int:
        """Return 48 bits that tell the image of sample ``index`` from others, wherever it lies.

        Of a file they follow from its size, beginning and end; of a drawn image from its name.

        Raises:
            DataError: the file cannot be read.
        """
        path = self.image_path(index)
        bits = blake2b(digest_size=6)
        if path is None:
            bits.update(self.names[index].encode())
            return int.from_bytes(bits.digest(), "little")
        try:
            with path.open("rb") as file:
                size = file.seek(0, SEEK_END)
                bits.update(size.to_bytes(8, "little"))
                for start in (0, max(0, size - _PIECE)):
                    file.seek(start)
                    bits.update(file.read(_PIECE))
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from None
        return int.from_bytes(bits.digest(), "little")


class _Subset(FaceDataset):
    def __init__(self, dataset: FaceDataset, indices: Sequence[int]):
        self._dataset = dataset
        self._indices = tuple(indices)
        self.label_set, self.licence = dataset.label_set, dataset.licence
        self.own_size, self.labelled = dataset.own_size, dataset.labelled
        self.names = tuple(dataset.names[index] for index in self._indices)

    def read(self, index: int) -> Sample:
        return self._dataset.read(self._indices[index])

    def image_path(self, index: int) -> Path | None:
        return self._dataset.image_path(self._indices[index])


class _Joined(FaceDataset):
    def __init__(self, datasets: Sequence[FaceDataset]):
        self._places = tuple((dataset, i) for dataset in datasets for i in range(len(dataset)))
        self.label_set, self.licence = datasets[0].label_set, datasets[0].licence
        self.own_size = datasets[0].own_size
        self.labelled = all(dataset.labelled for dataset in datasets)
        self.names = tuple(dataset.names[i] for dataset, i in self._places)

    def read(self, index: int) -> Sample:
        dataset, place = self._places[index]
        return dataset.read(place)

    def image_path(self, index: int) -> Path | None:
        dataset, place = self._places[index]
        return dataset.image_path(place)


def join(*datasets: FaceDataset) -> FaceDataset:
    """Return the samples of one or more parts of a source, one part after the other."""
    return _Joined(datasets)


def check_labelled(dataset: FaceDataset, *, counts: bool) -> None:
    """Check that a dataset has anything to learn from or to be judged by.

    Args:
        dataset: whose masks were read.
        counts: whether any pixel of theirs has a label that counts.

    Raises:
        DataError: none has.
    """
    if not counts:
        raise DataError(
            dataset.image_path(0) or Path("--data"),
            f"the masks of this image and of the {len(dataset) - 1} others leave out every pixel; "
            "write the labels into them, 0 for the background",
        )


def resize_sample(sample: Sample, size: int) -> Sample:
    """Resize to ``size`` x ``size`` pixels; the proportions of an image that is not square change.

    The image is averaged over areas (down) or interpolated (up); labels take the nearest.
    """
    height, width = sample.labels.shape
    if height == width == size:
        return sample
    way = cv2.INTER_AREA if size < min(height, width) else cv2.INTER_LINEAR
    return Sample(
        sample.name,
        cv2.resize(sample.image, (size, size), interpolation=way),
        # NEAREST_EXACT samples pixel centres, as the image's ways do; plain NEAREST shifts.
        cv2.resize(sample.labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT),
    )
