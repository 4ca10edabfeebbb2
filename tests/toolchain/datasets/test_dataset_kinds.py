"""What is particular to one kind of dataset, and to resizing."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from dataset_layouts import save_mask
from PIL import Image

from export.system.errors import DataError, UsageError
from toolchain.datasets import Sample, open_dataset, resize_sample
from toolchain.datasets.augmentation import mirror
from toolchain.datasets.labels import CELEBAMASK_HQ, EG1800, HELEN, IGNORED, LabelSet
from toolchain.datasets.registry import register


def test_unknown_specs(tmp_path):
    with pytest.raises(UsageError, match="unknown dataset kind 'coco'; known: "):
        open_dataset(str(tmp_path), kind="coco")
    with pytest.raises(DataError, match="nowhere: is not a folder"):
        open_dataset(str(tmp_path / "nowhere"))


def test_a_kind_is_registered_once():
    with pytest.raises(ValueError, match="'folder' is registered twice"):
        register("folder")(object)


def test_names_are_in_natural_order(make_layout):
    assert make_layout("folder").open().names == ("2", "10", "a")


@pytest.mark.parametrize("kind", ["folder", "eg1800"])
def test_a_label_out_of_range_is_named(make_layout, kind):
    layout = make_layout(kind)
    mask = np.array(Image.open(layout.mask))
    mask[3, 4] = 19
    save_mask(layout.mask, mask)
    with pytest.raises(DataError, match=r"1?\.png: has label 19; those of .* end at (18|1)"):
        layout.open().read(0)


def test_a_colour_mask_is_refused(make_layout):
    layout = make_layout("folder")
    Image.open(layout.mask).convert("RGB").save(layout.mask)
    with pytest.raises(DataError, match=r"2\.png: has mode RGB"):
        layout.open().read(0)


def test_two_images_with_one_stem_are_refused(make_layout):
    layout = make_layout("folder")
    Image.open(layout.image).save(layout.image.with_suffix(".jpg"))
    with pytest.raises(DataError, match=r"2\.png: shares its stem with 2\.jpg"):
        layout.open()


def test_an_image_is_turned_upright(make_layout):
    layout = make_layout("folder")
    upright = layout.open().read(0).image
    turned = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to view"
    turned.save(layout.image, exif=exif)
    np.testing.assert_array_equal(layout.open().read(0).image, upright)


PORTRAIT = {
    "name": "portrait",
    "classes": ["background", "left", "right"],
    "palette": [[0, 0, 0], [255, 0, 0], [0, 255, 0]],
    "swaps": [[1, 2]],
    "groups": {"both": [1, 2]},
}


def test_a_folder_may_bring_its_labels(make_layout):
    layout = make_layout("folder")
    file = layout.image.parents[1] / "labels.json"
    file.write_text(json.dumps(PORTRAIT))
    dataset = layout.open()
    assert dataset.label_set == LabelSet(
        "portrait",
        ("background", "left", "right"),
        ((0, 0, 0), (255, 0, 0), (0, 255, 0)),
        ((1, 2),),
        {"both": (1, 2)},
    )
    assert dataset.label_set.mirrored == (0, 2, 1)
    with pytest.raises(DataError, match="those of portrait end at 2"):
        dataset.read(0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classes": None}, "classes: Input should be a valid list"),
        ({"palette": [[0, 0, 0]]}, "palette has 1 colours for 3 classes"),
        (
            {"palette": [[0, 0, 0], [1, 1], [2, 2, 2]]},
            "palette.1: List should have at least 3 items",
        ),
        ({"palette": [[0, 0, 0], [1, 1, 300], [2, 2, 2]]}, "must be three numbers"),
        (
            {"palette": [[0, 0, 0], [1, 1, 1.5], [2, 2, 2]]},
            "palette.1.2: Input should be a valid int",
        ),
        ({"classes": "abc"}, "classes: Input should be a valid list"),
        ({"colours": []}, "colours: Extra inputs are not permitted"),
        ({"swaps": [[1, 3]]}, "must name labels from 0 to 2"),
        ({"swaps": [[1, 2], [0, 1]]}, "swaps must be pairs"),
        ({"classes": ["a", "a", "b"]}, "different names"),
        ({"groups": [1]}, "groups: Input should be a valid dict"),
        ({"ignored": 2}, "ignored must be a number from 3 to 255"),
    ],
)
def test_a_bad_label_set_is_named(make_layout, change, problem):
    layout = make_layout("folder")
    file = layout.image.parents[1] / "labels.json"
    file.write_text(json.dumps({**PORTRAIT, **change}))
    with pytest.raises(DataError, match=r"labels\.json: .*" + problem):
        layout.open()


@pytest.mark.parametrize(("field", "value"), [({}, 255), ({"ignored": 200}, 200)])
def test_masks_may_leave_pixels_out(make_layout, field, value):
    layout = make_layout("folder")
    (layout.image.parents[1] / "labels.json").write_text(json.dumps(PORTRAIT | field))
    mask = np.zeros(np.array(Image.open(layout.mask)).shape, np.uint8)
    mask[:3], mask[3:5] = 2, value
    save_mask(layout.mask, mask)
    labels = layout.open().read(0).labels
    assert (labels[:3] == 2).all()
    assert (labels[3:5] == IGNORED).all()
    assert not labels[5:].any()


def test_all_fields_that_a_label_set_lacks_are_named(make_layout):
    layout = make_layout("folder")
    (layout.image.parents[1] / "labels.json").write_text("{}")
    with pytest.raises(DataError, match=r"labels\.json: name, classes: Field required"):
        layout.open()


@pytest.mark.parametrize("text", ["[]", "null", "NaN", '"labels"', "3"])
def test_what_is_no_label_set_at_all_is_named(make_layout, text):
    layout = make_layout("folder")
    (layout.image.parents[1] / "labels.json").write_text(text)
    with pytest.raises(DataError, match=r"labels\.json: (LabelFile|is not JSON)"):
        layout.open()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_label_set_that_is_a_pipe_is_not_waited_for(make_layout):
    layout = make_layout("folder")
    os.mkfifo(layout.image.parents[1] / "labels.json")
    with pytest.raises(DataError, match=r"labels\.json: is not a file; remove it"):
        layout.open()


def test_colours_need_not_be_chosen(make_layout):
    layout = make_layout("folder")
    names = ["background", *(f"class {number}" for number in range(1, 255))]
    (layout.image.parents[1] / "labels.json").write_text(
        json.dumps({"name": "x", "classes": names})
    )
    palette = layout.open().label_set.palette
    assert palette[0] == (0, 0, 0)
    assert len(set(palette)) == 255
    # The first ones can be told apart by anybody.
    few = np.array(palette[:9], int)
    assert np.abs(few[:, None] - few[None]).sum(2)[~np.eye(9, dtype=bool)].min() > 60


def own_labels(layout, **fields):
    """Give a folder labels of its own."""
    file = layout.image.parents[1] / "labels.json"
    count = len(fields["classes"])
    document = {"name": "own", "palette": [[label] * 3 for label in range(count)], **fields}
    file.write_text(json.dumps(document))
    return file


@pytest.mark.parametrize(
    ("classes", "fields", "swaps"),
    [
        (["background", "left_eye", "right_eye"], {}, [[1, 2]]),
        (["background", "l_eye", "nose", "r_eye"], {}, [[1, 3]]),
        (["background", "R-Brow", "L-Brow"], {}, [[2, 1]]),
        (["background", "eyeRight", "eyeLeft"], {}, [[2, 1]]),
        (
            ["background", "l_eye", "r_eye", "left ear", "right ear"],
            {"swaps": [[1, 2]]},
            [[1, 2], [3, 4]],
        ),
    ],
)
def test_left_and_right_without_swaps_are_refused(make_layout, classes, fields, swaps):
    layout = make_layout("folder")
    file = own_labels(layout, classes=classes, **fields)
    with pytest.raises(DataError) as error:
        layout.open()
    message = str(error.value)
    left, right = (classes[label] for label in swaps[-1])
    assert message.startswith(f"{file}: swaps does not name {left} and {right}")
    assert "\n" not in message
    # The line that it shows mends the file.
    assert f'write "swaps": {swaps}, or "swaps": [] if it does not' in message
    own_labels(layout, classes=classes, **{**fields, "swaps": swaps})
    assert layout.open().label_set.swaps == tuple(map(tuple, swaps))


def test_sides_that_a_mirror_does_not_exchange_can_be_said(make_layout):
    layout = make_layout("folder")
    own_labels(layout, classes=["background", "left_half", "right_half"], swaps=[])
    assert layout.open().label_set.swaps == ()
    assert layout.open().label_set.unswapped == ((1, 2),)


@pytest.mark.parametrize(
    "classes",
    [
        ["background", "u_lip", "l_lip"],  # upper and lower
        ["background", "left_eye", "nose"],
        ["background", "hair", "hail"],  # l and r within words
        ["background", "lens", "rens"],
    ],
)
def test_names_that_are_no_pair_need_no_swaps(make_layout, classes):
    layout = make_layout("folder")
    own_labels(layout, classes=classes)
    assert layout.open().label_set.unswapped == ()


def test_a_mirror_exchanges_the_labels_of_own_classes(make_layout):
    layout = make_layout("folder")
    own_labels(layout, classes=["background", "left", "right"], swaps=[[1, 2]])
    labels = np.zeros((64, 64), np.uint8)
    labels[:, :10], labels[:, 40:] = 1, 2
    save_mask(layout.mask, labels)
    dataset = layout.open()
    turned = mirror(dataset.read(0), dataset.label_set).labels
    expected = np.zeros((64, 64), np.uint8)
    expected[:, :24], expected[:, 54:] = 1, 2
    np.testing.assert_array_equal(turned, expected)


@pytest.mark.parametrize("label_set", [CELEBAMASK_HQ, HELEN, EG1800])
def test_built_in_sets_name_every_pair(label_set):
    assert label_set.unswapped == ()
    assert not label_set.swaps or replace(label_set, swaps=()).unswapped == label_set.swaps


@pytest.mark.parametrize("label_set", [CELEBAMASK_HQ, HELEN, EG1800])
def test_swaps_are_left_and_right(label_set):
    names = label_set.classes
    mirrored = [names[label] for label in label_set.mirrored]
    # u_lip and l_lip are upper and lower.
    sides = {"l_": "r_", "r_": "l_"}
    expected = [
        sides[name[:2]] + name[2:] if name[:2] in sides and name != "l_lip" else name
        for name in names
    ]
    assert mirrored == expected
    assert len(set(label_set.palette)) == len(names)


def test_without_the_mapping_celebamask_hq_has_no_splits(make_layout):
    layout = make_layout("celebamask-hq")
    (layout.image.parents[1] / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    dataset = layout.open(split="val")
    assert dataset.splits == ()
    assert dataset.names == ("0", "7", "2001")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        (
            "idx orig_idx orig_file\n0 1 2 3\n",
            "has a line that is not idx, orig_idx, file: 0 1 2 3",
        ),
        ("idx orig_idx orig_file\n0 1 one.jpg\n", "has a line that is not"),
        ("idx orig_idx orig_file\n0 1 000002.jpg\n", "puts no image of .* in val"),
    ],
)
def test_a_bad_mapping_is_named(make_layout, text, problem):
    layout = make_layout("celebamask-hq")
    (layout.image.parents[1] / "CelebA-HQ-to-CelebA-mapping.txt").write_text(text)
    with pytest.raises(DataError, match=r"mapping\.txt: " + problem):
        layout.open(split="val")


def test_celebamask_hq_reads_colour_masks(make_layout):
    """The official parts are stored as RGB."""
    layout = make_layout("celebamask-hq")
    Image.open(layout.mask).convert("RGB").save(layout.mask)
    np.testing.assert_array_equal(layout.open().read(0).labels, layout.expected["0"])


def test_an_image_without_a_number_is_named(make_layout):
    layout = make_layout("celebamask-hq")
    layout.image.rename(layout.image.with_name("face.jpg"))
    with pytest.raises(DataError, match=r"face\.jpg: is not named by a number"):
        layout.open()


def test_helen_without_lists_is_named(make_layout):
    with pytest.raises(DataError, match=r"has none of exemplars\.txt"):
        make_layout("folder").open(kind="helen")


def test_equal_soft_labels_go_to_the_first(make_layout):
    layout = make_layout("helen")
    for path in layout.mask.parent.iterdir():
        save_mask(path, np.full((64, 64), 9 if "_lbl00" not in path.name else 0))
    assert (layout.open().read(0).labels == 1).all()


def test_resizing():
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 7
    image = np.zeros((40, 60, 3), np.uint8)
    image[::2] = 255
    small = resize_sample(Sample("x", image, labels), 20)
    assert small.image.shape == (20, 20, 3)
    # Averages of two rows, not one of them.
    assert 120 <= small.image.min() <= small.image.max() <= 135
    assert set(np.unique(small.labels)) == {0, 7}
    assert (small.labels[:, :10] == 0).all()
    assert (small.labels[:, 10:] == 7).all()
    assert resize_sample(small, 20) is small
    large = resize_sample(small, 33)
    assert large.image.shape == (33, 33, 3)
    assert large.labels.shape == (33, 33)


@pytest.mark.realdata
def test_real_pairs(real_data):
    dataset = open_dataset(str(real_data), "val")
    assert len(dataset) == 300
    assert dataset.splits == ("train", "val")
    seen = np.zeros(19)
    across = np.arange(512)[None, :]
    offsets = []
    for index in range(0, 300, 10):
        labels = dataset.read(index).labels
        assert labels.shape == (512, 512)
        seen[np.unique(labels)] = 1
        if (labels == 4).any() and (labels == 5).any():
            offsets.append((across * (labels == 4)).sum() / (labels == 4).sum())
            offsets[-1] -= (across * (labels == 5)).sum() / (labels == 5).sum()
    assert seen.sum() >= 14
    # The person's left eye is at the viewer's right, as in the drawn faces.
    assert np.mean(offsets) > 80
