"""One's own data: ``images/`` and ``masks/`` with equal stems, with or without split folders."""

from pathlib import Path

from export.system.errors import DataError
from toolchain.datasets.base import FaceDataset, Sample, Split
from toolchain.datasets.doubts import doubts
from toolchain.datasets.image_files import (
    check_labels,
    find,
    fit_image,
    list_images,
    read_image,
    read_mask,
    require_split,
)
from toolchain.datasets.labels import CELEBAMASK_HQ, IGNORED, read_label_set
from toolchain.datasets.registry import register

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@register("folder")
class FolderDataset(FaceDataset):
    """Pairs ``images/NAME.*`` and ``masks/NAME.png`` or ``masks/NAME_mask.png``.

    A mask is as large as its image, or a whole number of times smaller: the image is brought to its
    size then. The root holds both folders, or some of ``train/``, ``val/``, ``test/`` that each
    hold both. Masks are palette or grey files whose values are labels of CelebAMask-HQ, or of the
    label set in ``labels.json`` in the root (see `read_label_set`).
    """

    layout = "images/ and masks/, perhaps in train/, val/, test/"
    licence = "unknown: the licence of your data"

    def __init__(self, root: Path, split: Split | None = None):
        self._label_file = root / "labels.json"
        own = self._label_file.exists()
        self.label_set = read_label_set(self._label_file) if own else CELEBAMASK_HQ
        self.splits = tuple(name for name in SPLITS if (root / name / "images").is_dir())
        self._files: dict[str, tuple[Path, Path]] = {}
        if not self.splits:
            self._add(root, "")
        elif split is None:
            for part in self.splits:
                self._add(root / part, f"{part}/")
        else:
            require_split(root, split, self.splits)
            self._add(root / split, "")
        self.names = tuple(self._files)

    @staticmethod
    def recognises(root: Path) -> bool:
        """See `Reader`."""
        return any((root / name / "masks").is_dir() for name in (".", *SPLITS))

    def read(self, index: int) -> Sample:
        """See `FaceDataset`."""
        name = self.names[index]
        image_path, mask_path = self._files[name]
        image, mask = read_image(image_path), read_mask(mask_path)
        image = fit_image(mask_path, mask, image)
        mask[mask == self.label_set.ignored] = IGNORED
        check_labels(mask_path, mask, self.label_set)
        return Sample(name, image, mask)

    def image_path(self, index: int) -> Path | None:
        """See `FaceDataset`."""
        return self._files[self.names[index]][0]

    def doubts(self) -> list[str]:
        """See `FaceDataset`."""
        return doubts(tuple(self._files.values()), self.label_set, self._label_file)

    def _add(self, folder: Path, prefix: str) -> None:
        images, masks = list_images(folder / "images"), list_images(folder / "masks")
        masks = self._by_image(masks, images)
        for stem, mask in masks.items():
            find(stem, images, needed_by=mask)
        for stem, image in images.items():
            self._files[prefix + stem] = (image, find(stem, masks, needed_by=image))

    @staticmethod
    def _by_image(masks: dict[str, Path], images: dict[str, Path]) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for stem, mask in masks.items():
            name = stem if stem in images else stem.removesuffix("_mask")
            if name in found:
                raise DataError(mask, f"and {found[name].name} are both for {name}; remove one")
            found[name] = mask
        return found
