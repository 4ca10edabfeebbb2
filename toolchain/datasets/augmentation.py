"""Random changes to training samples: place, colour, quality and mirroring."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from toolchain.datasets.base import Pixels, Sample, resize_sample
from toolchain.datasets.labels import IGNORED, LabelSet
from toolchain.datasets.surroundings import Matrix, Pictures, backdrop, surroundings
from toolchain.settings.training_settings import AugmentationSettings

Other = Callable[[], Sample]
"""Draws another sample of the same dataset."""
Behind = Callable[[], Pixels]
"""Draws a backdrop, uint8 [size, size, 3]."""


def augment(
    sample: Sample,
    rng: np.random.Generator,
    label_set: LabelSet,
    size: int,
    settings: AugmentationSettings,
    other: Other | None = None,
    pictures: Pictures | None = None,
) -> Sample:
    """Return a changed sample of ``size`` x ``size`` pixels; the same ``rng`` gives the same one.

    Args:
        sample: any size; it is first brought to ``size`` as `resize_sample` does.
        rng: the source of chance.
        label_set: tells which labels a mirror exchanges.
        size: side of the result in pixels.
        settings: how much is changed.
        other: draws another sample, for scenes and neighbours; None: there are none.
        pictures: see `toolchain.datasets.surroundings.backdrop`.
    """
    behind = partial(backdrop, rng, size, other, pictures)
    sample = resize_sample(sample, size)
    if rng.random() < 0.5 and settings.mirror:
        sample = mirror(sample, label_set)
    if rng.random() < settings.faceless:
        sample = Sample(sample.name, behind(), np.zeros_like(sample.labels))
    elif rng.random() < settings.framed:
        sample = _framed(sample, rng, settings, behind, other)
    else:
        scale = rng.uniform(settings.smallest_crop, settings.largest_crop)
        centre = 0.5 + rng.uniform(-settings.shift, settings.shift, 2)
        sample = _placed(sample, scale, centre, rng, settings, behind)
    image = cv2.transform(sample.image, colour_change(rng, settings))
    return Sample(sample.name, _degrade(image, rng, settings), sample.labels)


def mirror(sample: Sample, label_set: LabelSet) -> Sample:
    """Exchange left and right, in the image and in the meaning of the labels."""
    exchange = np.arange(IGNORED + 1, dtype=np.uint8)
    exchange[: len(label_set.mirrored)] = label_set.mirrored
    return Sample(
        sample.name,
        np.ascontiguousarray(sample.image[:, ::-1]),
        exchange[sample.labels[:, ::-1]],
    )


def _framed(
    sample: Sample,
    rng: np.random.Generator,
    settings: AugmentationSettings,
    behind: Behind,
    other: Other | None,
) -> Sample:
    """Place a sample in a wider frame, perhaps with a neighbour."""
    size = len(sample.labels)

    def draw() -> tuple[float, NDArray[np.float64]]:
        scale = float(np.exp(rng.uniform(np.log(settings.smallest), 0)))
        return scale, rng.uniform(scale / 4, 1 - scale / 4, 2)

    result = _placed(sample, *draw(), rng, settings, behind)
    if other is not None and rng.random() < settings.neighbours:
        scale, centre = draw()
        # Across the left or the right edge.
        centre[0] = rng.choice([0.0, 1.0]) + rng.uniform(-0.35, 0.35) * scale
        angle = rng.uniform(-settings.rotation, settings.rotation)
        beside = _warped(*_shrunk(resize_sample(other(), size), scale, centre, angle), size)
        seen = (beside.labels > 0) & (result.labels == 0)
        result = Sample(
            sample.name,
            np.where(seen[..., None], beside.image, result.image),
            np.where(seen, beside.labels, result.labels),
        )
    return result


def _placed(
    sample: Sample,
    scale: float,
    centre: NDArray[np.float64],
    rng: np.random.Generator,
    settings: AugmentationSettings,
    behind: Behind,
) -> Sample:
    """Turn a sample, scale it, place its middle at ``centre``, and surround it.

    Args:
        sample: as large as the frame.
        scale: factor of its size.
        centre: in parts of the frame, x and y.
        rng: the source of chance.
        settings: of the turn.
        behind: draws a backdrop.
    """
    size = len(sample.labels)
    angle = rng.uniform(-settings.rotation, settings.rotation)
    small, place = _shrunk(sample, scale, centre, angle)
    warped = _warped(small, place, size)
    covered = cv2.warpAffine(np.full_like(small.labels, 255), place, (size, size))
    if covered.min() == 255:
        return warped
    around = surroundings(small, place, rng, size, behind)
    # Half of them as they were photographed, half cut out along the person.
    person = np.where(warped.labels > 0, 255, 0).astype(np.uint8)
    shown = covered if rng.random() < 0.5 else person
    return Sample(sample.name, _over(warped.image, shown, covered, around), warped.labels)


def _shrunk(
    sample: Sample, scale: float, centre: NDArray[np.float64], angle: float
) -> tuple[Sample, Matrix]:
    """Return a sample with no more pixels than it will have, and their way into the frame.

    Where pixels become fewer they are averaged here; a warp would pick some of them.
    """
    size = len(sample.labels)
    side = max(1, min(size, round(scale * size)))
    middle = (side - 1) / 2
    place = cv2.getRotationMatrix2D((middle, middle), angle, scale * size / side)
    place[:, 2] += centre * size - 0.5 - middle
    return resize_sample(sample, side), place


def _warped(sample: Sample, place: Matrix, size: int) -> Sample:
    """Bring a sample into a frame, black and background around it."""
    image = cv2.warpAffine(sample.image, place, (size, size), flags=cv2.INTER_LINEAR)
    labels = cv2.warpAffine(sample.labels, place, (size, size), flags=cv2.INTER_NEAREST)
    return Sample(sample.name, image, labels)


def _over(image: Pixels, shown: Pixels, covered: Pixels, around: Pixels) -> Pixels:
    """Lay the shown part of an image over its surroundings, with a soft edge."""
    soft = cv2.GaussianBlur(shown, (0, 0), max(len(image) / 256, 0.5))
    share = np.minimum(soft, covered)[..., None].astype(np.float32) / 255
    return np.asarray(around + share * (image.astype(np.float32) - around)).astype(np.uint8)


def colour_change(rng: np.random.Generator, settings: AugmentationSettings) -> NDArray[np.float64]:
    """Draw the 3 x 4 matrix that maps old colours, of 0 to 255, to new ones."""
    contrast, saturation, *tint = 1 + rng.uniform(-1, 1, 5) * (
        [settings.contrast, settings.saturation] + [settings.tint] * 3
    )
    luma = np.asarray([0.299, 0.587, 0.114])  # ITU-R BT.601
    mixing = saturation * np.eye(3) + (1 - saturation) * luma
    matrix = contrast * np.diag(tint) @ mixing
    offset = 128 * (1 - contrast) + rng.uniform(-settings.brightness, settings.brightness)
    return np.concatenate([matrix, np.full((3, 1), offset)], axis=1)


def _degrade(image: Pixels, rng: np.random.Generator, settings: AugmentationSettings) -> Pixels:
    blurred, noisy, compressed = rng.random(3) < settings.degraded
    if blurred:
        image = cv2.GaussianBlur(image, (0, 0), max(rng.uniform(0, settings.blur), 0.1))
    if noisy:
        grain = rng.integers(256, size=image.shape, dtype=np.uint8)
        most = rng.uniform(0, settings.noise)
        image = cv2.addWeighted(image, 1, grain, most / 128, -most)
    if compressed:
        quality = int(rng.integers(settings.jpeg, 96))
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return image
