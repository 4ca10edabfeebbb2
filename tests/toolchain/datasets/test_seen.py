"""Which images a network has seen, wherever they lie."""

import shutil

import pytest
from many_samples import make_many
from PIL import Image

from toolchain.datasets import open_dataset
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import open_part


def test_a_copied_image_has_the_same_fingerprint(make_layout, tmp_path):
    layout = make_layout("folder")
    here = layout.open()
    elsewhere = tmp_path / "elsewhere"
    for kind in ("images", "masks"):
        (elsewhere / "train" / kind).mkdir(parents=True)
    (elsewhere / "val" / "images").mkdir(parents=True)
    (elsewhere / "val" / "masks").mkdir()
    for split, old, new in (("train", "2", "renamed"), ("val", "10", "10")):
        for folder, kind in zip(layout.folders, ("images", "masks"), strict=True):
            shutil.copyfile(folder / f"{old}.png", elsewhere / split / kind / f"{new}.png")
    copies = open_dataset(str(elsewhere))
    assert copies.names == ("train/renamed", "val/10")
    assert [copies.fingerprint(i) for i in (0, 1)] == [here.fingerprint(i) for i in (0, 1)]


def test_different_images_have_different_fingerprints(kind_and_layout):
    dataset = kind_and_layout[1].open()
    assert len({dataset.fingerprint(i) for i in range(len(dataset))}) == len(dataset) == 3


def test_a_changed_image_has_another_fingerprint(make_layout):
    layout = make_layout("folder")
    before = layout.open().fingerprint(0)
    picture = Image.open(layout.image)
    picture.putpixel((63, 63), (1, 2, 3))
    picture.save(layout.image)
    assert layout.open().fingerprint(0) != before


@pytest.mark.parametrize("place", [0, 10_000, -1])
def test_beginning_end_and_length_count(tmp_path, place):
    make_many("folder", tmp_path, 1)
    image = tmp_path / "images" / "00000.png"
    content = bytearray(range(256)) * 400
    image.write_bytes(content)
    before = open_dataset(str(tmp_path)).fingerprint(0)
    content[place] ^= 1
    image.write_bytes(content)
    assert open_dataset(str(tmp_path)).fingerprint(0) != before
    content[place] ^= 1
    middle = len(content) // 2
    image.write_bytes(content[:middle] + content[middle - 1 :])
    assert open_dataset(str(tmp_path)).fingerprint(0) != before
    image.write_bytes(content)
    assert open_dataset(str(tmp_path)).fingerprint(0) == before


def test_drawn_faces_are_known_by_seed_and_number():
    small, large, other = (open_dataset(f"synthetic:{spec}") for spec in ("5", "9", "9:1"))
    assert SeenImages.of(small).count(large) == 5
    assert SeenImages.of(large).count(other) == 0


def test_the_text_says_the_same(tmp_path):
    dataset = open_dataset(make_many("folder", tmp_path, 500))
    seen = SeenImages.of(dataset)
    assert len(seen.prints) == 500
    text = seen.encode()
    assert text.isascii()
    assert len(text) == 8 * 500
    assert SeenImages.decode(text) == seen
    assert SeenImages.decode(SeenImages().encode()) == SeenImages()
    # The order in which they were seen does not show.
    assert SeenImages.of(dataset.subset(range(499, -1, -1))).encode() == text


@pytest.mark.parametrize("text", ["no base64!", "YWJj", "ümlaut"])
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match="is no record of images"):
        SeenImages.decode(text)


def test_a_union_counts_what_either_has_seen(tmp_path):
    spec = make_many("folder", tmp_path, 300)
    train, score, val = (open_part(spec, part) for part in ("train", "search-score", "val"))
    both = SeenImages.of(train).union([SeenImages.of(score), SeenImages()])
    assert both == SeenImages.of(train, score)
    assert both.count(open_dataset(spec)) == len(train) + len(score)
    assert both.count(val) == 0
    assert both.count(score) == len(score)
    assert SeenImages().count(val) == 0
