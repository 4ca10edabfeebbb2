"""Samples on their way into a network: one size, in memory when they fit, in batches."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from export.machine.environment import free_memory
from export.machine.processor import usable_cores
from export.onnx_file.writing import normalise
from export.system.console import track
from export.system.interrupts import ignore_signals
from toolchain.datasets.base import FaceDataset, Pixels, Sample, resize_sample


class Augment(Protocol):
    """Varies a sample by chance."""

    def __call__(
        self, sample: Sample, rng: np.random.Generator, *, other: Callable[[], Sample]
    ) -> Sample:
        """Return the changed sample; ``other`` draws another one of the dataset."""


Batch = tuple[Tensor, Tensor]
Key = tuple[int, ...]
"""Number of the epoch, of the sample, and, if the epoch has it again, for which time."""
MEMORY_SHARE = 0.5
MOST_WORKERS = 16
_CPU = torch.device("cpu")
BYTES_PER_PIXEL = 4  # red, green, blue, label


class Samples(Dataset[Batch]):
    """Samples of one size, for networks that take ``size`` x ``size`` pixels.

    They are read and resized once and kept, if that takes at most half of the memory that is free;
    otherwise they are read again each time.

    Args:
        dataset: where they come from.
        size: width and height in pixels.
        augment: varies a sample; None leaves them as they are.
        seed: of what is drawn.
        keep: False never keeps them, for samples that are read once.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        size: int,
        augment: Augment | None = None,
        seed: int = 0,
        keep: bool = True,
    ):
        self.dataset, self.size, self.augment, self.seed = dataset, size, augment, seed
        needed = len(dataset) * size * size * BYTES_PER_PIXEL
        self.kept = keep and needed <= MEMORY_SHARE * free_memory()
        self._samples: list[Sample] = []
        if self.kept:
            # Decoding leaves Python's lock alone, so threads are enough here.
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                reading = pool.map(self._read, range(len(dataset)))
                self._samples += track(reading, "reading images", len(dataset))

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> Sample:
        """Return sample ``index`` resized, not augmented."""
        return self._samples[index] if self.kept else self._read(index)

    def __getitem__(self, key: Key) -> Batch:
        """Return image uint8 [H, W, 3] and labels uint8 [H, W] of a key.

        Augmentation draws from a generator of the seed and the key alone: whatever process reads
        the sample, and however often training was stopped, it is the same.
        """
        sample = self.read(key[1])
        if self.augment is not None:
            rng = np.random.default_rng((self.seed, *key))
            others = len(self)
            sample = self.augment(sample, rng, other=lambda: self.read(int(rng.integers(others))))
        return torch.from_numpy(sample.image), torch.from_numpy(sample.labels)

    def pixels(self, limit: int = 500) -> npt.NDArray[np.int64]:
        """Count the pixels of each class in ``limit`` samples, spread over the dataset."""
        count = min(limit, len(self))
        classes = len(self.dataset.label_set.classes)
        return sum(
            (
                np.bincount(self.read(index).labels.ravel(), minlength=classes)[:classes]
                for index in np.linspace(0, len(self) - 1, count).astype(int).tolist()
            ),
            start=np.zeros(classes, np.int64),
        )

    def holds(self) -> npt.NDArray[np.bool_]:
        """Tell which classes each sample holds, ``[samples, classes]``."""
        classes = len(self.dataset.label_set.classes)
        held = np.zeros((len(self), classes), bool)
        for index in range(len(self)):
            held[index] = np.bincount(self.read(index).labels.ravel(), minlength=classes)[:classes]
        return held

    def _read(self, index: int) -> Sample:
        return resize_sample(self.dataset.read(index), self.size)


def any_image(samples: Samples, rng: np.random.Generator) -> Pixels:
    """Draw the image of one of some samples, uint8 ``[size, size, 3]``."""
    return samples.read(int(rng.integers(len(samples)))).image


def repeat_factors(held: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.float64]:
    """How often samples are to be shown, so that rare classes are seen more; 1 on average.

    Gupta et al., "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019, section
    4.1: a class that a share f of the images hold is shown sqrt(share / f) as often, an image as
    often as its rarest class. Here all factors are divided by their mean.

    Args:
        held: which classes each sample holds, ``[samples, classes]``.
        share: classes that fewer images hold are rare; 0: none is.
    """
    frequency = held.mean(0)
    of_class = np.sqrt(np.maximum(1, share / np.maximum(frequency, 1 / len(held))))
    factors = np.where(held, of_class, 1.0).max(1)
    return factors / factors.mean()


class EpochOrder(Sampler[Key]):
    """The keys of `Samples` in the order of one epoch: shuffled by seed and epoch, or as they are.

    Args:
        count: of the samples, and of an epoch's keys.
        shuffle: draw the order.
        seed: of what is drawn.
        factors: how often samples come, 1 on average, drawn anew each epoch where they are no whole
            numbers; None: each once.

    Attributes:
        epoch: the next epoch to be read; the caller sets it.
    """

    def __init__(
        self,
        count: int,
        shuffle: bool,
        seed: int = 0,
        factors: npt.NDArray[np.float64] | None = None,
    ):
        self.count, self.shuffle, self.seed, self.epoch = count, shuffle, seed, 0
        self.factors = factors

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Key]:
        rng = np.random.default_rng((self.seed, self.epoch))
        keys: list[Key] = [(self.epoch, index) for index in range(self.count)]
        if self.factors is not None:
            # Evenly spaced marks over the sum of the factors: a sample comes floor or ceil times.
            ends = np.floor(np.cumsum(self.factors) + rng.random())
            ends[-1] = self.count
            times = np.diff(ends, prepend=0).astype(int).tolist()
            keys = [
                (self.epoch, index, *([turn] if turn else []))
                for index, many in enumerate(times)
                for turn in range(many)
            ]
        order = np.arange(self.count)
        if self.shuffle:
            rng.shuffle(order)
        return (keys[place] for place in order.tolist())


def batches(
    samples: Samples,
    order: EpochOrder,
    batch_size: int,
    workers: int | None = 0,
    device: torch.device = _CPU,
) -> DataLoader[Batch]:
    """Make a loader of batches: images uint8 ``[N, H, W, 3]``, labels uint8 ``[N, H, W]``.

    A last batch that is not full is left out of shuffled epochs, where its few samples would
    upset batch norm.

    Args:
        samples: where they come from.
        order: of the samples.
        batch_size: of a full one.
        workers: processes that prepare them; None: as many as a GPU needs to be kept busy, and on
            a CPU, which has no time of its own to wait in, none.
        device: where batches go next.
    """
    gpu = device.type == "cuda"
    if workers is None:
        workers = min(MOST_WORKERS, usable_cores() - 1) if gpu else 0
    return DataLoader(
        samples,
        batch_size=min(batch_size, len(samples)),
        sampler=order,
        drop_last=order.shuffle,
        num_workers=workers,
        pin_memory=gpu,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
    )


def some_images(dataset: FaceDataset, size: int) -> Tensor:
    """Return images by which weights are set, normalised, float ``[N, 3, H, W]``.

    They are the first of a dataset, at most 32, and have ``size`` pixels a side, at most 256.
    """
    some = Samples(dataset.subset(range(min(32, len(dataset)))), min(size, 256), keep=False)
    return normalise(torch.stack([some[0, index][0] for index in range(len(some))]))


def _start_worker(_: int) -> None:
    ignore_signals()
    cv2.setNumThreads(0)
