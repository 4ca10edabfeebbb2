"""EG1800: portraits with one class, person.

Shen et al., Automatic Portrait Segmentation for Image Stylization (Eurographics 2016); the lists
are those of PortraitNet (Zhang et al., Computers & Graphics 2019): 1,447 images to train on, 289
to test on, since some of the 1,800 are no longer online.
"""

from pathlib import Path

import numpy as np

from toolchain.datasets.base import FaceDataset, Sample, Split
from toolchain.datasets.image_files import (
    check_labels,
    composed,
    find,
    fit_image,
    list_images,
    read_grey,
    read_image,
    read_lines,
    require_split,
)
from toolchain.datasets.labels import EG1800
from toolchain.datasets.registry import register

LISTS: dict[Split, str] = {"train": "eg1800_train.txt", "test": "eg1800_test.txt"}


@register("eg1800")
class EG1800Dataset(FaceDataset):
    """Images ``Images/NAME.png``, masks ``Labels/NAME.png`` with 0 and 1, or 0 and 255.

    The lists of a split have one file name per line.
    """

    label_set = EG1800
    licence = "EG1800: no licence is stated; research use, photographs are from Flickr"
    layout = "Images/, Labels/ and eg1800_train.txt, eg1800_test.txt"
    splits: tuple[Split, ...] = ("train", "test")

    def __init__(self, root: Path, split: Split | None = None):
        require_split(root, split, self.splits)
        images, masks = list_images(root / "Images"), list_images(root / "Labels")
        self._files: dict[str, tuple[Path, Path]] = {}
        for part in self.splits if split is None else (split,):
            for line in read_lines(root / LISTS[part]):
                name = composed(Path(line).stem)
                image = find(name, images, needed_by=root / LISTS[part])
                self._files[name] = (image, find(name, masks, needed_by=image))
        self.names = tuple(self._files)

    @staticmethod
    def recognises(root: Path) -> bool:
        """See `Reader`."""
        return any((root / name).is_file() for name in LISTS.values())

    def image_path(self, index: int) -> Path | None:
        """See `FaceDataset`."""
        return self._files[self.names[index]][0]

    def read(self, index: int) -> Sample:
        """See `FaceDataset`."""
        name = self.names[index]
        image_path, mask_path = self._files[name]
        image, mask = read_image(image_path), read_grey(mask_path)
        if set(np.unique(mask)) <= {0, 255}:
            mask = mask // 255
        image = fit_image(mask_path, mask, image)
        check_labels(mask_path, mask, self.label_set)
        return Sample(name, image, mask)
