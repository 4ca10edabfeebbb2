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
from export.files import write_text
from export.onnx import normalise
from toolchain.datasets import FaceDataset, open_dataset
from toolchain.datasets.augmentation import augment
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import build_segmenter
from toolchain.training.checkpoints import CheckpointInfo, read_checkpoint, save_checkpoint
from toolchain.training.configuration import TrainingConfiguration, settle
from toolchain.training.device import on_device, torch_device
from toolchain.training.evaluation import network_predictor, score
from toolchain.training.initialisation import load_initial_weights
from toolchain.training.losses import class_weights
from toolchain.training.objective import Objective, load_teacher
from toolchain.training.polyak import PolyakAverage
from toolchain.training.samples import EpochOrder, Samples, batches
from toolchain.training.schedules import cosine_with_warm_up

log = logging.getLogger(__name__)
HELD_OUT = 0.1


@dataclass(frozen=True)
class TrainingResult:
    """What a training left behind.

    Attributes:
        checkpoint: the best epoch's, by mean F1.
        epochs: how many were trained, earlier runs included.
        seconds: of training and validation, earlier runs included.
        metrics: the best epoch's, as `ConfusionMatrix.summary` gives them.
    """

    checkpoint: Path
    epochs: int
    seconds: float
    metrics: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the promised JSON document."""
        return {**vars(self), "checkpoint": str(self.checkpoint)}


def train(
    configuration: TrainingConfiguration, output: str | Path, resume: bool = False
) -> TrainingResult:
    """Train a network.

    Writes into ``output``: ``config.json``; after each epoch ``epoch-NNN.pt`` (weights only),
    ``metrics.jsonl`` (a line an epoch), ``last.pt`` (from which ``resume`` goes on) and, when it
    is the best so far by mean F1 on the validation images, ``best.pt``. Each file is whole at all
    times; ``last.pt`` comes last, so that a killed training loses the epoch in flight.

    Raises:
        UsageError: ``output`` holds another training, or the loss stopped being a number.
        DataError: the data, weights, teacher or checkpoint cannot be used.
    """
    output = Path(output)
    settle(configuration, output, resume)
    trainer = Trainer(configuration)
    log.info("training %s on %s", configuration.genotype, configuration.encoder)
    if (output / "last.pt").exists():
        trainer.restore(output / "last.pt")
        log.info("continuing after epoch %d", len(trainer.history))
    while len(trainer.history) < configuration.epochs:
        trainer.run_epoch()
        trainer.save(output)
        log.info(trainer.progress())
    best = trainer.best
    return TrainingResult(
        output / "best.pt", len(trainer.history), trainer.seconds, best["metrics"]
    )


class Trainer:
    """The state of one training.

    Attributes:
        configuration: what decides its outcome.
        history: the record of each epoch done, as in ``metrics.jsonl``.
    """

    def __init__(self, configuration: TrainingConfiguration):
        self.configuration = configuration
        self.device = torch_device(configuration.device)
        self.history: list[dict[str, Any]] = []
        training, validation = open_training_data(configuration)
        self.label_set = training.label_set
        classes, size = self.label_set.classes, configuration.input_size

        # Everything that can be wrong comes before the reading of all images.
        torch.manual_seed(configuration.seed)
        network = build_segmenter(
            Genotype.parse(configuration.genotype),
            configuration.encoder,
            len(classes),
            configuration.aggregation,
        )
        if configuration.weights:
            some = Samples(training.subset(range(min(16, len(training)))), size)
            images = normalise(torch.stack([some[0, i][0] for i in range(len(some))]))
            log.info("start: %s", load_initial_weights(network, configuration.weights, images))
        teacher = None
        if configuration.teacher:
            teacher = load_teacher(configuration.teacher, classes, size, self.device)

        change = functools.partial(augment, label_set=self.label_set, size=size)
        self.samples = Samples(
            training, size, change if configuration.augment else None, configuration.seed
        )
        self.validation = Samples(validation, size)
        self.order = EpochOrder(len(training), shuffle=True, seed=configuration.seed)
        self.loader = batches(
            self.samples, self.order, configuration.batch_size, configuration.workers
        )
        weights = class_weights(
            self.samples.pixels(), configuration.class_power, configuration.class_limit
        )
        self.network = on_device(network, self.device)
        self.objective = Objective(network, weights, configuration.dice, teacher).to(self.device)
        self.average = PolyakAverage(self.network, configuration.polyak_decay)
        self.optimiser = self._optimiser()
        self.info = CheckpointInfo(
            genotype=str(network.genotype),
            encoder=configuration.encoder,
            aggregation=configuration.aggregation,
            label_set=self.label_set,
            input_size=size,
            licence=training.licence,
        )

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
        torch.manual_seed(self.configuration.seed + epoch)
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
            network_predictor(self.average.network, self.device),
            self.validation,
            self.configuration.batch_size,
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
            "objective": self.objective.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
        }
        save_checkpoint(output / "last.pt", info, model, resume)

    def restore(self, path: Path) -> None:
        """Take over the state of a ``last.pt`` of the same configuration."""
        _, document = read_checkpoint(path)
        resume = document["resume"]
        self.history = resume["history"]
        self.network.load_state_dict(resume["network"])
        self.objective.load_state_dict(resume["objective"])
        self.average.load_state_dict({"network": document["model"], "updates": resume["updates"]})
        self.optimiser.load_state_dict(resume["optimiser"])

    def progress(self) -> str:
        """Say in one line how the training goes."""
        record, epochs = self.history[-1], self.configuration.epochs
        left = self.seconds / len(self.history) * (epochs - len(self.history)) / 60
        return (
            f"epoch {record['epoch']}/{epochs}: loss {record['loss']:.3f}, mean F1 "
            f"{record['metrics']['mean_f1']:.3f}, best {self.best['metrics']['mean_f1']:.3f} "
            f"(epoch {self.best['epoch']}), {record['seconds']:.0f} s, {left:.1f} min left"
        )

    def _step(self, images: Tensor, labels: Tensor) -> float:
        loss = self.objective(self.network, normalise(images), labels)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.configuration.gradient_norm)
        self.optimiser.step()
        self.average.update(self.network)
        return loss.item()

    def _optimiser(self) -> torch.optim.Optimizer:
        """AdamW; a pretrained encoder moves more slowly, norms and biases do not decay."""
        factor = self.configuration.encoder_rate if self.configuration.weights else 1.0
        groups = [
            {
                "params": [p for p in module.parameters() if (p.dim() > 1) == decays],
                "factor": rate,
                "weight_decay": self.configuration.weight_decay if decays else 0.0,
            }
            for module, rate in (
                (self.network.encoder, factor),
                (self.network.decoder, 1.0),
                (self.objective, 1.0),
            )
            for decays in (True, False)
        ]
        return torch.optim.AdamW(groups, fused=True)

    def _set_rate(self, step: int) -> float:
        steps = self.configuration.epochs * len(self.loader)
        rate = self.configuration.learning_rate * cosine_with_warm_up(
            step, steps, round(self.configuration.warm_up * steps)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        return rate

    def _info(self, record: dict[str, Any]) -> CheckpointInfo:
        configuration = self.configuration
        facts = {
            # Of a path only its last part: the file may travel, the folders stay.
            "data": Path(configuration.data).name,
            "images": len(self.samples),
            "validation_images": len(self.validation),
            "epochs": record["epoch"],
            "seconds": round(self.seconds),
            "batch_size": configuration.batch_size,
            "seed": configuration.seed,
            "weights": configuration.weights and Path(configuration.weights).name,
            "teacher": configuration.teacher and Path(configuration.teacher).name,
            "mean_f1": record["metrics"]["mean_f1"],
        }
        return dataclasses.replace(self.info, training=facts)


def open_training_data(configuration: TrainingConfiguration) -> tuple[FaceDataset, FaceDataset]:
    """Open the training and the validation images.

    Validation is the data's own ``val`` split, or else a tenth of the training images, drawn by
    the seed. ``limit_images`` takes a part of what is left for training, drawn by the seed too.
    """
    data, kind, seed = configuration.data, configuration.dataset, configuration.seed
    training = open_dataset(data, "train", kind)
    if "val" in training.splits:
        validation = open_dataset(data, "val", kind)
    else:
        training, validation = training.split(HELD_OUT, seed)
    limit = configuration.limit_images
    if limit is not None and limit < len(training):
        _, training = training.split(limit / len(training), seed)
    return training, validation
