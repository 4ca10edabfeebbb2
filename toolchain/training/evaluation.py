"""How well a network or a model file labels a dataset.

Images are resized to the model's input size (area averaging down, bilinear up) and labels to the
same size by nearest pixel; predictions and labels are compared there, at every pixel. For data of
another resolution the figures therefore speak of the model's own resolution.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.console import track
from export.errors import DataError
from export.metadata import ModelMetadata
from export.onnx import Deployable
from export.runtimes import open_session
from toolchain.datasets import FaceDataset, open_dataset
from toolchain.training.checkpoints import load_segmenter
from toolchain.training.device import on_device, torch_device
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.samples import EpochOrder, Samples, batches

Predict = Callable[[Tensor], Tensor]
"""Images, uint8 [N, H, W, 3] RGB -> labels, uint8 [N, H, W]."""


@dataclass(frozen=True)
class Model:
    """A checkpoint or a model file, ready to label images.

    Attributes:
        predict: the model.
        input_size: width and height in pixels that it takes.
        classes: the names of its labels.
        batch_size: images at once.
    """

    predict: Predict
    input_size: int
    classes: tuple[str, ...]
    batch_size: int


def evaluate(
    model: str | Path,
    data: str,
    kind: str | None = None,
    limit: int | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Score a checkpoint or an exported ONNX file on a dataset.

    Args:
        model: the file.
        data: folder or ``synthetic:COUNT[:SEED]``; of its splits, ``val`` is taken, then ``test``.
        kind: the dataset's kind; recognised when None.
        limit: score only this many images, spread over the dataset.
        device: ``cpu`` or ``cuda:N``.

    Returns:
        ``images`` and the figures of `ConfusionMatrix.summary`.

    Raises:
        DataError: the model or the data cannot be used, or their classes differ.
    """
    opened = open_model(model, device)
    dataset = evaluation_data(data, kind, limit)
    expected = dataset.label_set.classes
    if opened.classes != expected:
        raise DataError(
            model,
            f"has {len(opened.classes)} classes ({', '.join(opened.classes[:4])}, ...), but "
            f"{data} has {len(expected)} ({', '.join(expected[:4])}, ...); evaluate it on data "
            "with its own classes",
        )
    samples = Samples(dataset, opened.input_size, keep=False)
    matrix = score(opened.predict, samples, opened.batch_size)
    return {"images": len(dataset), **matrix.summary(dataset.label_set)}


def score(predict: Predict, samples: Samples, batch_size: int, workers: int = 0) -> ConfusionMatrix:
    """Compare predictions with labels over all samples, with a progress bar."""
    matrix = ConfusionMatrix(len(samples.dataset.label_set.classes))
    loader = batches(samples, EpochOrder(len(samples), shuffle=False), batch_size, workers)
    for images, labels in track(loader, "evaluating", len(loader)):
        matrix.update(labels, predict(images))
    return matrix


def network_predictor(network: nn.Module, device: torch.device) -> Predict:
    """Make a predictor of a network that gives logits, with the tail that export gives it."""
    whole = Deployable(network).eval()

    @torch.inference_mode()
    def predict(images: Tensor) -> Tensor:
        return whole(images.to(device)).cpu()

    return predict


def open_model(path: str | Path, device: str = "cpu", **options: Any) -> Model:
    """Open a checkpoint (``.pt``), or a model file that `nastool export` wrote, to label images.

    Args:
        path: the file.
        device: ``cpu`` or ``cuda:N``.
        options: for a model file, further arguments of `export.runtimes.open_session`.

    Raises:
        DataError: the file is missing, broken or neither.
    """
    if Path(path).suffix == ".pt":
        network, info = load_segmenter(path)
        place = torch_device(device)
        predict = network_predictor(on_device(network.deployable(info.input_size), place), place)
        return Model(predict, info.input_size, info.label_set.classes, batch_size=8)
    session = open_session(path, device=device, **options)
    metadata = ModelMetadata.read(session.metadata, path)
    batch = session.inputs[0].shape[0]

    def predict_in_session(images: Tensor) -> Tensor:
        # A file of a fixed batch takes nothing less: the last batch is filled up.
        missing = batch - len(images) if isinstance(batch, int) else 0
        filled = torch.cat([images, images[:1].expand(missing, -1, -1, -1)])
        return torch.from_numpy(session.run({"image": filled.numpy()})["labels"][: len(images)])

    return Model(
        predict_in_session,
        metadata.input_size,
        tuple(metadata.classes),
        batch_size=batch if isinstance(batch, int) else 8,
    )


def evaluation_data(data: str, kind: str | None, limit: int | None) -> FaceDataset:
    """Open the part of a dataset that is for judging: ``val``, else ``test``, else everything."""
    splits = open_dataset(data, kind=kind).splits
    split = next((name for name in ("val", "test") if name in splits), None)
    dataset = open_dataset(data, split, kind)
    if limit is None or limit >= len(dataset):
        return dataset
    return dataset.subset([index * len(dataset) // limit for index in range(limit)])
