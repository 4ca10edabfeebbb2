"""What reduced precision costs in F1: the gate of an exported file, and int8 chosen by it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from export.precision.quantisation import FloatParts, Quantiser, choose_float_parts
from toolchain.datasets import FaceDataset
from toolchain.training.evaluation import network_predictor, open_model, score
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.samples import Samples


@dataclass(frozen=True)
class Quality:
    """F1 of a file on labelled images, beside that of the network in torch.

    Attributes:
        images: how many.
        mean_f1: over the classes that occur but background.
        f1: by class; None for a class that does not occur.
        reference: mean F1 of the network in torch, fp32, on the same images.
        min_f1: the floor of ``mean_f1``, or None.
        max_loss: how much less than the reference it may be.
    """

    images: int
    mean_f1: float
    f1: dict[str, float | None]
    reference: float
    min_f1: float | None
    max_loss: float

    @property
    def loss(self) -> float:
        """How much of the reference's mean F1 is lost; below 0 where the file is better."""
        return self.reference - self.mean_f1

    @property
    def complaint(self) -> str | None:
        """Say which floor is missed, if one is."""
        if self.min_f1 is not None and self.mean_f1 < self.min_f1:
            return f"mean F1 is {self.mean_f1:.4f}, below {self.min_f1:g}"
        if self.loss > self.max_loss:
            return (
                f"mean F1 is {self.mean_f1:.4f}, {self.loss:.4f} less than torch's, more than "
                f"{self.max_loss:g}"
            )
        return None

    def document(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "images": self.images,
            "mean_f1": self.mean_f1,
            "f1": self.f1,
            "reference_mean_f1": self.reference,
            "loss": self.loss,
            "min_f1": self.min_f1,
            "max_loss": self.max_loss,
            "passed": self.complaint is None,
        }


def measure_quality(
    network: nn.Module,
    files: Iterable[tuple[Path, float, dict[str, Any]]],
    dataset: FaceDataset,
    size: int,
    min_f1: float | None = None,
    shrink: Fraction = Fraction(1),
) -> list[Quality]:
    """Score exported files against labels, and the network beside them.

    Args:
        network: as it was exported, on the CPU.
        files: each file, how much F1 it may lose, and options of `export.runtimes.open_session`.
        dataset: labelled images.
        size: of the files, pixels.
        min_f1: the floor of the mean F1 of every file.
        shrink: by which the files shrink an image; see `export.onnx_file.writing.Deployable`.
    """
    samples = Samples(dataset, size)
    classes = dataset.label_set.classes
    in_torch = network_predictor(network, torch.device("cpu"), shrink)
    reference = score(in_torch, samples, 1).mean_f1
    found = []
    for path, max_loss, options in files:
        matrix = _score_file(path, samples, **options)
        f1 = dict(zip(classes, matrix.f1, strict=True))
        found.append(Quality(len(dataset), matrix.mean_f1, f1, reference, min_f1, max_loss))
    return found


def choose_int8(
    plain: Path,
    quantiser: Quantiser,
    dataset: FaceDataset,
    size: int,
    max_loss: float,
    **options: Any,
) -> FloatParts:
    """Choose which parts of an int8 file stay in float, by F1.

    Args:
        plain: the file in fp32.
        quantiser: of that file.
        dataset: labelled images, not those that the file is judged by later.
        size: of the file, pixels.
        max_loss: how much less than the mean F1 in fp32 it may be.
        options: of `export.runtimes.open_session`, to run the int8 file with.
    """
    samples = Samples(dataset, size)

    wanted = _score_file(plain, samples).mean_f1 - max_loss
    with TemporaryDirectory() as folder:

        def score_with(in_float: Collection[str]) -> float:
            path = quantiser.write(Path(folder) / "model.onnx", in_float)
            return _score_file(path, samples, **options).mean_f1

        return choose_float_parts(quantiser.parts, score_with, wanted)


def _score_file(path: Path, samples: Samples, **options: Any) -> ConfusionMatrix:
    model = open_model(path, **options)
    return score(model.predict, samples, model.batch_size)
