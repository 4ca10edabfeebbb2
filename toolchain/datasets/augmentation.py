"""Random changes to training samples: place, colour, quality and mirroring."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from toolchain.datasets.base import Pixels, Sample, resize_sample
from toolchain.datasets.labels import LabelSet
from toolchain.datasets.surroundings import Matrix, surroundings

Other = Callable[[], Sample]
"""Draws another sample of the same dataset."""


@dataclass(frozen=True)
class AugmentationStrengths:
    """How much is changed; each change is drawn evenly from its range.

    Attributes:
        mirror: the share of samples that is mirrored.
        scale: smallest and largest factor of size; above 1 it crops.
        shift: largest move either way, as a part of the size.
        framed: the share of samples that is placed in a wider frame instead, of any size from
            ``smallest`` to the whole, anywhere, up to a quarter of it outside.
        smallest: smallest factor of size of those, drawn evenly in logarithms.
        neighbours: the share of the framed ones that has somebody else beside it, cut off.
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
    framed: float = 0.5
    smallest: float = 0.2
    neighbours: float = 0.2
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
    other: Other | None = None,
) -> Sample:
    """Return a changed sample of ``size`` x ``size`` pixels; the same ``rng`` gives the same one.

    Args:
        sample: any size; it is first brought to ``size`` as `resize_sample` does.
        rng: the source of chance.
        label_set: tells which labels a mirror exchanges.
        size: side of the result in pixels.
        strengths: None is `AugmentationStrengths` with its defaults.
        other: draws another sample, for scenes and neighbours; None: there are none.
    """
    strengths = strengths or AugmentationStrengths()
    sample = resize_sample(sample, size)
    if rng.random() < strengths.mirror:
        sample = mirror(sample, label_set)
    if rng.random() < strengths.framed:
        sample = _framed(sample, rng, strengths, other)
    else:
        scale = rng.uniform(*strengths.scale)
        centre = 0.5 + rng.uniform(-strengths.shift, strengths.shift, 2)
        sample = _placed(sample, scale, centre, rng, strengths, other)
    image = cv2.transform(sample.image, _colours(rng, strengths))
    return Sample(sample.name, _degrade(image, rng, strengths), sample.labels)


def mirror(sample: Sample, label_set: LabelSet) -> Sample:
    """Exchange left and right, in the image and in the meaning of the labels."""
    exchange = np.asarray(label_set.mirrored, np.uint8)
    return Sample(
        sample.name,
        np.ascontiguousarray(sample.image[:, ::-1]),
        exchange[sample.labels[:, ::-1]],
    )


def _framed(
    sample: Sample, rng: np.random.Generator, strengths: AugmentationStrengths, other: Other | None
) -> Sample:
    """Place a sample in a wider frame, perhaps with a neighbour."""
    size = len(sample.labels)

    def draw() -> tuple[float, NDArray[np.float64]]:
        scale = float(np.exp(rng.uniform(np.log(strengths.smallest), 0)))
        return scale, rng.uniform(scale / 4, 1 - scale / 4, 2)

    result = _placed(sample, *draw(), rng, strengths, other)
    if other is not None and rng.random() < strengths.neighbours:
        scale, centre = draw()
        # Across the left or the right edge.
        centre[0] = rng.choice([0.0, 1.0]) + rng.uniform(-0.35, 0.35) * scale
        angle = rng.uniform(-strengths.rotation, strengths.rotation)
        behind = _warped(*_shrunk(resize_sample(other(), size), scale, centre, angle), size)
        seen = (behind.labels > 0) & (result.labels == 0)
        result = Sample(
            sample.name,
            np.where(seen[..., None], behind.image, result.image),
            np.where(seen, behind.labels, result.labels),
        )
    return result


def _placed(
    sample: Sample,
    scale: float,
    centre: NDArray[np.float64],
    rng: np.random.Generator,
    strengths: AugmentationStrengths,
    other: Other | None,
) -> Sample:
    """Turn a sample, scale it, place its middle at ``centre``, and surround it.

    Args:
        sample: as large as the frame.
        scale: factor of its size.
        centre: in parts of the frame, x and y.
        rng: the source of chance.
        strengths: of the turn.
        other: see `augment`.
    """
    size = len(sample.labels)
    angle = rng.uniform(-strengths.rotation, strengths.rotation)
    small, place = _shrunk(sample, scale, centre, angle)
    warped = _warped(small, place, size)
    covered = cv2.warpAffine(np.full_like(small.labels, 255), place, (size, size))
    if covered.min() == 255:
        return warped
    around = surroundings(small, place, rng, size, other)
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
