"""What all candidates of a search share, computed once.

Images and labels at the search's size, the pretrained encoders and what they make of the images,
the teacher's outputs. Stage 0 of a candidate's training then costs the decoder alone.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from export.onnx_file.writing import normalise
from export.system.console import track
from toolchain.datasets.base import FaceDataset, check_labelled
from toolchain.datasets.labels import LabelSet
from toolchain.datasets.splits import Part, first, open_part
from toolchain.genotype import Genotype
from toolchain.networks.encoders import build_encoder, describe_encoder
from toolchain.networks.encoders.modules import Encoder
from toolchain.networks.segmenter import build_segmenter
from toolchain.networks.torch_file import read_torch
from toolchain.search.shared_arrays import Array, SharedArrays
from toolchain.search.trial import LONGER
from toolchain.settings.base import array_digest
from toolchain.settings.search_settings import EvaluationSettings
from toolchain.training.device import on_device, torch_device
from toolchain.training.initialisation import load_initial_weights, settle_batch_norms
from toolchain.training.losses import class_weights, resize_logits, shrink_labels
from toolchain.training.samples import Samples
from toolchain.training.training_loss import load_teacher

LABEL_STRIDE = 4
FEWEST_SCORED = 8
ROLES = ("train", "score")
_COMMON = "common.pt"


@dataclass(frozen=True)
class CachedImages:
    """The images of one role at one working size, by arrays that may lie in shared memory.

    Attributes:
        images: uint8 [N, H, W, 3].
        labels: uint8 [N, S, S], at the size of the search whatever the working size: what
            candidates of all working sizes are scored on.
        small_labels: uint8 [N, h, w], at stride 4 of the images.
        features: an encoder's taps by its name, float16 [n, h, w, C] each, of the first n <= N.
        targets: logits of the teacher at the size of the small labels, float16 [N, h, w, K].
    """

    images: Tensor
    labels: Tensor
    small_labels: Tensor
    features: dict[str, list[Tensor]]
    targets: Tensor | None


@dataclass(frozen=True)
class FeatureCache:
    """Everything that candidates train and are scored on.

    Attributes:
        label_set: of the data.
        encoders: pretrained, in evaluation mode, by name.
        class_weights: for the loss.
        sides: of the images in pixels, by working size; None is that of the input.
        arrays: all arrays, by name.
    """

    label_set: LabelSet
    encoders: dict[str, Encoder]
    class_weights: Tensor
    sides: dict[int | None, int]
    arrays: dict[str, Array]

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(self.label_set.classes)

    def images(self, role: str, working_size: int | None = None) -> CachedImages:
        """Return the images of a role, ``train`` or ``score``, as tensors."""
        side = self.sides[working_size]

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(self.arrays[f"{role}.{name}"])

        return CachedImages(
            tensor(f"images@{side}"),
            tensor("labels"),
            tensor(f"small_labels@{side}"),
            {
                name: [tensor(f"features.{name}.{tap}@{side}") for tap in range(len(_taps(name)))]
                for name in self.encoders
            },
            tensor(f"targets@{side}") if f"{role}.targets@{side}" in self.arrays else None,
        )

    def digests(self) -> dict[str, str]:
        """Return digests of what candidates train and are scored on, by a name for messages."""
        kinds = [*(f"images@{side}" for side in dict.fromkeys(self.sides.values())), "labels"]
        return {
            f"--data (images to {role} on)": array_digest(
                self.arrays[f"{role}.{kind}"] for kind in kinds
            )
            for role in ROLES
        }

    @classmethod
    def open(cls, folder: Path) -> "FeatureCache":
        """Open what `fill_cache` has put into a folder."""
        common = read_torch(folder / _COMMON)
        encoders = {}
        for name, state in common["encoders"].items():
            with torch.random.fork_rng(devices=[]):
                encoders[name] = build_encoder(name).eval()
            encoders[name].load_state_dict(state)
        label_set = LabelSet(**common["label_set"])
        arrays = SharedArrays(folder).load()
        return cls(label_set, encoders, common["class_weights"], common["sides"], arrays)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle mapped files as what is in them."""
        arrays = {name: np.asarray(array) for name, array in self.arrays.items()}
        return self.__dict__ | {"arrays": arrays}


def _taps(encoder: str) -> tuple[int, ...]:
    return tuple(describe_encoder(encoder).taps)


@dataclass(frozen=True)
class SearchImages:
    """The images of a search, before they are read.

    Attributes:
        train: to train candidates on.
        score: to score candidates on; behind the first ``scored`` follow those for scoring again.
        scored: how many every candidate is scored on.
    """

    train: FaceDataset
    score: FaceDataset
    scored: int

    @classmethod
    def open(
        cls,
        data: str,
        kind: str | None,
        settings: EvaluationSettings,
        parts: tuple[Part, Part],
        *,
        again: bool,
    ) -> "SearchImages":
        """Open two parts of a dataset.

        Args:
            data: folder or ``synthetic:COUNT[:SEED]``.
            kind: of the dataset; recognised when None.
            settings: how many images are wanted at most.
            parts: to train on and to score on.
            again: take further images, for scoring again.

        Raises:
            DataError: a part has too few images, fewer than a batch or than `FEWEST_SCORED`.
        """
        train = open_part(data, parts[0], kind, least=settings.batch_size)
        score = open_part(data, parts[1], kind, least=FEWEST_SCORED)
        few = first(score, settings.search_validation)
        many = first(score, settings.search_validation * (LONGER if again else 1))
        names = list(score.names)
        order = [names.index(name) for name in few.names]
        order += [i for i, name in enumerate(names) if name in {*many.names} - {*few.names}]
        return cls(first(train, settings.search_images), score.subset(order), len(few))

    def shapes(
        self, settings: EvaluationSettings, encoders: Sequence[str], *, teacher: bool
    ) -> Iterator[tuple[str, tuple[int, ...], type]]:
        """List the arrays of the cache: name, shape, kind."""
        size, sides = settings.search_size, dict.fromkeys(settings.sides.values())
        classes = len(self.train.label_set.classes)
        for role, count, featured in (
            ("train", len(self.train), len(self.train)),
            ("score", len(self.score), self.scored),
        ):
            yield f"{role}.labels", (count, size, size), np.uint8
            for side in sides:
                small = -(-side // LABEL_STRIDE)
                yield f"{role}.images@{side}", (count, side, side, 3), np.uint8
                yield f"{role}.small_labels@{side}", (count, small, small), np.uint8
                for encoder in encoders:
                    for tap, channels in enumerate(_taps(encoder)):
                        grid = -(-side // (LABEL_STRIDE << tap))
                        name = f"{role}.features.{encoder}.{tap}@{side}"
                        yield name, (featured, grid, grid, channels), np.float16
                if teacher and role == "train":
                    yield f"{role}.targets@{side}", (count, small, small, classes), np.float16

    def bytes_needed(
        self, settings: EvaluationSettings, encoders: Sequence[str], *, teacher: bool
    ) -> dict[str, int]:
        """Say how many bytes the cache takes: images, features, targets of the teacher."""
        result = {"images": 0, "features": 0, "targets": 0}
        for name, shape, kind in self.shapes(settings, encoders, teacher=teacher):
            part = name.split(".")[1].partition("@")[0]
            result[part if part in result else "images"] += prod(shape) * np.dtype(kind).itemsize
        return result


def fill_cache(
    shared: SharedArrays,
    images: SearchImages,
    settings: EvaluationSettings,
    encoders: Sequence[str],
    weights: Mapping[str, Path],
    teacher: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> FeatureCache:
    """Compute what candidates share, for all workers.

    Args:
        shared: where the arrays go.
        images: of the search.
        settings: their sizes.
        encoders: names of the encoders that candidates may use.
        weights: initial weights by encoder; none: random.
        teacher: checkpoint whose outputs candidates imitate.
        device: torch device that computes.
        seed: of random encoders.

    Raises:
        DataError: a file of weights or data does not fit.
    """
    computer = torch_device(device)
    size, label_set = settings.search_size, images.train.label_set
    classes = len(label_set.classes)
    arrays = {
        name: shared.new(name, shape, kind)
        for name, shape, kind in images.shapes(settings, encoders, teacher=teacher is not None)
    }
    distinct = list(dict.fromkeys(settings.sides.values()))
    imitated = load_teacher(teacher, label_set.classes, computer) if teacher else None
    for role, dataset in zip(ROLES, (images.train, images.score), strict=True):
        _fill_images(arrays, role, dataset, size, distinct)
        check_labelled(dataset, counts=bool((arrays[f"{role}.labels"] < classes).any()))
    pixels = np.zeros(classes, np.int64)
    for labels in arrays["train.labels"]:
        pixels += np.bincount(labels.ravel(), minlength=classes)[:classes]
    sample = normalise(torch.from_numpy(arrays[f"train.images@{max(distinct)}"][:32]))
    pretrained = {
        name: _pretrained(name, classes, weights.get(name), sample, seed) for name in encoders
    }
    for name, encoder in pretrained.items():
        encode = on_device(copy.deepcopy(encoder), computer)
        for role, side in product(ROLES, distinct):
            taps = range(len(_taps(name)))
            outputs = [arrays[f"{role}.features.{name}.{tap}@{side}"] for tap in taps]
            _fill(outputs, arrays[f"{role}.images@{side}"], encode, computer, settings.batch_size)
    for side in distinct if teacher else ():
        targets = arrays[f"train.targets@{side}"]
        imitate = partial(_targets, imitated, targets.shape[1:3])
        _fill([targets], arrays[f"train.images@{side}"], imitate, computer, settings.batch_size)
    common = {
        "label_set": asdict(label_set),
        "class_weights": class_weights(pixels, power=0.5, limit=5.0),
        "encoders": {name: encoder.state_dict() for name, encoder in pretrained.items()},
        "sides": settings.sides,
    }
    torch.save(common, shared.folder / _COMMON)
    return FeatureCache.open(shared.folder)


def _fill_images(
    arrays: dict[str, Array], role: str, dataset: FaceDataset, size: int, sides: Sequence[int]
) -> None:
    samples = Samples(dataset, size, keep=False)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        reading = pool.map(lambda index: samples[0, index], range(len(samples)))
        for index, (image, labels) in enumerate(track(reading, "reading images", len(samples))):
            arrays[f"{role}.labels"][index] = labels.numpy()
            for side in sides:
                # As the file of a network averages its image down to the working size.
                shrunk = cv2.resize(image.numpy(), (side, side), interpolation=cv2.INTER_AREA)
                small = arrays[f"{role}.small_labels@{side}"]
                arrays[f"{role}.images@{side}"][index] = shrunk
                small[index] = shrink_labels(labels[None], small.shape[1:])[0].numpy()


@torch.no_grad()
def _fill(
    outputs: Sequence[Array], images: Array, network: Any, device: torch.device, batch: int
) -> None:
    """Write what a network makes of as many images as there is room for, channels last."""
    count = len(outputs[0])
    starts = range(0, count, batch)
    for start in track(starts, "computing features, batches", len(starts)):
        chunk = torch.from_numpy(images[start : min(start + batch, count)]).to(device)
        for output, values in zip(outputs, network(normalise(chunk)), strict=True):
            output[start : start + len(chunk)] = values.permute(0, 2, 3, 1).half().cpu().numpy()


def _targets(teacher: Any, shape: Sequence[int], images: Tensor) -> list[Tensor]:
    return [resize_logits(teacher(images), shape)]


def _pretrained(
    name: str, classes: int, weights: Path | None, sample: Tensor, seed: int
) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_segmenter(Genotype.parse("9 [0, 3]"), name, classes)
    if weights:
        load_initial_weights(network, weights, sample)
    else:
        settle_batch_norms(network.encoder, sample)
    return network.encoder.eval()
