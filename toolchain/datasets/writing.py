"""Writing a dataset as a folder that every command reads."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from export.system.console import track
from export.system.errors import UsageError
from export.system.files import only_one, unfinished_folder, write_json
from toolchain.datasets.base import FaceDataset, Split


def write_folder(parts: Sequence[tuple[Split | None, FaceDataset]], root: Path) -> None:
    """Write ``images/NAME.png`` and ``masks/NAME.png`` (palette files), and the label set.

    All of it appears at the end: what is there is never a part of the dataset.

    Args:
        parts: of one source. What belongs to a split goes into the folder of its name, so that no
            image for figures becomes one for training.
        root: the folder to fill.

    Raises:
        UsageError: the folder has images already, or another process is at work there.
        DataError: a sample cannot be read, or a file cannot be written.
    """
    label_set = parts[0][1].label_set
    palette = np.array(label_set.palette, np.uint8).ravel().tolist()
    with only_one(root), unfinished_folder(root) as new:
        for folder in (root, *(root / split for split in get_args(Split))):
            if (folder / "images").exists():
                raise UsageError(f"{folder / 'images'} exists; choose another --output")
        write_json(new / "labels.json", asdict(label_set))
        for split, dataset in parts:
            folder = new / (split or "")
            for kind in ("images", "masks"):
                (folder / kind).mkdir(parents=True)
            for sample in track(iter(dataset), f"writing {split or root.name}", len(dataset)):
                mask = Image.fromarray(sample.labels, "P")
                mask.putpalette(palette)
                name = sample.name.replace("/", "-")
                for kind, picture in (("images", Image.fromarray(sample.image)), ("masks", mask)):
                    picture.save(folder / kind / f"{name}.png")
        for path in sorted(new.iterdir()):
            path.rename(root / path.name)
