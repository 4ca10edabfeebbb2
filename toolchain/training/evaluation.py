"""How well a network or a model file labels a dataset.

Images are resized to the model's input size (area averaging down, bilinear up) and labels to the
same size by nearest pixel; predictions and labels are compared there, at every pixel, whatever the
model's working size. For data of another resolution the figures therefore speak of the model's own
resolution. Where the data's protocol wants it, as HELEN's does, or the caller, predictions are
brought to the labels instead, by nearest pixel, and compared at the resolution of each.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.writing import Deployable
from export.runtimes import Session, open_session
from export.system.console import track
from export.system.errors import DataError, UsageError
from toolchain.datasets.augmentation import mirror
from toolchain.datasets.base import FaceDataset, Sample, check_labelled, resize_sample
from toolchain.datasets.framing import framed
from toolchain.datasets.labels import LabelSet
from toolchain.datasets.photographs import Photographs
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import first, open_for_figures
from toolchain.training.checkpoints import load_segmenter
from toolchain.training.device import on_device, torch_device
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.samples import EpochOrder, Samples, batches

log = logging.getLogger(__name__)
MOST_IMAGES = 1024
"""At once."""
SMALLEST_FACES = 0.02
"""Of the frame's size: below that a face has no pixels to score."""
Predict = Callable[[Tensor], Tensor]
"""Images, uint8 [N, H, W, 3] RGB -> labels, uint8 [N, H, W], on the device that found them."""


@dataclass(frozen=True)
class Model:
    """A checkpoint or a model file, ready to label images.

    Attributes:
        predict: the model.
        input_size: width and height in pixels that it takes.
        classes: the names of its labels.
        batch_size: images at once.
        seen: the images that it was trained on; None where the file does not say.
    """

    predict: Predict
    input_size: int
    classes: tuple[str, ...]
    batch_size: int
    seen: SeenImages | None = None


def evaluate(
    model: str | Path,
    data: str,
    dataset: str | None = None,
    split: str | None = None,
    limit_images: int | None = None,
    device: str = "cpu",
    force: bool = False,
    framing: Sequence[float] = (),
    mirrored: bool = False,
    faceless: str | Path | None = None,
    own_size: bool | None = None,
) -> dict[str, Any]:
    """Score a checkpoint or an exported ONNX file on a dataset.

    Args:
        model: the file.
        data: folder or ``synthetic:COUNT[:SEED]``.
        dataset: the kind of the data; recognised when None.
        split: which of its images, see `open_for_figures`.
        limit_images: score only this many, chosen by their names.
        device: ``cpu`` or ``cuda:N``.
        force: even on images that the model was trained on.
        framing: score again with each image at these parts of the frame's size; see
            `toolchain.datasets.framing`.
        mirrored: score again with each image mirrored, left and right labels exchanged.
        faceless: a folder of pictures without a face, of which all should be background.
        own_size: compare at the resolution of each label map instead of the model's; None: where
            the protocol of the data does.

    Returns:
        ``images``, their ``split``, how many were ``seen_in_training`` (None where the model does
        not say), ``own_size``, the figures of `ConfusionMatrix.summary`, under ``framing`` a list
        with the ``scale`` and the figures of each, and those of ``mirrored`` or None, both at the
        model's resolution; and what `found_without_faces` returns of ``faceless``, or None.

    Raises:
        UsageError: a part of the frame's size is not `SMALLEST_FACES` to 1.
        DataError: the model or the data cannot be used, their classes differ, or the model was
            trained on some of the images.
    """
    if wrong := [scale for scale in framing if not SMALLEST_FACES <= scale <= 1]:
        raise UsageError(f"--framing {wrong[0]:g} is not {SMALLEST_FACES:g} to 1")
    opened = open_model(model, device)
    without_faces = Photographs(Path(faceless)) if faceless else None
    images, part = open_for_figures(data, split, dataset)
    images = first(images, limit_images)
    expected = images.label_set.classes
    if opened.classes != expected:
        raise DataError(
            model,
            f"has {len(opened.classes)} classes ({', '.join(opened.classes[:4])}, ...), but "
            f"{data} has {len(expected)} ({', '.join(expected[:4])}, ...); evaluate it on data "
            "with its own classes",
        )
    seen = count_seen(data, opened.seen, images, part, force)
    known = None
    if without_faces:
        known = count_seen(
            str(faceless), opened.seen, without_faces, "all", force, "other pictures"
        )

    size = opened.input_size
    own_size = images.own_size if own_size is None else own_size

    def summary(samples: Samples) -> dict[str, Any]:
        return score(opened.predict, samples, opened.batch_size).summary(images.label_set)

    if own_size:
        whole = score_at_own_size(opened, images).summary(images.label_set)
    else:
        whole = summary(framed_samples(images, size, 1))
    reflect = partial(_reflected, label_set=images.label_set)
    return {
        "images": len(images),
        "split": part,
        "seen_in_training": seen,
        "own_size": own_size,
        **whole,
        "framing": [
            {"scale": scale, **summary(framed_samples(images, size, scale))} for scale in framing
        ],
        "mirrored": summary(Samples(images, size, reflect, keep=False)) if mirrored else None,
        "faceless": found_without_faces(opened, without_faces, known) if without_faces else None,
    }


def found_without_faces(model: Model, pictures: FaceDataset, seen: int | None) -> dict[str, Any]:
    """Say how much of pictures without a face a model takes for one.

    Returns:
        How many ``pictures`` there are, how many of them were ``seen_in_training``, the mean
        ``share`` of their pixels, 0 to 1, that are not labelled background, and the ``worst``
        picture's ``name`` and ``share``.
    """
    shares: list[float] = []
    samples = Samples(pictures, model.input_size, keep=False)
    loader = batches(samples, EpochOrder(len(samples), shuffle=False), model.batch_size)
    for images, _ in track(loader, "pictures without a face", len(loader)):
        shares += (model.predict(images) > 0).float().mean((1, 2)).tolist()
    worst = int(np.argmax(shares))
    return {
        "pictures": len(shares),
        "seen_in_training": seen,
        "share": float(np.mean(shares)),
        "worst": {"name": pictures.names[worst], "share": shares[worst]},
    }


def framed_samples(images: FaceDataset, size: int, scale: float) -> Samples:
    """Return samples of ``size`` x ``size`` pixels, each at a part of it, to be read once."""
    place = None if scale == 1 else partial(_in_frame, size=size, scale=scale)
    return Samples(images, size, place, keep=False)


def _in_frame(sample: Sample, *_: Any, size: int, scale: float, **__: Any) -> Sample:
    return framed(sample, size, scale)


def _reflected(sample: Sample, *_: Any, label_set: LabelSet, **__: Any) -> Sample:
    return mirror(sample, label_set)


def count_seen(
    data: str,
    seen: SeenImages | None,
    images: FaceDataset,
    part: str,
    force: bool,
    others: str = "another --split or --data",
) -> int | None:
    """Count the images that a network was trained on; they flatter it.

    Args:
        data: where ``images`` are from, for messages.
        seen: what it was trained on; None: its file does not say, which is logged.
        images: that it is to be judged on.
        part: what they are of the data.
        force: do not mind.
        others: what to choose instead, for messages.

    Raises:
        DataError: there are some, and ``force`` is False.
    """
    if seen is None:
        log.warning(
            "%s: the model does not say which images it was trained on; it may know some", data
        )
        return None
    count = seen.count(images)
    if count and not force:
        raise DataError(
            data,
            f"the model was trained on {count} of these {len(images)} images (split {part}), which "
            f"would flatter it; choose {others}, or insist with --force",
        )
    return count


def score(predict: Predict, samples: Samples, batch_size: int, workers: int = 0) -> ConfusionMatrix:
    """Compare predictions with labels over all samples, with a progress bar."""
    matrix = ConfusionMatrix(len(samples.dataset.label_set.classes))
    loader = batches(samples, EpochOrder(len(samples), shuffle=False), batch_size, workers)
    for images, labels in track(loader, "evaluating", len(loader)):
        matrix.update(labels, predict(images))
    check_labelled(samples.dataset, counts=bool(matrix.counts.any()))
    return matrix


def score_at_own_size(model: Model, dataset: FaceDataset) -> ConfusionMatrix:
    """Compare predictions, brought to the size of each label map by nearest pixel, with labels."""
    matrix = ConfusionMatrix(len(dataset.label_set.classes))
    starts = range(0, len(dataset), model.batch_size)
    for start in track(starts, "evaluating", len(starts)):
        indices = range(start, min(start + model.batch_size, len(dataset)))
        samples = [dataset.read(index) for index in indices]
        images = np.stack([resize_sample(s, model.input_size).image for s in samples])
        predictions = model.predict(torch.from_numpy(images)).cpu().numpy()
        for sample, found in zip(samples, predictions, strict=True):
            size = sample.labels.shape[::-1]
            matrix.update(
                sample.labels, cv2.resize(found, size, interpolation=cv2.INTER_NEAREST_EXACT)
            )
    check_labelled(dataset, counts=bool(matrix.counts.any()))
    return matrix


def network_predictor(
    network: nn.Module, device: torch.device, shrink: Fraction = Fraction(1)
) -> Predict:
    """Make a predictor of a network that gives logits, with what export adds before and behind.

    Args:
        network: on ``device``.
        device: that computes.
        shrink: see `export.onnx_file.writing.Deployable`.
    """
    whole = Deployable(network, shrink=shrink).eval().to(device)

    @torch.inference_mode()
    def predict(images: Tensor) -> Tensor:
        return whole(images.to(device))

    return predict


def _check_contract(session: Session, size: int) -> None:
    """Check that a model takes an image and gives labels, as `nastool export` writes it."""
    for specs, name, shape in (
        (session.inputs, "image", (size, size, 3)),
        (session.outputs, "labels", (size, size)),
    ):
        found = [spec for spec in specs if spec.name == name]
        batch = found[0].shape[0] if found and found[0].shape else None
        batch = batch if isinstance(batch, int) else 1
        wanted = np.broadcast_to(np.uint8(0), (batch, *shape))
        alone = len(specs) == 1 or name == "labels"
        if not (found and alone and 1 <= batch <= MOST_IMAGES and found[0].accepts(wanted)):
            listed = ", ".join(map(str, specs)) or "nothing"
            what = "takes" if name == "image" else "gives"
            raise DataError(
                session.source,
                f"{what} {listed}, not {name} uint8 [N, {', '.join(map(str, shape))}]; give a file "
                "of nastool export",
            )


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
        segmenter, info = load_segmenter(path)
        place = torch_device(device)
        network = on_device(segmenter.deployable(info.network_size), place)
        predict = network_predictor(network, place, info.shrink)
        classes = info.label_set.classes
        return Model(predict, info.input_size, classes, batch_size=8, seen=info.seen_images)
    session = open_session(path, device=device, **options)
    metadata = ModelMetadata.read(session.metadata, path)
    _check_contract(session, metadata.input_size)
    batch, last = session.inputs[0].shape[0], len(metadata.classes) - 1
    try:
        seen = None if metadata.seen is None else SeenImages.decode(metadata.seen)
    except ValueError as error:
        raise DataError(path, f"metadata 'seen' {error}; export it again") from None

    def predict_in_session(images: Tensor) -> Tensor:
        # A file of a fixed batch takes nothing less: the last batch is filled up.
        missing = batch - len(images) if isinstance(batch, int) else 0
        filled = torch.cat([images, images[:1].expand(missing, -1, -1, -1)])
        labels = session.run({"image": filled.numpy()})["labels"][: len(images)]
        if labels.shape != images.shape[:3] or (highest := int(labels.max())) > last:
            given = labels.shape if labels.shape != images.shape[:3] else highest
            raise DataError(path, f"gives labels {given}, not 0 to {last} of {images.shape[1:3]}")
        return torch.from_numpy(labels)

    return Model(
        predict_in_session,
        metadata.input_size,
        tuple(metadata.classes),
        batch_size=batch if isinstance(batch, int) else 8,
        seen=seen,
    )
