"""What all candidates of a search share, prepared once and held in memory.

Images and labels at the search's size, the pretrained encoders and what they make of the images,
the teacher's outputs. Stage 0 of a candidate's training then costs the decoder alone.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor

from export.errors import UsageError
from export.onnx import normalise
from toolchain.datasets.base import FaceDataset
from toolchain.genotype import Genotype
from toolchain.networks.encoders.modules import Encoder
from toolchain.networks.segmenter import build_segmenter
from toolchain.training.device import torch_device
from toolchain.training.initialisation import load_initial_weights
from toolchain.training.losses import class_weights, shrink_labels, upsample
from toolchain.training.objective import load_teacher
from toolchain.training.samples import Samples

LABEL_STRIDE = 4
MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class EvaluationSettings:
    """How much a candidate is trained before it is judged.

    Attributes:
        size: side of the images, pixels. Whole faces, shrunk.
        images: images for training; more cost time in proportion.
        validation_images: other images of the same split, for the score.
        decoder_epochs: passes of stage 0 (decoder alone, on cached features).
        joint_epochs: passes of stage 1 (encoder and decoder, on images).
        batch_size: images a step.
        parts: names of the classes whose F1 are averaged; empty: all but background.
    """

    size: int = 192
    images: int = 320
    validation_images: int = 80
    decoder_epochs: int = 2
    joint_epochs: int = 1
    batch_size: int = 16
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """Images uint8 [N, H, W, 3] and labels uint8 [N, H, W]."""

    images: Tensor
    labels: Tensor


class SearchMemory:
    """Everything that candidates train and are scored on.

    Attributes:
        train: images to train on.
        validation: images to score on.
        small_labels: the training labels at stride 4, int64 [N, h, w].
        class_weights: for the loss.
        encoders: pretrained, in evaluation mode, by name.
        features: taps of the training images by encoder, float16 [N, C, h, w] each.
        targets: logits of the teacher for the training images, float16 [N, K, h, w], or None.

    Args:
        dataset: training data of the user; its own validation split is never touched. It is cut
            into a part to train on and one to score on.
        settings: sizes and numbers.
        encoders: names of the encoders that candidates may use.
        weights: initial weights of each encoder, in the same order; none: random.
        teacher: checkpoint whose outputs candidates imitate.
        device: torch device.
        seed: of the choice of images and of random encoders.

    Raises:
        UsageError: too few images, not as many weights as encoders, or too little memory.
        DataError: a file of weights or data does not fit.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        settings: EvaluationSettings,
        encoders: Sequence[str],
        weights: Sequence[Path] = (),
        teacher: Path | None = None,
        device: str = "cpu",
        seed: int = 0,
    ):
        if weights and len(weights) != len(encoders):
            raise UsageError(f"{len(weights)} --weights for {len(encoders)} --encoder")
        self.label_set, self.device = dataset.label_set, torch_device(device)
        self._batch, self._seed = settings.batch_size, seed
        train, validation = _divide(dataset, settings, seed)
        self.train, self.validation = _load(train, settings.size), _load(validation, settings.size)
        small = [-(-settings.size // LABEL_STRIDE)] * 2
        self.small_labels = shrink_labels(self.train.labels, small)
        pixels = torch.bincount(self.train.labels.flatten(), minlength=self.classes).numpy()
        self.class_weights = class_weights(pixels, power=0.5, limit=5.0).to(self.device)
        self.encoders = {
            name: self._pretrained(name, weights[position] if weights else None)
            for position, name in enumerate(encoders)
        }
        self.features = {name: self._encode(encoder) for name, encoder in self.encoders.items()}
        self.targets = self._imitated(teacher, settings.size) if teacher else None

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(self.label_set.classes)

    @property
    def nbytes(self) -> int:
        """Bytes that images, labels, features and targets take."""
        tensors = [tap for features in self.features.values() for tap in features]
        for pictures in (self.train, self.validation):
            tensors += [pictures.images, pictures.labels]
        if self.targets is not None:
            tensors.append(self.targets)
        return sum(tensor.nbytes for tensor in tensors)

    def _pretrained(self, name: str, weights: Path | None) -> Encoder:
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            network = build_segmenter(Genotype.parse("9 [0, 3]"), name, self.classes)
        if weights:
            load_initial_weights(network, weights, normalise(self.train.images[:32]))
        return network.encoder.eval()

    @torch.no_grad()
    def _encode(self, encoder: Encoder) -> list[Tensor]:
        self._check_room(encoder)
        on_device = copy.deepcopy(encoder).to(self.device)
        chunks = [
            [tap.half().cpu() for tap in on_device(normalise(images.to(self.device)))]
            for images in self.train.images.split(self._batch)
        ]
        return [
            torch.cat(taps).contiguous(memory_format=torch.channels_last)
            for taps in zip(*chunks, strict=True)
        ]

    def _check_room(self, encoder: Encoder) -> None:
        count, *_, size, _ = self.train.labels.shape
        values = sum(
            channels * (size / (LABEL_STRIDE << tap)) ** 2
            for tap, channels in enumerate(encoder.description.taps)
        )
        needed, free = 2 * count * values, psutil.virtual_memory().available
        if needed > MEMORY_SHARE * free:
            raise UsageError(
                f"the features of {count} images need {needed / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB are free; lower --search-images or --search-size"
            )

    @torch.no_grad()
    def _imitated(self, path: Path, size: int) -> Tensor:
        """Return the teacher's logits at the search's resolution, at the stride of the labels."""
        teacher = load_teacher(path, self.label_set.classes, size, self.device)
        chunks = [
            upsample(teacher(normalise(images.to(self.device))), self.small_labels.shape[1:])
            for images in self.train.images.split(self._batch)
        ]
        return torch.cat([chunk.half().cpu() for chunk in chunks])


def _load(dataset: FaceDataset, size: int) -> Pictures:
    samples = Samples(dataset, size)
    pairs = [samples[0, index] for index in range(len(samples))]
    images, labels = zip(*pairs, strict=True)
    return Pictures(torch.stack(images), torch.stack(labels))


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
