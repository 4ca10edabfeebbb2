"""Evaluating one candidate in seconds: a short training on cached features, then on images.

After Nekrasov et al., CVPR 2019, section 3.4, and Lyu et al., 2023: stage 0 trains the decoder on
features that the pretrained encoder gave once for the whole search; stage 1 trains encoder and
decoder together. Every candidate starts from the same pretrained encoder.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.optim import SGD, Adam, Optimizer

from export.onnx_file.writing import normalise
from export.system.errors import UsageError, is_out_of_memory
from toolchain.architecture import Architecture
from toolchain.networks.decoder import Decoder
from toolchain.networks.segmenter import build_segmenter
from toolchain.networks.units import shrink_dilations
from toolchain.search.algorithms.controller import trial_seed
from toolchain.search.feature_cache import CachedImages, FeatureCache
from toolchain.search.trial import Candidate, CandidateError, Evaluation, Failure
from toolchain.settings.search_settings import EvaluationSettings
from toolchain.training.averaging import averaged
from toolchain.training.device import on_device, torch_device
from toolchain.training.losses import (
    AuxiliaryHeads,
    PresenceBranch,
    cross_entropy,
    distillation_loss,
)
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.precision import MixedPrecision

PROBED = 3
"""Steps of a training by which its time is foretold."""
GRADIENT_NORM = 3.0
WEIGHT_DECAY = 1e-5


class CandidateEvaluator:
    """Evaluates candidates on the images of one search.

    All of them start from the same random state and see the images in the same order, so that two
    scores differ by the candidates and not by their luck.

    Args:
        cache: images, features, encoders.
        settings: how much a candidate is trained, and by what.
        seed: of all training.
        device: torch device that trains.

    Raises:
        UsageError: unknown parts.
    """

    def __init__(
        self, cache: FeatureCache, settings: EvaluationSettings, seed: int = 0, device: str = "cpu"
    ):
        self.cache, self.settings, self.seed = cache, settings, seed
        self.device = torch_device(device)
        self.train = {size: cache.images("train", size) for size in cache.sides}
        self.scored = {size: cache.images("score", size) for size in cache.sides}
        self.class_weights = cache.class_weights.to(self.device)
        self._parts = part_numbers(settings.parts, cache.label_set.classes)

    def __call__(self, candidate: Candidate) -> Evaluation:
        """Train a candidate briefly and score it.

        Raises:
            CandidateError: the loss is not finite, or memory ran out.
        """
        try:
            with self._own_chance():
                return _Training(self, candidate, self.settings).run()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise _out_of_memory(error) from None

    def forecast(self, architecture: Architecture) -> float:
        """Foretell by a few steps how many seconds the training of a candidate takes."""
        settings = self.settings
        few = {
            "decoder_epochs": min(1, settings.decoder_epochs),
            "joint_epochs": min(1, settings.joint_epochs),
        }
        probe = settings.model_copy(update=few)
        with self._own_chance():
            training = _Training(self, Candidate(0, architecture), probe, most_steps=PROBED)
            phases = training.run().phases
        steps = training.steps_an_epoch / min(PROBED, training.steps_an_epoch)
        stage0 = phases.get("stage0", 0.0) * steps * settings.decoder_epochs
        stage1 = phases.get("stage1", 0.0) * steps * settings.joint_epochs
        return stage0 + stage1 + phases["scoring"]

    @contextmanager
    def _own_chance(self) -> Iterator[None]:
        """Begin with the state that all candidates begin with; the caller's stays as it is."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(trial_seed(self.seed, 0))
            yield

    @torch.no_grad()
    def score(
        self, scored: CachedImages, logits_of: Callable[[Tensor], Tensor], *, every: bool = False
    ) -> float:
        """Return the mean F1 of the parts that occur in the images to score on.

        Args:
            scored: the images.
            logits_of: gives the logits of the images of some numbers.
            every: on the images for scoring again too.
        """
        matrix = ConfusionMatrix(self.cache.classes)
        labels = scored.labels
        first_tap = next(iter(scored.features.values()))[0]
        count = len(labels) if every else len(first_tap)
        for numbers in torch.arange(count).split(self.settings.batch_size):
            logits = logits_of(numbers).float()
            # The largest of values that are none would be the background, and the score 0.
            if not logits.isfinite().all():
                raise CandidateError(Failure.NOT_FINITE, "the outputs of its network")
            # The classes of a pixel side by side, for the comparison that follows.
            logits = logits.contiguous(memory_format=torch.channels_last)
            full = interpolate(logits, size=labels.shape[1:], mode="bilinear")
            matrix.update(labels[numbers], full.argmax(1).cpu())
        scores = [f1 for part in self._parts if (f1 := matrix.f1[part]) is not None]
        return sum(scores) / len(scores) if scores else 0.0


class _Training:
    """The short training of one candidate; of no more steps an epoch than ``most_steps``."""

    def __init__(
        self,
        evaluator: CandidateEvaluator,
        candidate: Candidate,
        settings: EvaluationSettings,
        most_steps: int | None = None,
    ):
        self._evaluator, self._candidate = evaluator, candidate
        self._settings, self._most_steps = settings, most_steps
        device = evaluator.device
        architecture, classes = candidate.architecture, evaluator.cache.classes
        self._train = evaluator.train[architecture.working_size]
        self._scored = evaluator.scored[architecture.working_size]
        network = build_segmenter(architecture.genotype, architecture.encoder, classes)
        pretrained = evaluator.cache.encoders[architecture.encoder]
        network.encoder.load_state_dict(pretrained.state_dict())
        if self._settings.shrink_dilations:
            shrink_dilations(network, self._settings.search_size / self._settings.input_size)
        self._network = on_device(network, device)
        self._heads = AuxiliaryHeads(architecture.genotype.cells, network.aggregation, classes)
        self._heads.to(device)
        self._precision = MixedPrecision(device, self._settings.half)
        self._phases: dict[str, float] = {}
        self._epoch_scores: list[float] = []

    def run(self) -> Evaluation:
        """Train, score, and say how long each phase took."""
        settings, again = self._settings, self._candidate.rescored
        early = None
        if settings.decoder_epochs:
            self._network.decoder = self._stage0()
            if settings.early_stop and settings.joint_epochs and not again:
                decode = partial(self._decode, self._network.decoder)
                early = self._epoch_scores[-1] if settings.every_epoch else self._score(decode)
                if self._candidate.stop_below is not None and early < self._candidate.stop_below:
                    return self._evaluation(None, early)
        trained: nn.Module = self._stage1() if settings.joint_epochs else self._network
        if settings.joint_epochs and settings.every_epoch and not again:
            return self._evaluation(self._epoch_scores[-1], early)
        return self._evaluation(self._score(partial(self._label, trained.eval()), again), early)

    @property
    def steps_an_epoch(self) -> int:
        """How many steps an epoch has that is not cut short."""
        return max(1, len(self._train.images) // self._settings.batch_size)

    def _evaluation(self, score: float | None, early: float | None) -> Evaluation:
        phases = {phase: round(seconds, 4) for phase, seconds in self._phases.items()}
        return Evaluation(score, phases, early, self._epoch_scores)

    def _score(self, logits_of: Callable[[Tensor], Tensor], every: bool = False) -> float:
        with self._timed("scoring"):
            return self._evaluator.score(self._scored, logits_of, every=every)

    def _stage0(self) -> Decoder:
        """Train the decoder alone on features; return it ready to train on."""
        decoder = self._network.decoder.train()
        average = averaged(decoder, 0.9)
        parameters = [*decoder.parameters(), *self._heads.parameters()]
        optimiser = Adam(parameters, 1e-2, weight_decay=WEIGHT_DECAY, fused=True)
        trained = average.module if self._settings.polyak else decoder
        assert isinstance(trained, Decoder)
        for steps in self._epochs(self._settings.decoder_epochs, [optimiser]):
            with self._timed("stage0"):
                for numbers in steps:
                    with self._precision.forward():
                        features = self._features(self._train, numbers)
                        loss = self._loss(*decoder.forward_with_merges(features), numbers)
                    self._precision.backward(loss)
                    self._precision.step([optimiser], parameters, GRADIENT_NORM)
                    average.update_parameters(decoder)
            self._follow(trained, partial(self._decode, trained))
        return trained.requires_grad_(True).eval()

    def _follow(self, network: nn.Module, logits_of: Callable[[Tensor], Tensor]) -> None:
        """Score a network in the midst of its training, where that was asked for."""
        if self._settings.every_epoch and not self._candidate.rescored:
            trains = network.training
            network.eval()
            self._epoch_scores.append(self._score(logits_of))
            network.train(trains)

    def _stage1(self) -> nn.Module:
        """Train encoder and decoder on images."""
        network = self._network.train()
        average = averaged(network, 0.99)
        deepest = max(network.decoder.graph.taps)
        branch = PresenceBranch(
            network.encoder.description.taps[deepest], self._evaluator.cache.classes
        ).to(self._evaluator.device)
        modules = (network.decoder, self._heads, branch)
        rest = [parameter for module in modules for parameter in module.parameters()]
        optimisers = [
            SGD(network.encoder.parameters(), 1e-2, momentum=0.9, weight_decay=WEIGHT_DECAY),
            Adam(rest, 3e-3, weight_decay=WEIGHT_DECAY, fused=True),
        ]
        parameters = [*network.encoder.parameters(), *rest]
        trained: nn.Module = average.module if self._settings.polyak else network
        for steps in self._epochs(self._settings.joint_epochs, optimisers):
            with self._timed("stage1"):
                for numbers in steps:
                    with self._precision.forward():
                        features = network.features(self._images(self._train, numbers))
                        loss = self._loss(*network.decoder.forward_with_merges(features), numbers)
                        if self._settings.presence_weight:
                            presence = branch.loss(features[deepest], self._labels(numbers))
                            loss = loss + self._settings.presence_weight * presence
                    self._precision.backward(loss)
                    self._precision.step(optimisers, parameters, GRADIENT_NORM)
                    average.update_parameters(network)
            self._follow(trained, partial(self._label, trained))
        return trained

    def _epochs(self, epochs: int, optimisers: Sequence[Optimizer]) -> Iterator[Iterator[Tensor]]:
        """Yield the steps of each epoch as the numbers of their images.

        The learning rates fall from step to step: polynomial decay of power 0.9 (Chen et al.,
        "DeepLab", 2017).
        """
        count, size = len(self._train.images), self._settings.batch_size
        epochs *= self._candidate.effort
        steps = min(self.steps_an_epoch, self._most_steps or self.steps_an_epoch)
        peaks = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]

        def steps_of(epoch: int) -> Iterator[Tensor]:
            # Common to all candidates, however much chance their initial weights took.
            chance = torch.Generator().manual_seed(trial_seed(self._evaluator.seed, epoch))
            order = torch.randperm(count, generator=chance)
            for step in range(steps):
                left = 1 - (epoch * steps + step) / (epochs * steps)
                for optimiser, peak in zip(optimisers, peaks, strict=True):
                    optimiser.param_groups[0]["lr"] = peak * left**0.9
                yield order[step * size : (step + 1) * size]

        yield from map(steps_of, range(epochs))

    def _loss(self, logits: Tensor, merges: list[Tensor], numbers: Tensor) -> Tensor:
        settings, weights = self._settings, self._evaluator.class_weights
        labels = self._labels(numbers)
        loss = cross_entropy(logits, labels, weights)
        if settings.auxiliary_weight:
            loss = loss + settings.auxiliary_weight * self._heads.loss(merges, labels, weights)
        targets = self._train.targets
        if targets is not None and settings.distillation_weight:
            target = self._on_device(targets[numbers])
            loss = loss + settings.distillation_weight * distillation_loss(logits, target)
        if not math.isfinite(loss.item()):
            raise CandidateError(Failure.NOT_FINITE, "the loss of its training")
        return loss

    def _labels(self, numbers: Tensor) -> Tensor:
        return self._train.small_labels[numbers].to(self._evaluator.device).long()

    def _images(self, images: CachedImages, numbers: Tensor) -> Tensor:
        return normalise(images.images[numbers].to(self._evaluator.device))

    def _features(self, images: CachedImages, numbers: Tensor) -> list[Tensor]:
        taps = images.features[self._candidate.architecture.encoder]
        deepest = max(self._network.decoder.graph.taps)
        return [self._on_device(tap[numbers]) for tap in taps[: deepest + 1]]

    def _on_device(self, rows: Tensor) -> Tensor:
        """Move float16 [N, h, w, C] to the device as float [N, C, h, w], channels last."""
        return rows.to(self._evaluator.device).float().permute(0, 3, 1, 2)

    def _decode(self, decoder: nn.Module, numbers: Tensor) -> Tensor:
        features = self._features(self._scored, numbers)
        with self._precision.forward():
            return decoder(features)

    def _label(self, network: nn.Module, numbers: Tensor) -> Tensor:
        with self._precision.forward():
            return network(self._images(self._scored, numbers))

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._phases[phase] = self._phases.get(phase, 0.0) + time.perf_counter() - start


def _out_of_memory(error: BaseException) -> CandidateError:
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # for the other workers on this GPU
    reason = str(error).splitlines()[0] if str(error) else "no room"
    return CandidateError(Failure.OUT_OF_MEMORY, reason)


def part_numbers(parts: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return the labels of the parts to score; without any, of all classes but background.

    Raises:
        UsageError: a part is none of the classes.
    """
    unknown = [part for part in parts if part not in classes]
    if unknown:
        raise UsageError(f"no part is named {unknown[0]!r}; the data has {', '.join(classes)}")
    return [classes.index(part) for part in parts] or list(range(1, len(classes)))
