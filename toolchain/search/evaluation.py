"""Judging one candidate in seconds: a short training on cached features, then on images.

After Nekrasov et al., CVPR 2019, section 3.4, and Lyu et al., 2023: stage 0 trains the decoder on
features that the pretrained encoder gave once for the whole search; stage 1 trains encoder and
decoder together. Every candidate starts from the same pretrained encoder.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from export.errors import NastoolError, UsageError
from export.onnx import normalise
from toolchain.genotype import Genotype
from toolchain.networks.decoder import Decoder
from toolchain.networks.segmenter import Segmenter, build_segmenter
from toolchain.search.memory import EvaluationSettings, SearchMemory
from toolchain.training.device import on_device
from toolchain.training.losses import (
    AUXILIARY_WEIGHT,
    DISTILLATION_WEIGHT,
    AuxiliaryHeads,
    cross_entropy,
    distillation_loss,
    upsample,
)
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.polyak import PolyakAverage

GRADIENT_NORM = 3.0


class CandidateError(NastoolError):
    """A candidate could not be judged; the message is the reason."""


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


class CandidateEvaluator:
    """Judges candidates on the images of one search.

    Args:
        memory: images, features, encoders.
        settings: how much a candidate is trained.
        seed: of all training.

    Raises:
        UsageError: unknown parts.
    """

    def __init__(self, memory: SearchMemory, settings: EvaluationSettings, seed: int = 0):
        self.memory, self.settings, self.seed = memory, settings, seed
        self._parts = _part_numbers(settings.parts, memory.label_set.classes)

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
        network = build_segmenter(genotype, encoder, self.memory.classes)
        network.encoder.load_state_dict(self.memory.encoders[encoder].state_dict())
        network = on_device(network, self.memory.device)
        heads = AuxiliaryHeads(genotype.cells, network.aggregation, self.memory.classes).to(
            self.memory.device
        )
        split = {}
        start = time.perf_counter()
        network.decoder = self._stage0(network, heads, self.memory.features[encoder])
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
                [feature[batch].to(self.memory.device).float() for feature in features]
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
            images = normalise(self.memory.train.images[batch].to(self.memory.device))
            logits, merges = network.decoder.forward_with_merges(network.features(images))
            encoder.zero_grad()
            parameters = [*network.encoder.parameters(), *rest]
            self._step(decoder, parameters, self._loss(logits, merges, heads, batch))
            encoder.step()
            average.update(network)
        return average.network

    def _steps(self, epochs: int) -> Iterator[tuple[Tensor, float]]:
        """Yield the image numbers of each step and the share of the stage that is done."""
        count, size = len(self.memory.train.images), self.settings.batch_size
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
        labels = self.memory.small_labels[batch].to(self.memory.device)
        loss = cross_entropy(logits, labels, self.memory.class_weights)
        loss = loss + AUXILIARY_WEIGHT * heads.loss(merges, labels, self.memory.class_weights)
        if self.memory.targets is not None:
            target = self.memory.targets[batch].to(self.memory.device).float()
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
        matrix = ConfusionMatrix(self.memory.classes)
        size = self.settings.batch_size
        for images, labels in zip(
            self.memory.validation.images.split(size),
            self.memory.validation.labels.split(size),
            strict=True,
        ):
            logits = network(normalise(images.to(self.memory.device)))
            predictions = upsample(logits, labels.shape[1:]).argmax(1).cpu()
            matrix.update(labels.numpy(), predictions.numpy())
        scores = [f1 for part in self._parts if (f1 := matrix.f1[part]) is not None]
        return sum(scores) / len(scores) if scores else 0.0


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, progress: float) -> None:
    """Polynomial decay of power 0.9 (Chen et al., DeepLab, 2017)."""
    for group in optimiser.param_groups:
        group["lr"] = peak * (1 - progress) ** 0.9


def _part_numbers(parts: Sequence[str], classes: Sequence[str]) -> list[int]:
    unknown = [part for part in parts if part not in classes]
    if unknown:
        raise UsageError(f"no part is named {unknown[0]!r}; the data has {', '.join(classes)}")
    return [classes.index(part) for part in parts] or list(range(1, len(classes)))
