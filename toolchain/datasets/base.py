"""What a dataset of faces is: samples by index, with sizes and labels checked."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from toolchain.datasets.labels import LabelSet

Pixels = NDArray[np.uint8]
Split = Literal["train", "val", "test"]


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
        splits: the splits that the source itself tells apart; empty where it has none, and then
            every ``split`` that is asked for is the whole dataset and the caller divides it
            with `split`.
    """

    label_set: LabelSet
    licence: str
    names: tuple[str, ...]
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

    def subset(self, indices: Sequence[int]) -> "FaceDataset":
        """Return the samples at ``indices``, in that order."""
        return _Subset(self, indices)

    def split(self, fraction: float, seed: int = 0) -> tuple["FaceDataset", "FaceDataset"]:
        """Hold out ``fraction`` of the samples, at random: return ``(kept, held_out)``.

        Both keep the order of the dataset and have at least one sample.

        Raises:
            ValueError: ``fraction`` is not between 0 and 1, or there are fewer than two samples.
        """
        if not 0 < fraction < 1 or len(self) < 2:
            raise ValueError(f"cannot hold out {fraction} of {len(self)} samples")
        count = min(max(round(fraction * len(self)), 1), len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self)).tolist()
        return self.subset(sorted(order[count:])), self.subset(sorted(order[:count]))


class _Subset(FaceDataset):
    def __init__(self, dataset: FaceDataset, indices: Sequence[int]):
        self._dataset = dataset
        self._indices = tuple(indices)
        self.label_set, self.licence = dataset.label_set, dataset.licence
        self.names = tuple(dataset.names[index] for index in self._indices)

    def read(self, index: int) -> Sample:
        return self._dataset.read(self._indices[index])


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
