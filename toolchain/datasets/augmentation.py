"""Random changes to training samples: place, colour, quality and mirroring."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from toolchain.datasets.base import Pixels, Sample, resize_sample
from toolchain.datasets.labels import LabelSet

# Where the image ends, both the image and the labels are continued by background of middle grey.
_GREY = (128, 128, 128)


@dataclass(frozen=True)
class AugmentationStrengths:
    """How much is changed; each change is drawn evenly from its range.

    Attributes:
        mirror: the share of samples that is mirrored.
        scale: smallest and largest factor of size; above 1 it crops.
        shift: largest move either way, as a part of the size.
        rotation: largest turn either way, in degrees.
        brightness: largest change either way, in grey levels (of 255).
        contrast: largest change of the factor either way.
        saturation: largest change of the factor either way.
        tint: largest change of each colour channel's factor either way.
        blur: largest standard deviation, in pixels of the result.
        noise: largest amplitude, in grey levels.
        jpeg: lowest JPEG quality, 1 to 100; the highest is 95.
        degraded: the share of samples that gets each of blur, noise and JPEG.
    """

    mirror: float = 0.5
    scale: tuple[float, float] = (0.75, 1.4)
    shift: float = 0.1
    rotation: float = 20.0
    brightness: float = 30.0
    contrast: float = 0.25
    saturation: float = 0.4
    tint: float = 0.08
    blur: float = 1.5
    noise: float = 12.0
    jpeg: int = 40
    degraded: float = 0.25


def augment(
    sample: Sample,
    rng: np.random.Generator,
    label_set: LabelSet,
    size: int,
    strengths: AugmentationStrengths | None = None,
) -> Sample:
    """Return a changed sample of ``size`` x ``size`` pixels; the same ``rng`` gives the same one.

    Args:
        sample: any size; it is first brought to ``size`` as `resize_sample` does.
        rng: the source of chance.
        label_set: tells which labels a mirror exchanges.
        size: side of the result in pixels.
        strengths: None is `AugmentationStrengths` with its defaults.
    """
    strengths = strengths or AugmentationStrengths()
    sample = resize_sample(sample, size)
    if rng.random() < strengths.mirror:
        sample = mirror(sample, label_set)
    place = _place(size, rng, strengths)
    image = cv2.warpAffine(
        sample.image, place, (size, size), flags=cv2.INTER_LINEAR, borderValue=_GREY
    )
    labels = cv2.warpAffine(sample.labels, place, (size, size), flags=cv2.INTER_NEAREST)
    image = cv2.transform(image, _colours(rng, strengths))
    return Sample(sample.name, _degrade(image, rng, strengths), labels)


def mirror(sample: Sample, label_set: LabelSet) -> Sample:
    """Exchange left and right, in the image and in the meaning of the labels."""
    exchange = np.asarray(label_set.mirrored, np.uint8)
    return Sample(
        sample.name,
        np.ascontiguousarray(sample.image[:, ::-1]),
        exchange[sample.labels[:, ::-1]],
    )


def _place(
    size: int, rng: np.random.Generator, strengths: AugmentationStrengths
) -> NDArray[np.float64]:
    """Return the 2 x 3 matrix of scaling and turning about the centre, then shifting."""
    middle = (size - 1) / 2
    angle = rng.uniform(-strengths.rotation, strengths.rotation)
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, rng.uniform(*strengths.scale))
    matrix[:, 2] += rng.uniform(-strengths.shift, strengths.shift, 2) * size
    return matrix


def _colours(rng: np.random.Generator, strengths: AugmentationStrengths) -> NDArray[np.float64]:
    """Return the 3 x 4 matrix that maps old colours to new ones."""
    contrast, saturation, *tint = 1 + rng.uniform(-1, 1, 5) * (
        [strengths.contrast, strengths.saturation] + [strengths.tint] * 3
    )
    luma = np.asarray([0.299, 0.587, 0.114])  # ITU-R BT.601
    mixing = saturation * np.eye(3) + (1 - saturation) * luma
    matrix = contrast * np.diag(tint) @ mixing
    offset = 128 * (1 - contrast) + rng.uniform(-strengths.brightness, strengths.brightness)
    return np.concatenate([matrix, np.full((3, 1), offset)], axis=1)


def _degrade(image: Pixels, rng: np.random.Generator, strengths: AugmentationStrengths) -> Pixels:
    blurred, noisy, compressed = rng.random(3) < strengths.degraded
    if blurred:
        image = cv2.GaussianBlur(image, (0, 0), max(rng.uniform(0, strengths.blur), 0.1))
    if noisy:
        grain = rng.integers(256, size=image.shape, dtype=np.uint8)
        most = rng.uniform(0, strengths.noise)
        image = cv2.addWeighted(image, 1, grain, most / 128, -most)
    if compressed:
        quality = int(rng.integers(strengths.jpeg, 96))
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return image
