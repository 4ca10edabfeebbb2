"""Faces in a wider frame, for figures: what becomes of a face that does not fill the picture.

Each image is brought to a part of the frame's size and placed by chance that follows from its name,
so that every network is asked the same. Around it its edges are drawn out, out of focus; there no
label counts.
"""

from zlib import crc32

import numpy as np

from toolchain.datasets.base import Sample, resize_sample
from toolchain.datasets.labels import IGNORED
from toolchain.datasets.surroundings import continued


def framed(sample: Sample, size: int, scale: float) -> Sample:
    """Place a sample in a frame of ``size`` x ``size`` pixels; labels around it are `IGNORED`.

    Args:
        sample: any size.
        size: of the frame, pixels.
        scale: the sample's size in parts of the frame's, above 0, at most 1.
    """
    side = max(1, round(scale * size))
    small = resize_sample(sample, side)
    rng = np.random.default_rng(crc32(sample.name.encode("utf-8", "surrogateescape")))
    left, top = (rng.random(2) * (size - side + 1)).astype(int).tolist()
    inside = slice(top, top + side), slice(left, left + side)
    image = continued(small.image, np.array([[1.0, 0, left], [0, 1, top]]), size)
    image[inside] = small.image
    labels = np.full((size, size), IGNORED, np.uint8)
    labels[inside] = small.labels
    return Sample(sample.name, image, labels)
