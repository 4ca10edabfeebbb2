"""Judging one candidate in seconds: a short training on cached features, then on images.

After Nekrasov et al., CVPR 2019, section 3.4, and Lyu et al., 2023: stage 0 trains the decoder on
features that the pretrained encoder gave once for the whole search; stage 1 trains encoder and
decoder together. Every candidate starts from the same pretrained encoder.
"""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from export.errors import NastoolError, UsageError
from export.onnx import normalise
from toolchain.datasets.base import FaceDataset
from toolchain.genotype import Genotype
from toolchain.networks.decoder import Decoder
from toolchain.networks.encoders.modules import Encoder
from toolchain.networks.segmenter import Segmenter, build_segmenter
from toolchain.training.device import on_device, torch_device
from toolchain.training.initialisation import load_initial_weights
from toolchain.training.losses import (
    AUXILIARY_WEIGHT,
    DISTILLATION_WEIGHT,
    AuxiliaryHeads,
    class_weights,
    cross_entropy,
    distillation_loss,
    shrink_labels,
    upsample,
)
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.objective import load_teacher
from toolchain.training.polyak import PolyakAverage
from toolchain.training.samples import Samples

GRADIENT_NORM = 3.0
LABEL_STRIDE = 4


class CandidateError(NastoolError):
    """A candidate could not be judged; the message is the reason."""


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
class Evaluation:
    """What is known of a candidate after its short training.

    Attributes:
        score: mean F1 of the parts that occur, 0..1.
        split: seconds by phase: ``stage0``, ``stage1``, ``validation``.
    """

    score: float
    split: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds of all phases."""
        return sum(self.split.values())


@dataclass
class _Split:
    """Images uint8 [N, H, W, 3] and labels uint8 [N, H, W] of one part of the data."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, dataset: FaceDataset, size: int) -> "_Split":
        samples = Samples(dataset, size)
        pairs = [samples[0, index] for index in range(len(samples))]
        return cls(torch.stack([i for i, _ in pairs]), torch.stack([t for _, t in pairs]))


class CandidateEvaluator:
    """Judges candidates on one dataset; holds images, features and teacher outputs in memory.

    Args:
        dataset: training data of the user; its own validation split is never touched. It is cut
            into a part to train on and one to score on.
        encoders: names of the encoders that candidates may use.
        weights: initial weights of each encoder, in the same order; none: random.
        teacher: checkpoint whose outputs candidates imitate.
        device: torch device.
        seed: of the choice of images and of all training.

    Raises:
        UsageError: too few images, unknown parts, or not as many weights as encoders.
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
        self.settings, self.seed = settings, seed
        self.label_set = dataset.label_set
        self._device = torch_device(device)
        self._parts = _part_numbers(settings.parts, self.label_set.classes)
        if weights and len(weights) != len(encoders):
            raise UsageError(f"{len(weights)} --weights for {len(encoders)} --encoder")

        train, validation = _divide(dataset, settings, seed)
        self._train = _Split.of(train, settings.size)
        self._validation = _Split.of(validation, settings.size)
        stride_size = [-(-settings.size // LABEL_STRIDE)] * 2
        self._small_labels = shrink_labels(self._train.labels, stride_size)
        pixels = torch.bincount(self._train.labels.flatten(), minlength=self.classes).numpy()
        self._class_weights = class_weights(pixels, power=0.5, limit=5.0).to(self._device)
        self._targets = self._teacher_outputs(teacher)
        self._encoders = {
            name: self._pretrained(name, weights[position] if weights else None)
            for position, name in enumerate(encoders)
        }
        self._features = {name: self._encode(encoder) for name, encoder in self._encoders.items()}

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(self.label_set.classes)

    @property
    def cached_bytes(self) -> int:
        """Memory that images, features and targets take."""
        tensors = [t for features in self._features.values() for t in features]
        tensors += [s for split in (self._train, self._validation) for s in vars(split).values()]
        tensors += [self._targets] if self._targets is not None else []
        return sum(tensor.nbytes for tensor in tensors)

    def __call__(self, genotype: Genotype, encoder: str, number: int = 0) -> Evaluation:
        """Train a candidate briefly and score it.

        Args:
            genotype: the decoder.
            encoder: one of the encoders given.
            number: varies the random start and order between candidates.

        Raises:
            CandidateError: the loss is not finite, or memory ran out.
        """
        try:
            # The caller's random state stays as it is.
            with torch.random.fork_rng():
                torch.manual_seed(self.seed * 1_000_003 + number)
                return self._judge(genotype, encoder)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise CandidateError(f"out of memory: {str(error).splitlines()[0]}") from None
        except RuntimeError as error:
            # The CPU allocator has no exception type of its own.
            if "memory" in str(error):
                raise CandidateError(f"out of memory: {str(error).splitlines()[0]}") from None
            raise

    def _judge(self, genotype: Genotype, encoder: str) -> Evaluation:
        network = build_segmenter(genotype, encoder, self.classes)
        network.encoder.load_state_dict(self._encoders[encoder].state_dict())
        network = on_device(network, self._device)
        heads = AuxiliaryHeads(genotype.cells, network.aggregation, self.classes).to(self._device)
        split = {}
        start = time.perf_counter()
        network.decoder = self._stage0(network, heads, self._features[encoder])
        split["stage0"] = -start + (start := time.perf_counter())
        judged: nn.Module = network
        if self.settings.joint_epochs:
            judged = self._stage1(network, heads)
        split["stage1"] = -start + (start := time.perf_counter())
        score = self._score(judged)
        split["validation"] = time.perf_counter() - start
        return Evaluation(score, split)

    def _stage0(self, network: Segmenter, heads: nn.Module, features: list[Tensor]) -> Decoder:
        """Train the decoder alone on features; return its Polyak average, ready to train on."""
        decoder = network.decoder.train()
        average = PolyakAverage(decoder, 0.9)
        parameters = [*decoder.parameters(), *heads.parameters()]
        optimiser = torch.optim.Adam(parameters, 1e-2, weight_decay=1e-5)
        for batch, progress in self._steps(self.settings.decoder_epochs):
            _set_rate(optimiser, 1e-2, progress)
            logits, merges = decoder.forward_with_merges(
                [feature[batch].to(self._device).float() for feature in features]
            )
            self._step(optimiser, parameters, self._loss(logits, merges, heads, batch))
            average.update(decoder)
        assert isinstance(average.network, Decoder)
        return average.network.requires_grad_(True)

    def _stage1(self, network: Segmenter, heads: nn.Module) -> nn.Module:
        """Train encoder and decoder on images; return the Polyak average of the network."""
        network.train()
        average = PolyakAverage(network, 0.99)
        encoder = torch.optim.SGD(
            network.encoder.parameters(), 1e-2, momentum=0.9, weight_decay=1e-5
        )
        rest = [*network.decoder.parameters(), *heads.parameters()]
        decoder = torch.optim.Adam(rest, 3e-3, weight_decay=1e-5)
        for batch, progress in self._steps(self.settings.joint_epochs):
            _set_rate(encoder, 1e-2, progress)
            _set_rate(decoder, 3e-3, progress)
            images = normalise(self._train.images[batch].to(self._device))
            logits, merges = network.decoder.forward_with_merges(network.features(images))
            encoder.zero_grad()
            parameters = [*network.encoder.parameters(), *rest]
            self._step(decoder, parameters, self._loss(logits, merges, heads, batch))
            encoder.step()
            average.update(network)
        return average.network

    def _steps(self, epochs: int) -> Iterator[tuple[Tensor, float]]:
        """Yield the image numbers of each step and the share of the stage that is done."""
        count, size = len(self._train.images), self.settings.batch_size
        steps = max(1, count // size)
        for epoch in range(epochs):
            order = torch.randperm(count)
            for step in range(steps):
                done = (epoch * steps + step) / (epochs * steps)
                yield order[step * size : (step + 1) * size], done

    def _loss(
        self, logits: Tensor, merges: list[Tensor], heads: nn.Module, batch: Tensor
    ) -> Tensor:
        assert isinstance(heads, AuxiliaryHeads)
        labels = self._small_labels[batch].to(self._device)
        loss = cross_entropy(logits, labels, self._class_weights)
        loss = loss + AUXILIARY_WEIGHT * heads.loss(merges, labels, self._class_weights)
        if self._targets is not None:
            target = self._targets[batch].to(self._device).float()
            loss = loss + DISTILLATION_WEIGHT * distillation_loss(logits, target)
        return loss

    def _step(
        self, optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Tensor
    ) -> None:
        if not math.isfinite(loss.item()):
            raise CandidateError("the loss is not finite")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, GRADIENT_NORM)
        optimiser.step()

    @torch.no_grad()
    def _score(self, network: nn.Module) -> float:
        network.eval()
        matrix = ConfusionMatrix(self.classes)
        size = self.settings.batch_size
        for images, labels in zip(
            self._validation.images.split(size), self._validation.labels.split(size), strict=True
        ):
            logits = network(normalise(images.to(self._device)))
            predictions = upsample(logits, labels.shape[1:]).argmax(1).cpu()
            matrix.update(labels.numpy(), predictions.numpy())
        scores = [f1 for part in self._parts if (f1 := matrix.f1[part]) is not None]
        return sum(scores) / len(scores) if scores else 0.0

    def _pretrained(self, name: str, weights: Path | None) -> Encoder:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            network = build_segmenter(Genotype.parse("9 [0, 1]"), name, self.classes)
        if weights:
            load_initial_weights(network, weights, normalise(self._train.images[:32]))
        return network.encoder.eval()

    @torch.no_grad()
    def _encode(self, encoder: Encoder) -> list[Tensor]:
        self._check_memory(encoder)
        on_device = copy.deepcopy(encoder).to(self._device)
        chunks = [
            [tap.half().cpu() for tap in on_device(normalise(images.to(self._device)))]
            for images in self._train.images.split(self.settings.batch_size)
        ]
        return [
            torch.cat(taps).contiguous(memory_format=torch.channels_last)
            for taps in zip(*chunks, strict=True)
        ]

    def _check_memory(self, encoder: Encoder) -> None:
        pixels = (self.settings.size / LABEL_STRIDE) ** 2
        taps = encoder.description.taps
        needed = (
            2
            * len(self._train.images)
            * sum(channels * pixels / 4**tap for tap, channels in enumerate(taps))
        )
        free = psutil.virtual_memory().available
        if needed > 0.8 * free:
            raise UsageError(
                f"the features of {len(self._train.images)} images need {needed / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB are free; lower --search-images or --search-size"
            )

    @torch.no_grad()
    def _teacher_outputs(self, path: Path | None) -> Tensor | None:
        """Return the teacher's logits at the search's resolution, at the stride of the labels."""
        if path is None:
            return None
        teacher = load_teacher(path, self.label_set.classes, self.settings.size, self._device)
        size = self._small_labels.shape[1:]
        return torch.cat(
            [
                upsample(teacher(normalise(images.to(self._device))), size).half().cpu()
                for images in self._train.images.split(self.settings.batch_size)
            ]
        )


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, progress: float) -> None:
    """Polynomial decay of power 0.9 (Chen et al., DeepLab, 2017)."""
    for group in optimiser.param_groups:
        group["lr"] = peak * (1 - progress) ** 0.9


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


def _part_numbers(parts: Sequence[str], classes: Sequence[str]) -> list[int]:
    unknown = [part for part in parts if part not in classes]
    if unknown:
        raise UsageError(f"no part is named {unknown[0]!r}; the data has {', '.join(classes)}")
    return [classes.index(part) for part in parts] or list(range(1, len(classes)))
