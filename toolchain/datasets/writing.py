"""Writing a dataset as a folder that every command reads."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from export.console import track
from export.errors import UsageError
from export.files import whole_file, write_json
from toolchain.datasets.base import FaceDataset, Split


def write_folder(parts: Sequence[tuple[Split | None, FaceDataset]], root: Path) -> None:
    """Write ``images/NAME.png`` and ``masks/NAME.png`` (palette files), and the label set.

    Args:
        parts: of one source. What belongs to a split goes into the folder of its name, so that no
            image for figures becomes one for training.
        root: the folder to fill.

    Raises:
        UsageError: the folder has images already.
        DataError: a sample cannot be read, or a file cannot be written.
    """
    for folder in (root, *(root / split for split in get_args(Split))):
        if (folder / "images").exists():
            raise UsageError(f"{folder / 'images'} exists; choose another --output")
    label_set = parts[0][1].label_set
    palette = np.array(label_set.palette, np.uint8).ravel().tolist()
    write_json(root / "labels.json", asdict(label_set))
    for split, dataset in parts:
        folder = root / (split or "")
        for sample in track(iter(dataset), f"writing {folder.name}", len(dataset)):
            mask = Image.fromarray(sample.labels, "P")
            mask.putpalette(palette)
            name = sample.name.replace("/", "-")
            for kind, picture in (("images", Image.fromarray(sample.image)), ("masks", mask)):
                with whole_file(folder / kind / f"{name}.png") as temporary:
                    picture.save(temporary)
