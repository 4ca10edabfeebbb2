"""Training of one network: a checkpoint an epoch, resumable, with the same end either way."""

import dataclasses
import functools
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.console import track
from export.errors import UsageError
from export.files import only_one, write_text
from export.onnx import normalise
from toolchain.datasets.augmentation import augment
from toolchain.settings.base import Record, read_record
from toolchain.settings.training_settings import TrainingSettings
from toolchain.training.checkpoints import CheckpointInfo, read_checkpoint, save_checkpoint
from toolchain.training.device import on_device
from toolchain.training.evaluation import network_predictor, score
from toolchain.training.losses import class_weights
from toolchain.training.polyak import PolyakAverage
from toolchain.training.samples import EpochOrder, Samples, batches
from toolchain.training.start import CHOSEN_BY, Start
from toolchain.training.training_loss import TrainingLoss

log = logging.getLogger(__name__)


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

    Writes into ``output``: ``config.json``; after each epoch ``epoch-NNN.pt`` (weights only),
    ``metrics.jsonl`` (a line an epoch), ``last.pt`` (from which ``resume`` goes on) and, when it
    is the best so far by mean F1 on the images of the part search-score, ``best.pt``. Each file is
    whole at all times; ``last.pt`` comes last, so that a killed training loses the epoch in flight.
    Nothing is written when the settings or their files cannot be used.

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
        if (output / "last.pt").exists():
            record.check()
        trainer = Trainer(settings, start)
        record.write()
        log.info("training %s", trainer.info.architecture)
        if (output / "last.pt").exists():
            trainer.restore(output / "last.pt")
            log.info("continuing after epoch %d", len(trainer.history))
        while len(trainer.history) < settings.epochs:
            trainer.run_epoch()
            trainer.save(output)
            log.info(trainer.epoch_line())
    best = trainer.best
    return TrainingResult(
        output / "best.pt", len(trainer.history), trainer.seconds, best["metrics"]
    )


def claim(settings: TrainingSettings, output: Path, resume: bool) -> None:
    """Check that a folder is free for a training, or holds one that may be resumed.

    Raises:
        UsageError: ``output`` holds a training and ``resume`` is False.
        DataError: it holds one of other settings, or a file that the settings name is missing.
    """
    record = Record(output, settings)
    if (output / "last.pt").exists():
        if not resume:
            raise UsageError(
                f"{output} holds a training; continue it with --resume or choose another --output"
            )
        record.check(partly=True)
    elif record.path.exists():
        # A training that was stopped in its first epoch may begin anew; a search is not replaced.
        read_record(record.path, TrainingSettings)


def cosine_with_warm_up(step: int, steps: int, warm_up: int) -> float:
    """Factor on the learning rate at ``step`` of ``steps``: a linear rise, then half a cosine to 0.

    Loshchilov & Hutter, "SGDR" (ICLR 2017), equation 5, without restarts. The first step has
    ``1 / (warm_up + 1)``, so that no step is wasted at rate 0.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


class Trainer:
    """The state of one training.

    Attributes:
        settings: what decides its outcome.
        history: the record of each epoch done, as in ``metrics.jsonl``.
        samples: to train on.
        choosing: samples by which the best epoch is chosen.
    """

    def __init__(self, settings: TrainingSettings, start: Start):
        self.settings = settings
        self.history: list[dict[str, Any]] = []
        log.info("start: %s", start.origin)
        self.device, self.parts = start.device, start.parts
        self.label_set, size = start.images.label_set, settings.network_size
        seen = start.seen()

        # The loss is of the pixels that the network sees. Of those of a larger input it would cost
        # more than the network itself.
        change = functools.partial(augment, label_set=self.label_set, size=size)
        self.samples = Samples(
            start.images, size, change if settings.augment else None, settings.seed
        )
        # What is scored is the whole file: images and labels of the input's size.
        self.choosing = Samples(start.choosing, settings.input_size)
        self.order = EpochOrder(len(self.samples), shuffle=True, seed=settings.seed)
        self.loader = batches(self.samples, self.order, settings.batch_size, settings.workers)
        weights = class_weights(self.samples.pixels(), settings.class_power, settings.class_limit)
        self.network = on_device(start.network, self.device)
        self.loss = TrainingLoss(
            start.network,
            weights,
            dice_weight=settings.dice_weight,
            auxiliary_weight=settings.auxiliary_weight,
            distillation_weight=settings.distillation_weight,
            teacher=start.teacher,
        ).to(self.device)
        self.average = PolyakAverage(self.network, settings.polyak_decay)
        self.optimiser = self._optimiser()
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
        total = 0.0
        for position, (images, labels) in enumerate(
            track(self.loader, f"epoch {epoch}", len(self.loader))
        ):
            rate = self._set_rate((epoch - 1) * len(self.loader) + position)
            total += self._step(images.to(self.device), labels.to(self.device).long())
        if not math.isfinite(total):
            raise UsageError(
                f"the loss of epoch {epoch} is not a number; lower --learning-rate, now {rate:g}"
            )
        matrix = score(
            network_predictor(self.average.network, self.device, self.info.shrink),
            self.choosing,
            self.settings.batch_size,
        )
        record = {
            "epoch": epoch,
            "seconds": round(time.perf_counter() - start, 3),
            "loss": total / len(self.loader),
            "learning_rate": rate,
            "metrics": matrix.summary(self.label_set),
        }
        self.history.append(record)
        return record

    def save(self, output: Path) -> None:
        """Write the files of the last epoch; see `train`."""
        record = self.history[-1]
        model = self.average.network.state_dict()
        info = self._info(record)
        save_checkpoint(output / f"epoch-{record['epoch']:03d}.pt", info, model)
        if record is self.best:
            save_checkpoint(output / "best.pt", info, model)
        lines = "".join(json.dumps(line) + "\n" for line in self.history)
        write_text(output / "metrics.jsonl", lines)
        resume = {
            "history": self.history,
            "network": self.network.state_dict(),
            "loss": self.loss.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
        }
        save_checkpoint(output / "last.pt", info, model, resume)

    def restore(self, path: Path) -> None:
        """Take over the state of a ``last.pt`` of the same settings."""
        _, document = read_checkpoint(path)
        resume = document["resume"]
        self.history = resume["history"]
        self.network.load_state_dict(resume["network"])
        self.loss.load_state_dict(resume["loss"])
        self.average.load_state_dict({"network": document["model"], "updates": resume["updates"]})
        self.optimiser.load_state_dict(resume["optimiser"])

    def epoch_line(self) -> str:
        """Say in one line how the last epoch went and how long the others will take."""
        record, epochs = self.history[-1], self.settings.epochs
        left = self.seconds / len(self.history) * (epochs - len(self.history)) / 60
        return (
            f"epoch {record['epoch']}/{epochs}: loss {record['loss']:.3f}, mean F1 "
            f"{record['metrics']['mean_f1']:.3f}, best {self.best['metrics']['mean_f1']:.3f} "
            f"(epoch {self.best['epoch']}), {record['seconds']:.0f} s, {left:.1f} min left"
        )

    def _step(self, images: Tensor, labels: Tensor) -> float:
        loss = self.loss(self.network, normalise(images), labels)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_norm)
        self.optimiser.step()
        self.average.update(self.network)
        return loss.item()

    def _optimiser(self) -> torch.optim.Optimizer:
        """AdamW; a pretrained encoder moves more slowly, norms and biases do not decay."""
        factor = self.settings.encoder_rate if self.settings.weights else 1.0
        groups = [
            {
                "params": [p for p in module.parameters() if (p.dim() > 1) == decays],
                "factor": rate,
                "weight_decay": self.settings.weight_decay if decays else 0.0,
            }
            for module, rate in (
                (self.network.encoder, factor),
                (self.network.decoder, 1.0),
                (self.loss, 1.0),
            )
            for decays in (True, False)
        ]
        return torch.optim.AdamW(groups, fused=True)

    def _set_rate(self, step: int) -> float:
        steps = self.settings.epochs * len(self.loader)
        rate = self.settings.learning_rate * cosine_with_warm_up(
            step, steps, round(self.settings.warm_up * steps)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        return rate

    def _info(self, record: dict[str, Any]) -> CheckpointInfo:
        settings = self.settings
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
            "mean_f1": record["metrics"]["mean_f1"],
        }
        return dataclasses.replace(self.info, training=facts)
