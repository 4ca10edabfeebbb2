"""Drawn faces with all 19 classes of CelebAMask-HQ: data without a download or a licence."""

import re
from pathlib import Path

import numpy as np

from export.system.errors import UsageError
from toolchain.datasets.base import FaceDataset, Sample
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.datasets.synthetic import attire, features, hair
from toolchain.datasets.synthetic.canvas import Canvas
from toolchain.datasets.synthetic.person import Person
from toolchain.genotype import shortened

MOST = 1_000_000
"""Faces of a dataset."""


class SyntheticFaces(FaceDataset):
    """Faces drawn on demand, 512 x 512; face i of a seed is the same whatever the count.

    About 25 % wear glasses, 20 % a hat, 35 % earrings and 30 % a necklace.
    """

    label_set = CELEBAMASK_HQ
    licence = "none needed: drawn by nastool (Apache-2.0)"

    def __init__(self, count: int, seed: int = 0):
        self.names = tuple(f"synthetic-{seed}-{index:05d}" for index in range(count))
        self._seed = seed

    @classmethod
    def parse(cls, spec: str) -> "SyntheticFaces":
        """Make the dataset of ``synthetic:COUNT[:SEED]``.

        Raises:
            UsageError: ``spec`` is something else.
        """
        found = re.fullmatch(r"synthetic:([0-9]{1,9})(?::([0-9]{1,9}))?", spec)
        if not found or not 1 <= int(found[1]) <= MOST:
            raise UsageError(
                f"{shortened(spec)!r} is not synthetic:COUNT[:SEED]; COUNT from 1 to {MOST}, SEED "
                "from 0"
            )
        return cls(int(found[1]), int(found[2] or 0))

    def image_path(self, index: int) -> Path | None:
        """See `FaceDataset`."""
        return None

    def read(self, index: int) -> Sample:
        """Draw face ``index``: image uint8 [512, 512, 3], labels uint8 [512, 512]."""
        name = self.names[index]
        canvas = _draw(np.random.default_rng([self._seed, index % len(self)]))
        return Sample(name, canvas.image, canvas.labels)


def _draw(rng: np.random.Generator) -> Canvas:
    """Draw one person from back to front."""
    person = Person(rng)
    hair.back(person)
    features.neck(person)
    attire.cloth(person)
    if person.necklace:
        attire.necklace(person)
    hair.falling(person)
    features.ears(person)
    features.skin(person)
    if person.ears_hidden:
        hair.locks(person)
    elif person.earrings:
        attire.earrings(person)
    features.mouth(person)
    features.nose(person)
    features.brows(person)
    if person.glasses:
        attire.glasses(person)
    else:
        features.eyes(person)
    hair.front(person)
    if person.hat:
        attire.hat(person)
    canvas = person.canvas
    canvas.light(rng)
    canvas.photograph(rng)
    return canvas
