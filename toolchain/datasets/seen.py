"""Which images a network was trained on, in a form that travels with it."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from toolchain.datasets.base import FaceDataset

BYTES = 6
"""Of a fingerprint."""


@dataclass(frozen=True)
class SeenImages:
    """A set of images, each known by the 48 bits of `FaceDataset.fingerprint`.

    When 3,000 images are held against 30,000, one of them is taken for seen by mistake in one of 3
    million cases. A file that was written anew, in another format say, counts as another image.

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
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"is no record of images ({error})") from None
        if len(content) % BYTES:
            raise ValueError("is no record of images (it is cut off)")
        pieces = (content[start : start + BYTES] for start in range(0, len(content), BYTES))
        return cls(frozenset(int.from_bytes(piece, "little") for piece in pieces))

    def encode(self) -> str:
        """Write the set as text, 8 characters an image."""
        content = b"".join(number.to_bytes(BYTES, "little") for number in sorted(self.prints))
        return base64.b64encode(content).decode()

    def union(self, others: Iterable["SeenImages"]) -> "SeenImages":
        """Return the images of this set and of others."""
        return SeenImages(self.prints.union(*(other.prints for other in others)))

    def count(self, dataset: FaceDataset) -> int:
        """Say how many images of a dataset are in the set."""
        if not self.prints:
            return 0
        return sum(dataset.fingerprint(i) in self.prints for i in range(len(dataset)))
