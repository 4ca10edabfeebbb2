"""HELEN with soft label maps (SmithCVPR2013_dataset_resized).

Smith et al., Exemplar-Based Face Parsing (CVPR 2013): 2,000 exemplars to train on, 230 images
to tune on, 100 to test on.
"""

from pathlib import Path

import numpy as np

from export.system.errors import DataError
from toolchain.datasets.base import FaceDataset, Sample, Split
from toolchain.datasets.image_files import (
    check_size,
    find,
    list_images,
    read_grey,
    read_image,
    read_lines,
    require_split,
)
from toolchain.datasets.labels import HELEN
from toolchain.datasets.registry import register

LISTS: dict[Split, str] = {"train": "exemplars.txt", "val": "tuning.txt", "test": "testing.txt"}


@register("helen")
class Helen(FaceDataset):
    """Images ``images/NAME.jpg``, maps ``labels/NAME/NAME_lbl00.png`` to ``_lbl10.png``.

    Each map holds how sure a label is, 0 to 255; the surest wins, the first among equals. The
    lists of a split have lines such as ``1 , 100032540_1``.
    """

    label_set = HELEN
    own_size = True
    licence = "HELEN: no licence is stated; research use, photographs are from Flickr"
    layout = "images/, labels/NAME/NAME_lblNN.png and exemplars.txt, tuning.txt, testing.txt"

    def __init__(self, root: Path, split: Split | None = None):
        self.splits = tuple(part for part, name in LISTS.items() if (root / name).is_file())
        if not self.splits:
            raise DataError(root, f"has none of {', '.join(LISTS.values())}")
        require_split(root, split, self.splits)
        images, labels = list_images(root / "images"), root / "labels"
        self._files: dict[str, tuple[Path, Path]] = {}
        for part in self.splits if split is None else (split,):
            for line in read_lines(root / LISTS[part]):
                name = line.rpartition(",")[2].strip()
                self._files[name] = (find(name, images, root / LISTS[part]), labels / name)
                if not self._files[name][1].is_dir():
                    raise DataError(labels / name, f"is missing; {images[name]} needs it")
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
        image_path, folder = self._files[name]
        image = read_image(image_path)
        maps = []
        for label in range(len(self.label_set.classes)):
            path = folder / f"{name}_lbl{label:02d}.png"
            maps.append(read_grey(path))
            check_size(path, maps[-1], image)
        return Sample(name, image, np.argmax(maps, axis=0).astype(np.uint8))
