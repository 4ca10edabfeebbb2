"""Tiny layouts of every kind of dataset, made of drawn faces, with what must be read from them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from toolchain.datasets import FaceDataset, Sample, open_dataset, resize_sample

SIDE = 64


@dataclass
class Layout:
    """One dataset on disk.

    ``splits`` maps each split (or "" where the kind has none) to its names; ``expected`` maps
    names to labels; ``image`` and ``mask`` are files of the first sample of all.
    """

    spec: str
    splits: dict[str, list[str]]
    expected: dict[str, np.ndarray]
    image: Path | None = None
    mask: Path | None = None
    folders: list[Path] = field(default_factory=list)

    def open(self, **options) -> FaceDataset:
        return open_dataset(self.spec, **options)


def save_image(path: Path, sample: Sample, side: int = SIDE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(resize_sample(sample, side).image).save(path)
    return path


def save_mask(path: Path, values: np.ndarray, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(values.astype(np.uint8))
    if mode == "P":
        mask.putpalette([channel for i in range(256) for channel in (i, 255 - i, 7 * i % 256)])
    assert mask.mode == mode
    mask.save(path)
    return path


def make_folder(root: Path, faces: list[Sample]) -> Layout:
    layout = Layout(str(root), {"": ["2", "10", "a"]}, {})
    for name, face, mode in zip(layout.splits[""], faces, "PLP", strict=True):
        save_image(root / "images" / f"{name}.png", face)
        save_mask(root / "masks" / f"{name}.png", face.labels, mode)
        layout.expected[name] = face.labels
    layout.image, layout.mask = root / "images" / "2.png", root / "masks" / "2.png"
    layout.folders = [root / "images", root / "masks"]
    return layout


def make_split_folder(root: Path, faces: list[Sample]) -> Layout:
    layout = Layout(str(root), {"train": ["x", "y"], "val": ["x"]}, {})
    for (split, name), face in zip(
        [("train", "x"), ("train", "y"), ("val", "x")], faces, strict=True
    ):
        save_image(root / split / "images" / f"{name}.jpg", face)
        save_mask(root / split / "masks" / f"{name}.png", face.labels, "P")
        layout.expected[f"{split}/{name}"] = face.labels
    layout.image = root / "train" / "images" / "x.jpg"
    layout.mask = root / "train" / "masks" / "x.png"
    layout.folders = [
        root / split / kind for split in ("train", "val") for kind in ("images", "masks")
    ]
    return layout


def make_celebamask_hq(root: Path, faces: list[Sample]) -> Layout:
    layout = Layout(str(root), {"train": ["0"], "val": ["7"], "test": ["2001"]}, {})
    dataset_classes = open_dataset("synthetic:1").label_set.classes
    for name, face in zip(["0", "7", "2001"], faces, strict=True):
        # The photographs are twice as large as the masks.
        save_image(root / "CelebA-HQ-img" / f"{name}.jpg", face, 2 * SIDE)
        folder = root / "CelebAMask-HQ-mask-anno" / str(int(name) // 2000)
        for label in range(1, 19):
            if (face.labels == label).any():
                # The skin lies below all later parts, as in the official masks.
                part = face.labels >= 1 if label == 1 else face.labels == label
                save_mask(folder / f"{int(name):05d}_{dataset_classes[label]}.png", 255 * part)
        layout.expected[name] = face.labels
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx       orig_idx  orig_file\n"
        "0         162769    162770.jpg\n"
        "7         162770    162771.jpg\n"
        "2001      182637    182638.jpg\n"
    )
    layout.image = root / "CelebA-HQ-img" / "0.jpg"
    layout.mask = root / "CelebAMask-HQ-mask-anno" / "0" / "00000_nose.png"
    layout.folders = [root / "CelebA-HQ-img"]
    return layout


def make_helen(root: Path, faces: list[Sample]) -> Layout:
    names = ["100032540_1", "23_1", "4_2"]
    layout = Layout(
        str(root), dict(zip(("train", "val", "test"), ([n] for n in names), strict=True)), {}
    )
    rng = np.random.default_rng(0)
    for name, face in zip(names, faces, strict=True):
        labels = face.labels % 11
        save_image(root / "images" / f"{name}.jpg", face)
        for label in range(11):
            # The right map is surest by far or by little; the others are unsure.
            sure = rng.integers(130, 256, labels.shape)
            soft = np.where(labels == label, sure, rng.integers(0, 120, labels.shape))
            save_mask(root / "labels" / name / f"{name}_lbl{label:02d}.png", soft)
        layout.expected[name] = labels
    for file, name in zip(("exemplars.txt", "tuning.txt", "testing.txt"), names, strict=True):
        (root / file).write_text(f"1 , {name}\n\n")
    layout.image = root / "images" / f"{names[0]}.jpg"
    layout.mask = root / "labels" / names[0] / f"{names[0]}_lbl04.png"
    layout.folders = [root / "images"]
    return layout


def make_eg1800(root: Path, faces: list[Sample]) -> Layout:
    layout = Layout(str(root), {"train": ["00001", "00005"], "test": ["00002"]}, {})
    for name, face, person in zip(["00001", "00005", "00002"], faces, (1, 255, 1), strict=True):
        save_image(root / "Images" / f"{name}.png", face)
        save_mask(root / "Labels" / f"{name}.png", person * (face.labels > 0))
        layout.expected[name] = (face.labels > 0).astype(np.uint8)
    (root / "eg1800_train.txt").write_text("00001.png\n00005.png\n")
    (root / "eg1800_test.txt").write_text("00002.png\n")
    layout.image, layout.mask = root / "Images" / "00001.png", root / "Labels" / "00001.png"
    layout.folders = [root / "Images", root / "Labels"]
    return layout


def make_synthetic(root: Path, faces: list[Sample]) -> Layout:
    dataset = open_dataset("synthetic:3:5")
    names = list(dataset.names)
    return Layout("synthetic:3:5", {"": names}, {s.name: s.labels for s in dataset})


# Every kind must be here: the conformance tests run on each.
LAYOUTS: dict[str, tuple[str | None, Callable[[Path, list[Sample]], Layout]]] = {
    "folder": ("folder", make_folder),
    "folder with splits": ("folder", make_split_folder),
    "celebamask-hq": ("celebamask-hq", make_celebamask_hq),
    "helen": ("helen", make_helen),
    "eg1800": ("eg1800", make_eg1800),
    "synthetic": (None, make_synthetic),
}
