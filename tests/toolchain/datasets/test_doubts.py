"""Data that can be read and is probably wrong is said to be so, once, with a file and a remedy."""

import logging
from pathlib import Path

import numpy as np
import pytest
from dataset_layouts import save_mask
from PIL import Image

from toolchain.datasets import open_dataset, registry
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.datasets.writing import write_folder

TURNED = Image.Exif()
TURNED[0x0112] = 3


@pytest.fixture
def folder(tmp_path):
    write_folder([(None, open_dataset("synthetic:6"))], tmp_path / "data")
    return tmp_path / "data"


def warnings(folder, caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            open_dataset(str(folder))
    return [record.getMessage() for record in caplog.records]


def masks(folder):
    return sorted((folder / "masks").iterdir())


def test_nothing_is_wrong_with_what_is_right(folder, caplog):
    assert warnings(folder, caplog) == []


def test_real_data_raise_no_doubt(real_data, caplog):
    assert warnings(real_data, caplog) == []


def test_masks_of_few_labels_without_a_word_on_what_they_are(folder, caplog):
    for mask in masks(folder):
        save_mask(mask, np.array(Image.open(mask)) > 0)
    (folder / "labels.json").unlink()
    (line,) = warnings(folder, caplog)
    assert line.startswith(f"{masks(folder)[0]}: the masks hold labels 0, 1 alone")
    assert "but celebamask-hq has 19 classes" in line
    # What it says to write is a label set, and ends the doubt.
    path, _, text = line.partition(" write ")[2].partition(": ")
    Path(path).write_text(text)
    registry._looked_at.clear()
    assert warnings(folder, caplog) == []
    assert open_dataset(str(folder)).label_set.classes == ("name of 0", "name of 1")


def test_hair_at_17(folder, caplog):
    hair, neck = (CELEBAMASK_HQ.classes.index(name) for name in ("hair", "neck"))
    assert (hair, neck) == (13, 17)
    exchanged = np.arange(256, dtype=np.uint8)
    exchanged[[hair, neck]] = neck, hair
    for mask in masks(folder):
        save_mask(mask, exchanged[np.array(Image.open(mask))])
    (line,) = warnings(folder, caplog)
    assert "label 17 lies above the skin" in line
    assert str(masks(folder)[0].parent) in line


def test_a_mask_without_the_mark_of_its_image(folder, caplog):
    image = sorted((folder / "images").iterdir())[2]
    Image.open(image).save(image, exif=TURNED)
    (line,) = warnings(folder, caplog)
    assert line.startswith(f"{image}: EXIF orientation 3")


def test_a_mask_with_the_mark_of_its_image_is_turned_with_it(folder, caplog):
    before = open_dataset(str(folder)).read(2)
    image, mask = sorted((folder / "images").iterdir())[2], masks(folder)[2]
    for path in (image, mask):
        Image.open(path).save(path, exif=TURNED)
    assert warnings(folder, caplog) == []
    turned = open_dataset(str(folder)).read(2)
    np.testing.assert_array_equal(turned.image, before.image[::-1, ::-1])
    np.testing.assert_array_equal(turned.labels, before.labels[::-1, ::-1])
