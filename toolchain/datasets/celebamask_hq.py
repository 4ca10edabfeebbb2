"""CelebAMask-HQ as it is downloaded: photographs and one binary mask per part.

Lee et al., MaskGAN: Towards Diverse and Interactive Facial Image Manipulation (CVPR 2020).
"""

from pathlib import Path

import cv2
import numpy as np

from export.system.errors import DataError
from toolchain.datasets.base import FaceDataset, Sample, Split
from toolchain.datasets.image_files import (
    describe_size,
    list_images,
    read_grey,
    read_image,
    read_lines,
)
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.datasets.registry import register

IMAGES, MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
IMAGES_PER_FOLDER = 2000
# CelebA's own partition, by the number of the original file: the last one of each split.
_LAST_TRAIN, _LAST_VAL = 162_770, 182_637


@register("celebamask-hq")
class CelebAMaskHQ(FaceDataset):
    """Images ``CelebA-HQ-img/I.jpg``, parts ``CelebAMask-HQ-mask-anno/I//2000/IIIII_PART.png``.

    A part that a face lacks has no file; later parts are painted over earlier ones, in label
    order. Images (1024 x 1024) are brought to the size of the masks (512 x 512). The splits are
    CelebA's, where ``CelebA-HQ-to-CelebA-mapping.txt`` is present; without it there are none.
    """

    label_set = CELEBAMASK_HQ
    licence = "CelebAMask-HQ: non-commercial research and education only; no redistribution"
    layout = f"{IMAGES}/ and {MASKS}/"

    def __init__(self, root: Path, split: Split | None = None):
        self._images, self._masks = list_images(root / IMAGES), root / MASKS
        names = tuple(self._images)
        mapping = root / MAPPING
        if mapping.exists():
            self.splits = ("train", "val", "test")
        if self.splits and split is not None:
            parts = _read_partition(mapping)
            names = tuple(name for name in names if parts.get(name) == split)
            if not names:
                raise DataError(mapping, f"puts no image of {root / IMAGES} in {split}")
        for name in names:
            if not name.isdecimal():
                raise DataError(self._images[name], "is not named by a number, such as 0.jpg")
            if not any(path.exists() for path in self._parts(name).values()):
                raise DataError(self._images[name], f"has no mask, such as {self._parts(name)[1]}")
        self.names = names

    @staticmethod
    def recognises(root: Path) -> bool:
        """See `Reader`."""
        return (root / MASKS).is_dir()

    def read(self, index: int) -> Sample:
        """See `FaceDataset`."""
        name = self.names[index]
        present = {label: path for label, path in self._parts(name).items() if path.exists()}
        parts = {label: read_grey(path) for label, path in present.items()}
        image = read_image(self._images[name])
        size = next(iter(parts.values())).shape
        for label, part in parts.items():
            if part.shape != size or size[0] * image.shape[1] != size[1] * image.shape[0]:
                sizes = f"is {describe_size(part)}, its image {describe_size(image)}"
                raise DataError(present[label], f"{sizes}; parts need one size and shape")
        labels = np.zeros(size, np.uint8)
        for label, part in parts.items():
            labels[part > 0] = label
        if image.shape[:2] != size:
            image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        return Sample(name, image, labels)

    def image_path(self, index: int) -> Path | None:
        """See `FaceDataset`."""
        return self._images[self.names[index]]

    def _parts(self, name: str) -> dict[int, Path]:
        number = int(name)
        folder = self._masks / str(number // IMAGES_PER_FOLDER)
        classes = enumerate(self.label_set.classes)
        return {label: folder / f"{number:05d}_{part}.png" for label, part in classes if label}


def _read_partition(mapping: Path) -> dict[str, Split]:
    """Read the columns ``idx``, ``orig_idx``, ``orig_file`` (six digits and .jpg)."""
    parts: dict[str, Split] = {}
    for line in read_lines(mapping)[1:]:
        try:
            name, _, original = line.split()
            number = int(original.removesuffix(".jpg"))
        except ValueError:
            raise DataError(
                mapping, f"has a line that is not idx, orig_idx, file: {line}"
            ) from None
        parts[name] = "train" if number <= _LAST_TRAIN else "val" if number <= _LAST_VAL else "test"
    return parts
