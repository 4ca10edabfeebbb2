"""Which images a network was trained on, in a form that travels with it."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from toolchain.datasets.base import FaceDataset


@dataclass(frozen=True)
class SeenImages:
    """A set of images, each known by the 32 bits of `FaceDataset.fingerprint`.

    Two different images share their bits in one of 4 billion pairs: of 1,000 images that are held
    against 30,000 none is taken for seen by mistake in 99 of 100 cases.

    Attributes:
        prints: of the images.
    """

    prints: frozenset[int] = frozenset()

    @classmethod
    def of(cls, *datasets: FaceDataset) -> "SeenImages":
        """Take all images of some datasets."""
        return cls(frozenset(d.fingerprint(i) for d in datasets for i in range(len(d))))

    @classmethod
    def decode(cls, text: str) -> "SeenImages":
        """Read what `encode` has written.

        Raises:
            ValueError: it is something else.
        """
        try:
            numbers = np.frombuffer(base64.b64decode(text, validate=True), "<u4")
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"is no record of images ({error})") from None
        return cls(frozenset(numbers.tolist()))

    def encode(self) -> str:
        """Write the set as text, under 6 characters an image."""
        return base64.b64encode(np.array(sorted(self.prints), "<u4").tobytes()).decode()

    def union(self, others: Iterable["SeenImages"]) -> "SeenImages":
        """Return the images of this set and of others."""
        return SeenImages(self.prints.union(*(other.prints for other in others)))

    def count(self, dataset: FaceDataset) -> int:
        """Say how many images of a dataset are in the set."""
        if not self.prints:
            return 0
        return sum(dataset.fingerprint(i) in self.prints for i in range(len(dataset)))
