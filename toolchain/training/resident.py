"""A whole dataset in a device's memory, and batches that are varied there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from toolchain.datasets.labels import LabelSet
from toolchain.datasets.surroundings import Pictures
from toolchain.settings.training_settings import TrainingSettings
from toolchain.training.batch_augmentation import BACKDROPS, BatchAugmentation
from toolchain.training.samples import (
    BYTES_PER_PIXEL,
    MEMORY_SHARE,
    Batch,
    EpochOrder,
    Samples,
    batches,
)

Change = Callable[[npt.NDArray[np.int64], np.random.Generator], Batch]


def fits(samples: Samples, device: torch.device) -> bool:
    """Tell whether a dataset takes at most half of the memory that a GPU has free."""
    needed = (len(samples) + BACKDROPS) * samples.size**2 * BYTES_PER_PIXEL
    return needed <= MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]


def upload(samples: Samples, device: torch.device) -> Batch:
    """Bring samples, not augmented, to a device: images uint8 ``[N, S, S, 3]`` and labels."""
    shape = (len(samples), samples.size, samples.size)
    images = torch.empty((*shape, 3), dtype=torch.uint8, device=device)
    labels = torch.empty(shape, dtype=torch.uint8, device=device)
    for index in range(len(samples)):
        sample = samples.read(index)
        images[index] = torch.from_numpy(sample.image)
        labels[index] = torch.from_numpy(sample.labels)
    return images, labels


@dataclass(frozen=True)
class Unchanged:
    """Images and labels as they are, of a device."""

    images: Tensor
    labels: Tensor

    def __call__(self, indices: npt.NDArray[np.int64], _: np.random.Generator) -> Batch:
        """Return those at some indices."""
        return self.images[indices], self.labels[indices]


class ResidentBatches:
    """Batches of samples that are on the device; a loader's place is taken by indices.

    What an epoch draws follows from the seed, the epoch and the number of the batch alone. A last
    batch that is not full is left out.

    Args:
        order: of the samples.
        batch_size: of a full one.
        seed: of what is drawn.
        change: makes the batch of some indices, drawing from a generator.
    """

    def __init__(self, order: EpochOrder, batch_size: int, seed: int, change: Change):
        self._order, self._seed, self._change = order, seed, change
        self._size = min(batch_size, len(order))

    def __len__(self) -> int:
        return len(self._order) // self._size

    def __iter__(self) -> Iterator[Batch]:
        indices = np.asarray([key[1] for key in self._order])
        epoch = self._order.epoch
        for number in range(len(self)):
            rng = np.random.default_rng((self._seed, epoch, number))
            yield self._change(indices[number * self._size :][: self._size], rng)


def training_batches(
    samples: Samples,
    order: EpochOrder,
    label_set: LabelSet,
    settings: TrainingSettings,
    device: torch.device,
    pictures: Pictures | None = None,
) -> DataLoader[Batch] | ResidentBatches:
    """Return the batches of epochs: of a GPU that can hold all images, made there.

    Args:
        samples: where they come from; varied by themselves only where a loader reads them.
        order: of the samples.
        label_set: of the labels.
        settings: of the training.
        device: that trains.
        pictures: draws those without a face; None: there are none.
    """
    if device.type != "cuda" or settings.workers is not None or not fits(samples, device):
        return batches(samples, order, settings.batch_size, settings.workers, device)
    images, labels = upload(samples, device)
    change: Change = Unchanged(images, labels)
    if settings.augment:
        change = BatchAugmentation(images, labels, label_set, settings, pictures, settings.seed)
    return ResidentBatches(order, settings.batch_size, settings.seed, change)
