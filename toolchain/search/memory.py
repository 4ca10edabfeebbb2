"""What all candidates of a search share, prepared once.

Images and labels at the search's size, the pretrained encoders and what they make of the images,
the teacher's outputs. Stage 0 of a candidate's training then costs the decoder alone.
"""

import copy
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.console import track
from export.errors import UsageError
from export.onnx import normalise
from toolchain.datasets.base import FaceDataset
from toolchain.datasets.labels import LabelSet
from toolchain.genotype import Genotype
from toolchain.networks.encoders import describe_encoder
from toolchain.networks.encoders.modules import Encoder
from toolchain.networks.segmenter import build_segmenter
from toolchain.search.settings import EvaluationSettings
from toolchain.search.shelf import Array, Shelf
from toolchain.training.device import on_device, torch_device
from toolchain.training.initialisation import load_initial_weights
from toolchain.training.losses import class_weights, shrink_labels, upsample
from toolchain.training.objective import load_teacher
from toolchain.training.samples import Samples

LABEL_STRIDE = 4
SPLITS = ("train", "validation")
_COMMON = "common.pickle"


@dataclass(frozen=True)
class Pictures:
    """One part of the images, by arrays that may lie in shared memory.

    Attributes:
        images: uint8 [N, H, W, 3].
        labels: uint8 [N, H, W].
        small_labels: uint8 [N, h, w], at stride 4.
        features: an encoder's taps by its name, float16 [N, h, w, C] each.
        targets: logits of the teacher at the size of the small labels, float16 [N, h, w, K].
    """

    images: Tensor
    labels: Tensor
    small_labels: Tensor
    features: dict[str, list[Tensor]]
    targets: Tensor | None


@dataclass(frozen=True)
class SearchMemory:
    """Everything that candidates train and are scored on.

    Attributes:
        label_set: of the data.
        encoders: pretrained, in evaluation mode, by name.
        class_weights: for the loss.
        arrays: all arrays, by name.
    """

    label_set: LabelSet
    encoders: dict[str, Encoder]
    class_weights: Tensor
    arrays: dict[str, Array]

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(self.label_set.classes)

    def pictures(self, split: str) -> Pictures:
        """Return the images of a part, ``train`` or ``validation``, as tensors."""
        tensors = {
            name.removeprefix(f"{split}."): torch.from_numpy(array)
            for name, array in self.arrays.items()
            if name.startswith(f"{split}.")
        }
        features = {
            name: [tensors[f"features.{name}.{tap}"] for tap in range(len(_taps(name)))]
            for name in self.encoders
        }
        return Pictures(
            tensors["images"],
            tensors["labels"],
            tensors["small_labels"],
            features,
            tensors.get("targets"),
        )

    @classmethod
    def open(cls, folder: Path) -> "SearchMemory":
        """Open what `prepare_memory` has put into a folder."""
        common = pickle.loads((folder / _COMMON).read_bytes())
        return cls(**common, arrays=Shelf(folder).load())

    def __getstate__(self) -> dict[str, Any]:
        """Pickle mapped files as what is in them."""
        arrays = {name: np.asarray(array) for name, array in self.arrays.items()}
        return self.__dict__ | {"arrays": arrays}


def _taps(encoder: str) -> tuple[int, ...]:
    return tuple(describe_encoder(encoder).taps)


def _shapes(
    settings: EvaluationSettings, encoders: Sequence[str], classes: int, teacher: bool
) -> Iterator[tuple[str, tuple[int, ...], type]]:
    """List the arrays: name, shape, kind."""
    size = settings.size
    small = -(-size // LABEL_STRIDE)
    for split, count in zip(SPLITS, (settings.images, settings.validation_images), strict=True):
        yield f"{split}.images", (count, size, size, 3), np.uint8
        yield f"{split}.labels", (count, size, size), np.uint8
        yield f"{split}.small_labels", (count, small, small), np.uint8
        for encoder in encoders:
            for tap, channels in enumerate(_taps(encoder)):
                side = -(-size // (LABEL_STRIDE << tap))
                name = f"{split}.features.{encoder}.{tap}"
                yield name, (count, side, side, channels), np.float16
        if teacher and split == "train":
            yield f"{split}.targets", (count, small, small, classes), np.float16


def memory_bytes(
    settings: EvaluationSettings, encoders: Sequence[str], classes: int, teacher: bool = False
) -> dict[str, int]:
    """Say how many bytes a search's arrays take: images, features, targets of the teacher."""
    result = {"images": 0, "features": 0, "targets": 0}
    for name, shape, kind in _shapes(settings, encoders, classes, teacher):
        part = name.split(".")[1]
        result[part if part in result else "images"] += prod(shape) * np.dtype(kind).itemsize
    return result


def prepare_memory(
    shelf: Shelf,
    dataset: FaceDataset,
    settings: EvaluationSettings,
    encoders: Sequence[str],
    weights: Sequence[Path] = (),
    teacher: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> SearchMemory:
    """Compute what candidates share, on a shelf for all workers.

    Args:
        shelf: where the arrays go.
        dataset: training data of the user; its own validation split is never touched. It is cut
            into a part to train on and one to score on.
        settings: sizes and numbers.
        encoders: names of the encoders that candidates may use.
        weights: initial weights of each encoder, in the same order; none: random.
        teacher: checkpoint whose outputs candidates imitate.
        device: torch device that computes.
        seed: of the choice of images and of random encoders.

    Raises:
        UsageError: too few images, or not as many weights as encoders.
        DataError: a file of weights or data does not fit.
    """
    if weights and len(weights) != len(encoders):
        raise UsageError(f"{len(weights)} --weights for {len(encoders)} --encoder")
    computer = torch_device(device)
    divided = dict(zip(SPLITS, _divide(dataset, settings, seed), strict=True))
    classes = len(dataset.label_set.classes)
    arrays = {
        name: shelf.new(name, shape, kind)
        for name, shape, kind in _shapes(settings, encoders, classes, teacher is not None)
    }
    for split, images in divided.items():
        _fill_images(arrays, split, images, settings.size)
    pixels = np.zeros(classes, np.int64)
    for labels in arrays["train.labels"]:
        pixels += np.bincount(labels.ravel(), minlength=classes)
    sample = normalise(torch.from_numpy(arrays["train.images"][:32]))
    pretrained = {
        name: _pretrained(name, classes, weights[position] if weights else None, sample, seed)
        for position, name in enumerate(encoders)
    }
    for name, encoder in pretrained.items():
        encode = on_device(copy.deepcopy(encoder), computer)
        for split in SPLITS:
            outputs = [arrays[f"{split}.features.{name}.{tap}"] for tap in range(len(_taps(name)))]
            _fill(outputs, arrays[f"{split}.images"], encode, computer, settings.batch_size)
    if teacher:
        imitated = load_teacher(teacher, dataset.label_set.classes, settings.size, computer)
        targets = arrays["train.targets"]

        def shrunk(images: Tensor) -> list[Tensor]:
            return [upsample(imitated(images), targets.shape[1:3])]

        _fill([targets], arrays["train.images"], shrunk, computer, settings.batch_size)
    common = {
        "label_set": dataset.label_set,
        "class_weights": class_weights(pixels, power=0.5, limit=5.0),
        "encoders": pretrained,
    }
    (shelf.folder / _COMMON).write_bytes(pickle.dumps(common))
    return SearchMemory.open(shelf.folder)


def _fill_images(arrays: dict[str, Array], split: str, dataset: FaceDataset, size: int) -> None:
    samples = Samples(dataset, size, keep=False)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        reading = pool.map(lambda index: samples[0, index], range(len(samples)))
        for index, (image, labels) in enumerate(track(reading, "reading images", len(samples))):
            small = shrink_labels(labels[None], arrays[f"{split}.small_labels"].shape[1:])
            arrays[f"{split}.images"][index] = image.numpy()
            arrays[f"{split}.labels"][index] = labels.numpy()
            arrays[f"{split}.small_labels"][index] = small[0].numpy()


@torch.no_grad()
def _fill(
    outputs: Sequence[Array], images: Array, network: Any, device: torch.device, batch: int
) -> None:
    """Write what a network makes of images, channels last."""
    for start in range(0, len(images), batch):
        chunk = torch.from_numpy(images[start : start + batch]).to(device)
        for output, values in zip(outputs, network(normalise(chunk)), strict=True):
            output[start : start + batch] = values.permute(0, 2, 3, 1).half().cpu().numpy()


def _pretrained(
    name: str, classes: int, weights: Path | None, sample: Tensor, seed: int
) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_segmenter(Genotype.parse("9 [0, 3]"), name, classes)
    if weights:
        load_initial_weights(network, weights, sample)
    return network.encoder.eval()


def _divide(
    dataset: FaceDataset, settings: EvaluationSettings, seed: int
) -> tuple[FaceDataset, FaceDataset]:
    """Draw disjoint images to train on and to score on."""
    wanted = settings.images + settings.validation_images
    if len(dataset) < wanted:
        raise UsageError(
            f"the data has {len(dataset)} training images; the search wants {settings.images} "
            f"and {settings.validation_images} to score on: lower --search-images or "
            "--search-validation"
        )
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
    return (
        dataset.subset(sorted(order[: settings.images])),
        dataset.subset(sorted(order[settings.images : wanted])),
    )
