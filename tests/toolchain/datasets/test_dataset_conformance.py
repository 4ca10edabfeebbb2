"""What every dataset reader must do; a new kind joins with its layout in dataset_layouts.py."""

import pickle

import numpy as np
import pytest
from dataset_layouts import LAYOUTS
from PIL import Image

from export.system.errors import DataError
from toolchain.datasets import kinds, open_dataset


def test_every_kind_has_a_layout():
    assert {kind for kind, _ in LAYOUTS.values() if kind} == set(kinds())


def test_kind_is_recognised_and_can_be_named(kind_and_layout):
    kind, layout = kind_and_layout
    recognised = layout.open()
    assert len(recognised) == len(layout.expected)
    assert recognised.names == layout.open(kind=kind).names
    assert type(recognised) is type(layout.open(kind=kind))


def test_describes_itself(kind_and_layout):
    dataset = kind_and_layout[1].open()
    assert dataset.licence.strip()
    assert "\n" not in dataset.licence
    assert len(set(dataset.names)) == len(dataset.names) == len(dataset)


def test_samples_are_what_was_stored(kind_and_layout):
    layout = kind_and_layout[1]
    dataset = layout.open()
    read = {sample.name: sample for sample in dataset}
    assert list(read) == list(dataset.names)
    assert set(read) == set(layout.expected)
    for name, labels in layout.expected.items():
        image = read[name].image
        assert image.dtype == read[name].labels.dtype == np.uint8
        assert image.shape == (*labels.shape, 3)
        assert image.flags.writeable
        assert image.flags.c_contiguous
        assert image.std() > 5
        np.testing.assert_array_equal(read[name].labels, labels)
        assert labels.max() < len(dataset.label_set.classes)


def test_reading_is_repeatable_in_any_order_and_process(kind_and_layout):
    dataset = kind_and_layout[1].open()
    forth = [dataset.read(i) for i in range(len(dataset))]
    copy = pickle.loads(pickle.dumps(dataset))
    back = [copy.read(i) for i in reversed(range(len(copy)))][::-1]
    for first, second in zip(forth, back, strict=True):
        assert first.name == second.name
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.labels, second.labels)
    with pytest.raises(IndexError):
        dataset.read(len(dataset))


def test_splits(kind_and_layout):
    layout = kind_and_layout[1]
    whole = layout.open()
    assert set(whole.splits) == set(layout.splits) - {""}
    for split in ("train", "val", "test"):
        if not whole.splits:
            assert layout.open(split=split).names == whole.names
        elif split in whole.splits:
            assert list(layout.open(split=split).names) == layout.splits[split]
            assert layout.open(split=split).read(0).image.any()
        else:
            with pytest.raises(DataError, match=f"no split {split}; it has "):
                layout.open(split=split)


def test_a_subset_is_in_the_order_that_is_asked_for(kind_and_layout):
    dataset = kind_and_layout[1].open()
    turned = dataset.subset([2, 0])
    assert turned.names == (dataset.names[2], dataset.names[0])
    assert turned.read(1).name == dataset.names[0]
    assert turned.label_set is dataset.label_set
    assert turned.licence == dataset.licence
    assert turned.image_path(1) == dataset.image_path(0)


def test_an_image_is_in_its_file(kind_and_layout):
    layout = kind_and_layout[1]
    dataset = layout.open()
    paths = [dataset.image_path(i) for i in range(len(dataset))]
    if layout.image is None:
        assert paths == [None] * len(dataset)
    else:
        assert layout.image in paths
        assert len(set(paths)) == len(dataset)
        assert all(path.is_file() for path in paths)


def test_an_image_that_went_has_no_fingerprint(layout_on_disk):
    dataset = layout_on_disk.open()
    layout_on_disk.image.unlink()
    place = [dataset.image_path(i) for i in range(len(dataset))].index(layout_on_disk.image)
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        dataset.fingerprint(place)


def all_errors(layout) -> str:
    """Open and read everything; return the message of the DataError that must come."""
    with pytest.raises(DataError) as error:
        list(layout.open())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("which", ["image", "mask"])
@pytest.mark.parametrize("damage", [b"", b"not a picture", "cut"])
def test_an_unreadable_file_is_named(layout_on_disk, which, damage):
    path = getattr(layout_on_disk, which)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "cut" else damage)
    assert f"{path}: cannot be read as an image" in all_errors(layout_on_disk)


def test_a_missing_mask_is_named(layout_on_disk):
    folder = layout_on_disk.mask.parent
    name = layout_on_disk.mask.name
    prefix = name.partition("_")[0] if "CelebA" in str(folder) else layout_on_disk.mask.stem
    for path in list(folder.glob(f"{prefix}*")):
        path.unlink()
    message = all_errors(layout_on_disk)
    assert prefix in message
    assert str(folder) in message


def test_a_missing_image_is_named(layout_on_disk):
    if "CelebA" in str(layout_on_disk.image):
        pytest.skip("masks without an image are no error: parts of the download are usable")
    layout_on_disk.image.unlink()
    assert f"{layout_on_disk.image.stem}.*: is missing" in all_errors(layout_on_disk)


def test_a_mask_of_another_size_is_named(layout_on_disk):
    mask = Image.open(layout_on_disk.mask)
    mask.resize((50, 40), Image.Resampling.NEAREST).save(layout_on_disk.mask)
    message = all_errors(layout_on_disk)
    assert "is 50x40" in message or "is 64x64" in message
    assert str(layout_on_disk.mask.parent) in message


def test_an_empty_folder_is_named(layout_on_disk):
    for folder in layout_on_disk.folders:
        for path in list(folder.iterdir()):
            path.rename(folder.parent / f"moved-{folder.name}-{path.name}")
        assert f"{folder}: has no image" in all_errors(layout_on_disk)
        for path in list(folder.parent.glob(f"moved-{folder.name}-*")):
            path.rename(folder / path.name.removeprefix(f"moved-{folder.name}-"))
    layout_on_disk.open().read(0)


def test_an_unknown_layout_lists_the_known_ones(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match="has no layout that is known") as error:
        open_dataset(str(tmp_path))
    for kind in kinds():
        assert f"{kind}: " in str(error.value)
