"""Training of one network: a checkpoint an epoch, resumable, with the same end either way."""

import copy
import dataclasses
import functools
import json
import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export.onnx_file.writing import normalise
from export.system.console import duration, track
from export.system.errors import DataError, UsageError
from export.system.files import only_one, write_text
from toolchain.datasets.augmentation import augment
from toolchain.settings.base import Record, read_record
from toolchain.settings.training_settings import METRICS, TrainingSettings
from toolchain.training.averaging import between
from toolchain.training.checkpoints import (
    CheckpointInfo,
    load_segmenter,
    read_checkpoint,
    save_checkpoint,
)
from toolchain.training.class_offsets import shift_classes
from toolchain.training.device import on_device
from toolchain.training.evaluation import network_predictor, score
from toolchain.training.losses import class_weights
from toolchain.training.optimisation import Optimisation
from toolchain.training.resident import training_batches
from toolchain.training.samples import Batch, EpochOrder, Samples, any_image, repeat_factors
from toolchain.training.start import CHOSEN_BY, Start
from toolchain.training.training_loss import TrainingLoss

log = logging.getLogger(__name__)
LAST = "last.pt"
BEST = "best.pt"
_FORETOLD = 5.0
"""Seconds of training by which the time of all is foretold."""
_LOOK = 20
"""Batches between looks at the loss: each look waits for a GPU, which then has nothing to do."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training left behind.

    Attributes:
        checkpoint: the best epoch's, by mean F1.
        epochs: how many were trained, earlier runs included.
        seconds: of training and scoring, earlier runs included.
        metrics: the best epoch's, as `ConfusionMatrix.summary` gives them.
    """

    checkpoint: Path
    epochs: int
    seconds: float
    metrics: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the promised JSON document."""
        return {**vars(self), "checkpoint": str(self.checkpoint)}


def train(settings: TrainingSettings, output: str | Path, resume: bool = False) -> TrainingResult:
    """Train a network.

    Writes into ``output``: ``config.json``; after each epoch ``last.pt`` (from which ``resume``
    goes on), ``metrics.jsonl`` (a line an epoch), when it is the best so far by mean F1 on the
    images of the part search-score ``best.pt``, and as often as asked for ``epoch-NNN.pt``. In the
    end ``best.pt`` is averaged with the network that the training began with, and gets class
    offsets, if asked for, see `toolchain.training.class_offsets`. Each file is whole at all times.
    ``last.pt`` comes first and the others follow from it, so that a training that is killed, or
    whose disk is full, loses nothing but the epoch in flight. Nothing is written when the settings
    or their files cannot be used.

    Raises:
        UsageError: ``output`` holds another training, one is at work there, or the loss stopped
            being a number.
        DataError: the data, weights, teacher or checkpoint cannot be used, or ``output`` holds a
            training of other settings.
    """
    output = Path(output)
    with only_one(output):
        claim(settings, output, resume)
        start = Start.of(settings)
        record = Record(output, settings, start.digests())
        resumed = (output / LAST).exists()
        if resumed:
            record.check()
        trainer = Trainer(settings, start)
        record.write()
        log.info("training %s", trainer.info.architecture)
        if resumed:
            trainer.restore(output / LAST)
            trainer.save_what_follows(output)
        while len(trainer.history) < settings.epochs:
            trainer.run_epoch()
            trainer.save(output)
            if not record.path.exists():  # somebody has removed the folder meanwhile
                record.write()
            log.info(trainer.epoch_line())
        best, metrics = output / BEST, trainer.best["metrics"]
        if best.exists():  # it is not where the folder was removed
            if settings.start_share:
                metrics = trainer.average_with_start(best)
            if settings.class_offsets:
                metrics = shift_classes(best, trainer.choosing, settings.batch_size, trainer.device)
    return TrainingResult(best, len(trainer.history), trainer.seconds, metrics)


def claim(settings: TrainingSettings, output: Path, resume: bool) -> None:
    """Check that a folder is free for a training, or holds one that may be resumed.

    Raises:
        UsageError: ``output`` holds a training and ``resume`` is False.
        DataError: it holds one of other settings, or a file of it or that the settings name is
            missing.
    """
    record = Record(output, settings)
    last = output / LAST
    if last.exists():
        if not resume:
            raise UsageError(
                f"{output} holds a training; continue it with --resume or choose another --output"
            )
        record.check(partly=True)
    elif left := [name for name in (METRICS, BEST) if (output / name).exists()]:
        raise DataError(
            last, f"is gone, and {left[0]} is of its training; bring it back, or take a new folder"
        )
    elif record.path.exists():
        # A training that was stopped in its first epoch may begin anew; a search is not replaced.
        read_record(record.path, TrainingSettings)


class Trainer:
    """The state of one training.

    Attributes:
        settings: what decides its outcome.
        history: the record of each epoch done, as in ``metrics.jsonl``.
        foretold: it was said how long the epochs will take.
        samples: to train on.
        choosing: samples by which the best epoch is chosen.
        faceless: how many pictures without a face take part; None: none.
        start: the weights that it begins with, where they are needed in the end.
    """

    def __init__(self, settings: TrainingSettings, start: Start):
        self.settings = settings
        self.history: list[dict[str, Any]] = []
        self.foretold = False
        log.info("start: %s", start.origin)
        self.device, self.parts = start.device, start.parts
        self.faceless = start.faceless and len(start.faceless)
        self.label_set, size = start.images.label_set, settings.network_size
        seen = start.seen()

        # The loss is of the pixels that the network sees. Of those of a larger input it would cost
        # more than the network itself.
        pictures = None
        if start.faceless:
            pictures = functools.partial(any_image, Samples(start.faceless, size))
        change = functools.partial(
            augment, label_set=self.label_set, size=size, settings=settings, pictures=pictures
        )
        self.samples = Samples(
            start.images, size, change if settings.augment else None, settings.seed
        )
        # What is scored is the whole file: images and labels of the input's size.
        self.choosing = Samples(start.choosing, settings.input_size)
        factors = None
        if settings.rare_share:
            factors = repeat_factors(self.samples.holds(), settings.rare_share)
        self.order = EpochOrder(len(self.samples), True, settings.seed, factors)
        self.loader = training_batches(
            self.samples, self.order, self.label_set, settings, self.device, pictures
        )
        weights = class_weights(self.samples.pixels(), settings.class_power, settings.class_limit)
        self.start = copy.deepcopy(start.network.state_dict()) if settings.start_share else {}
        self.network = on_device(start.network, self.device)
        loss = TrainingLoss(start.network, weights, settings, start.teacher)
        self.loss = loss.to(self.device)
        self.optimisation = Optimisation(self.network, self.loss, settings, len(self.loader))
        self.info = CheckpointInfo(
            genotype=str(start.network.genotype),
            encoder=settings.encoder,
            aggregation=settings.aggregation,
            label_set=self.label_set,
            input_size=size,
            licence=start.images.licence,
            seen=None if seen is None else seen.encode(),
        ).at(settings.input_size, size)

    @property
    def best(self) -> dict[str, Any]:
        """The record of the best epoch: the first of the highest mean F1."""
        return max(self.history, key=lambda record: record["metrics"]["mean_f1"])

    @property
    def seconds(self) -> float:
        """Seconds of all epochs."""
        return sum(record["seconds"] for record in self.history)

    def run_epoch(self) -> dict[str, Any]:
        """Train one epoch, score the averaged weights and append to the history."""
        start = time.perf_counter()
        epoch = len(self.history) + 1
        # All chance of an epoch follows from its number: a resumed training draws the same.
        torch.manual_seed(self.settings.seed + epoch)
        self.order.epoch = epoch
        self.network.train()
        waits: list[float] = []
        loader = track(self.loader, f"epoch {epoch}/{self.settings.epochs}", len(self.loader))
        total = torch.zeros((), device=self.device)
        for number, (images, labels) in enumerate(_timed(loader, waits), 1):
            last = number == len(self.loader)
            total += self._backward(images, labels)
            self._foretell(number, time.perf_counter() - start)
            if number % _LOOK == 0 or last:
                self._check(total.item())
            if number % self.settings.accumulate == 0 or last:
                rate = self.optimisation.rate
                self.optimisation.step()
        seconds = time.perf_counter() - start
        matrix = score(
            network_predictor(self.optimisation.average.module, self.device, self.info.shrink),
            self.choosing,
            self.settings.batch_size,
        )
        record = {
            "epoch": epoch,
            "seconds": round(time.perf_counter() - start, 3),
            "images_per_second": round(len(self.samples) / seconds, 1),
            "waiting": round(sum(waits) / seconds, 3),
            "loss": total.item() / len(self.loader),
            "learning_rate": rate,
            "metrics": matrix.summary(self.label_set),
        }
        self.history.append(record)
        return record

    def save(self, output: Path) -> None:
        """Write the files of the last epoch; see `train`."""
        resume = {
            "settings": self.settings.model_dump(mode="json"),
            "history": self.history,
            **self.optimisation.state_dict(),
        }
        info, model = self._last()
        save_checkpoint(output / LAST, info, model, resume)
        self.save_what_follows(output)

    def save_what_follows(self, output: Path) -> None:
        """Write what ``last.pt`` tells as well, in files of their own."""
        record = self.history[-1]
        info, model = self._last()
        if (every := self.settings.keep_every) and record["epoch"] % every == 0:
            save_checkpoint(output / f"epoch-{record['epoch']:03d}.pt", info, model)
        if record is self.best:
            save_checkpoint(output / BEST, info, model)
        lines = "".join(json.dumps(line) + "\n" for line in self.history)
        write_text(output / METRICS, lines)

    def average_with_start(self, path: Path) -> dict[str, Any]:
        """Average a checkpoint with the start of the training, unless it is; return its figures."""
        share, (network, info) = self.settings.start_share, load_segmenter(path)
        averaged = "start_share" in info.training
        if not averaged:
            network.load_state_dict(between(self.start, network.state_dict(), share))
        predict = network_predictor(on_device(network, self.device), self.device, info.shrink)
        matrix = score(predict, self.choosing, self.settings.batch_size)
        if not averaged:
            log.info("with %g of the start: mean F1 %.3f", share, matrix.mean_f1)
            facts = info.training | {"start_share": share, "mean_f1": matrix.mean_f1}
            info = dataclasses.replace(info, training=facts)
            save_checkpoint(path, info, network.cpu().state_dict())
        return matrix.summary(self.label_set)

    def restore(self, path: Path) -> None:
        """Take over the state of a ``last.pt``.

        Raises:
            DataError: it is not of a training of these settings.
        """
        info, document = read_checkpoint(path)
        problem: object = self.info.difference(info)
        state = document["resume"]
        try:
            if not problem:
                # Those of earlier nastools do not hold their settings.
                earlier = type(self.settings)(**state.get("settings", self.settings.model_dump()))
                problem = self.settings.difference(earlier)
                self.history = state["history"]
                self.optimisation.load_state_dict(state, document["model"])
                log.info("continuing after %s", self.epoch_line())
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            problem = "it holds no training to go on with"
        if problem:
            raise DataError(path, f"is of another training ({problem}); bring back what was there")

    def epoch_line(self) -> str:
        """Say in one line how the last epoch went and how long the others will take."""
        record, epochs = self.history[-1], self.settings.epochs
        left = self.seconds / len(self.history) * (epochs - len(self.history))
        return (
            f"epoch {record['epoch']}/{epochs}: loss {record['loss']:.3f}, mean F1 "
            f"{record['metrics']['mean_f1']:.3f}, best {self.best['metrics']['mean_f1']:.3f} "
            f"(epoch {self.best['epoch']}), {record['seconds']:.0f} s at "
            f"{record['images_per_second']:.0f} images/s ({record['waiting']:.0%} waiting for "
            f"them), {duration(left)} left"
        )

    def _backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Add the gradients of a batch to those of its step; return its loss."""
        images, labels = (t.to(self.device, non_blocking=True) for t in (images, labels))
        with self.optimisation.precision.forward():
            loss = self.loss(self.network, normalise(images), labels.long())
        self.optimisation.backward(loss)
        return loss.detach()

    def _foretell(self, batches: int, seconds: float) -> None:
        """Say once, after the first seconds of the first epoch, how long all of them will take."""
        if self.foretold or seconds < _FORETOLD:
            return
        self.foretold = True
        left = self.settings.epochs - len(self.history)
        # What is scored after an epoch is not trained on: about a third of the work.
        scored = len(self.choosing) / self.settings.batch_size / 3
        total = seconds / batches * (len(self.loader) + scored) * left
        log.info("about %s for %d %s", duration(total), left, "epoch" if left == 1 else "epochs")

    def _check(self, loss: float) -> None:
        """Stop a training whose loss is none any more."""
        if not math.isfinite(loss):
            kept = "; last.pt and best.pt are as they were before it" if self.history else ""
            raise UsageError(
                f"the loss of epoch {len(self.history) + 1} is not a number; lower "
                f"--learning-rate, now {self.settings.learning_rate:g}{kept}"
            )

    def _last(self) -> tuple[CheckpointInfo, dict[str, Tensor]]:
        """Return what a checkpoint of the last epoch says and holds."""
        settings, record = self.settings, self.history[-1]
        facts = {
            # Of a path only its last part: the file may travel, the folders stay.
            "data": Path(settings.data).name,
            "parts": list(self.parts),
            "images": len(self.samples),
            "chosen_by": CHOSEN_BY,
            "chosen_by_images": len(self.choosing),
            "epochs": record["epoch"],
            "seconds": round(self.seconds),
            "batch_size": settings.batch_size,
            "seed": settings.seed,
            "weights": settings.weights and settings.weights.name,
            "teacher": settings.teacher and settings.teacher.name,
            "faceless_images": self.faceless,
            "mean_f1": record["metrics"]["mean_f1"],
        }
        info = dataclasses.replace(self.info, training=facts)
        return info, self.optimisation.average.module.state_dict()


def _timed(loader: Iterable[Batch], waits: list[float]) -> Iterator[Batch]:
    """Hand batches on, and note how many seconds each was waited for."""
    ready = iter(loader)
    while True:
        asked = time.perf_counter()
        batch = next(ready, None)
        waits.append(time.perf_counter() - asked)
        if batch is None:
            return
        yield batch
