"""Writing a dataset as a folder that every command reads."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from export.console import track
from export.errors import UsageError
from export.files import whole_file, write_json
from toolchain.datasets.base import FaceDataset
from toolchain.datasets.labels import CELEBAMASK_HQ


def write_folder(dataset: FaceDataset, root: Path) -> None:
    """Write ``images/NAME.png`` and ``masks/NAME.png`` (palette files), and the label set.

    Raises:
        UsageError: the folder has images already.
        DataError: a sample cannot be read, or a file cannot be written.
    """
    if (root / "images").exists():
        raise UsageError(f"{root / 'images'} exists; choose another --output")
    label_set = dataset.label_set
    palette = np.array(label_set.palette, np.uint8).ravel().tolist()
    if label_set != CELEBAMASK_HQ:
        write_json(root / "labels.json", asdict(label_set))
    for sample in track(iter(dataset), "writing", len(dataset)):
        mask = Image.fromarray(sample.labels, "P")
        mask.putpalette(palette)
        name = sample.name.replace("/", "-")
        for kind, picture in (("images", Image.fromarray(sample.image)), ("masks", mask)):
            with whole_file(root / kind / f"{name}.png") as temporary:
                picture.save(temporary)
