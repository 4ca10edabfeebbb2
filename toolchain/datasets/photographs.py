"""Photographs alone: enough to take ranges of activations from, or to show what is no face."""

from pathlib import Path

import numpy as np

from toolchain.datasets.base import FaceDataset, Sample
from toolchain.datasets.image_files import list_images, read_image
from toolchain.datasets.labels import CELEBAMASK_HQ, IGNORED
from toolchain.datasets.registry import recognised


class Photographs(FaceDataset):
    """Images in a folder, or in its ``images/``; every pixel's label is `IGNORED`."""

    label_set = CELEBAMASK_HQ
    licence = "unknown: the licence of your photographs"
    labelled = False

    def __init__(self, root: Path):
        inside = root / "images"
        self._images = list_images(inside if inside.is_dir() else root)
        self.names = tuple(self._images)

    @staticmethod
    def are_in(spec: str) -> bool:
        """Tell whether what a dataset is given by is a folder without masks that are known."""
        return Path(spec).is_dir() and recognised(Path(spec)) is None

    def read(self, index: int) -> Sample:
        """See `FaceDataset`."""
        image = read_image(self._images[self.names[index]])
        return Sample(self.names[index], image, np.full(image.shape[:2], IGNORED, np.uint8))

    def image_path(self, index: int) -> Path | None:
        """See `FaceDataset`."""
        return self._images[self.names[index]]
