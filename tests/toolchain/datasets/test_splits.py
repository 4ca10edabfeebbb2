"""Which image is for what."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from dataset_layouts import LAYOUTS
from many_samples import make_many

from export.system.errors import DataError
from toolchain.cli.training import SPLITS
from toolchain.datasets import open_dataset
from toolchain.datasets.base import join
from toolchain.datasets.labels import IGNORED
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import (
    ALL,
    PARTS,
    PERCENT,
    first,
    open_calibration,
    open_for_figures,
    open_part,
)

COUNT = 600


@pytest.fixture(params=LAYOUTS)
def source(request, tmp_path) -> str:
    return make_many(request.param, tmp_path / "source", COUNT)


def parts_of(spec: str) -> dict[str, set[str]]:
    """The files, or names, of each part that a source has."""
    found = {}
    for part in PARTS:
        if part != "test" or "test" in open_dataset(spec).splits:
            dataset = open_part(spec, part)
            found[part] = {str(dataset.image_path(i) or n) for i, n in enumerate(dataset.names)}
    return found


def test_parts_are_disjoint_and_complete(source):
    parts = parts_of(source)
    for one, other in combinations(parts, 2):
        assert not parts[one] & parts[other], (one, other)
    assert all(parts.values())
    assert sum(map(len, parts.values())) == len(open_dataset(source)) == COUNT


def test_shares_are_as_stated(source):
    parts = parts_of(source)
    own = open_dataset(source).splits
    cut = {part: len(names) for part, names in parts.items() if part == "train" or part not in own}
    whole = sum(cut.values())
    for part, percent in PERCENT.items():
        if part in cut:
            expected = percent / 100 * whole
            assert abs(cut[part] - expected) < 4 * expected**0.5, part
    assert "val" in own or "val" in cut


def test_images_of_the_sources_own_splits_stay_there(source):
    for split in open_dataset(source).splits:
        own = open_dataset(source, split)
        mine = open_part(source, split)
        assert set(mine.names) <= set(own.names)
        if split != "train":
            assert mine.names == own.names


@pytest.mark.parametrize("kind", LAYOUTS)
def test_images_that_are_added_move_none(kind, tmp_path):
    before = parts_of(make_many(kind, tmp_path / "source", 150))
    after = parts_of(make_many(kind, tmp_path / "source", 450))
    for part, names in before.items():
        assert names <= after[part]
        assert len(after[part]) > len(names)


def test_parts_depend_on_no_order_process_or_place(tmp_path):
    spec = make_many("folder", tmp_path / "a", 200)
    here = {part: open_part(spec, part).names for part in PARTS if part != "test"}
    again = {part: open_part(spec, part).names for part in reversed(PARTS) if part != "test"}
    assert again == here
    moved = tmp_path / "moved"
    Path(spec).rename(moved)
    script = (
        "import sys; from toolchain.datasets.splits import open_part\n"
        "print(*open_part(sys.argv[1], 'search-score').names)"
    )
    # Python hashes strings differently in every process.
    result = subprocess.run(
        [sys.executable, "-c", script, str(moved)], capture_output=True, text=True, check=True
    )
    assert tuple(result.stdout.split()) == here["search-score"]


def test_a_split_folder_is_cut_like_a_flat_one(tmp_path):
    """The split in front of a name is no part of it."""
    make_many("folder", tmp_path / "flat", 300)
    make_many("folder with splits", tmp_path / "split", 300)
    flat, split = parts_of(str(tmp_path / "flat")), parts_of(str(tmp_path / "split"))
    for part in ("search-train", "search-score", "calibration"):
        stems = {Path(path).stem for path in split[part]}
        assert stems
        assert stems < {Path(path).stem for path in flat[part]}


def test_first_is_nested_and_stable(tmp_path):
    dataset = open_dataset(make_many("folder", tmp_path, 200))
    chosen = {count: first(dataset, count).names for count in (1, 10, 50, 199)}
    for smaller, larger in ((1, 10), (10, 50), (50, 199)):
        assert len(chosen[smaller]) == smaller
        assert set(chosen[smaller]) < set(chosen[larger])
    assert first(dataset, 200) is first(dataset, 900) is first(dataset, None) is dataset
    # As stored, and not the first by name.
    places = [dataset.names.index(name) for name in chosen[50]]
    assert places == sorted(places)
    assert places != list(range(50))
    turned = dataset.subset(range(199, -1, -1))
    assert set(first(turned, 50).names) == set(chosen[50])
    # 20 more images take the places of some, not of most.
    more = first(open_dataset(make_many("folder", tmp_path, 220)), 50)
    assert len(set(more.names) & set(chosen[50])) > 35


def test_figures_are_of_test_else_val(tmp_path):
    with_test = make_many("helen", tmp_path / "helen", 300)
    without = make_many("folder", tmp_path / "folder", 300)
    opened, part = open_for_figures(with_test)
    assert (part, opened.names) == ("test", open_dataset(with_test, "test").names)
    opened, part = open_for_figures(without)
    assert (part, opened.names) == ("val", open_part(without, "val").names)
    assert open_for_figures(with_test, "val")[0].names == open_dataset(with_test, "val").names
    opened, part = open_for_figures(without, ALL)
    assert (part, len(opened)) == (ALL, 300)
    assert open_for_figures(without, "train")[0].names == open_part(without, "train").names


def test_a_test_part_that_is_not_there_is_named(tmp_path):
    spec = make_many("folder", tmp_path, 100)
    with pytest.raises(DataError, match="no test images of its own; --split val takes") as error:
        open_part(spec, "test")
    assert str(error.value).startswith(spec)


def test_tiny_data_says_how_many_images_are_needed(tmp_path):
    spec = make_many("folder", tmp_path, 3)
    with pytest.raises(DataError) as error:
        open_part(spec, "search-score", least=4)
    message = str(error.value)
    assert message.startswith(f"{spec}: has 3 images, of which ")
    assert "in its part search-score; 4 are needed there: about 113 images in all" in message
    assert "\n" not in message
    # What it says is enough.
    assert len(open_part(make_many("folder", tmp_path, 113), "search-score", least=4)) >= 4


def test_the_commands_offer_every_part():
    assert set(SPLITS) == {*PARTS, ALL}


def test_joined_parts_are_those_of_one_source(tmp_path):
    spec = make_many("folder", tmp_path, 300)
    train, more = open_part(spec, "train"), open_part(spec, "search-train")
    both = join(train, more)
    assert both.names == train.names + more.names
    assert both.label_set == train.label_set
    assert both.licence == train.licence
    last = len(both) - 1
    assert both.image_path(last) == more.image_path(len(more) - 1)
    assert both.fingerprint(last) == more.fingerprint(len(more) - 1)
    assert both.fingerprint(0) == train.fingerprint(0)
    drawn = join(open_part("synthetic:60", "val"), open_part("synthetic:60", "train"))
    assert (drawn.read(0).image == open_part("synthetic:60", "val").read(0).image).all()
    assert [drawn.read(i).name for i in (0, len(drawn) - 1)] == [drawn.names[0], drawn.names[-1]]


def test_calibration_takes_its_part_then_training_images(source):
    own, train = open_part(source, "calibration"), open_part(source, "train")
    few = open_calibration(source, 3)
    assert len(few) == 3
    assert set(few.names) < set(own.names)
    many = open_calibration(source, len(own) + 20)
    assert set(own.names) < set(many.names) < set(own.names) | set(train.names)
    assert len(many) == len(own) + 20
    everything = open_calibration(source, 10**6)
    assert len(everything) == len(own) + len(train)


def test_calibration_leaves_out_what_is_judged(tmp_path):
    spec = make_many("folder", tmp_path, 300)
    judged = first(open_part(spec, "train"), 100)
    prints = SeenImages.of(judged).prints
    left = open_calibration(spec, 10**6, prints)
    assert not set(left.names) & set(judged.names)
    assert len(left) == len(open_calibration(spec, 10**6)) - 100
    with pytest.raises(DataError, match="no images for calibration that are not judged too"):
        open_calibration(spec, 10, SeenImages.of(open_dataset(spec)).prints)


def test_a_folder_of_its_own_needs_no_more_images_than_are_wanted(tmp_path):
    for part, count in (("train", 3), ("val", 2)):
        for kind in ("images", "masks"):
            (tmp_path / part / kind).mkdir(parents=True)
            for number in range(count):
                (tmp_path / part / kind / f"{number}.png").touch()
    with pytest.raises(
        DataError, match="2 are in its part val; 8 are needed there: about 8 images"
    ):
        open_part(str(tmp_path), "val", least=8)


@pytest.mark.parametrize("inside", [True, False])
def test_photographs_alone_calibrate(tmp_path, make_layout, inside):
    """No masks, no labels; the images that are judged are still left out."""
    layout = make_layout("folder")
    (tmp_path / "masks").rename(tmp_path / "elsewhere")
    photographs = tmp_path if inside else layout.image.parent
    chosen = open_calibration(str(photographs), 2)
    assert (len(chosen), chosen.labelled) == (2, False)
    assert (chosen.read(0).labels == IGNORED).all()
    judged = {chosen.fingerprint(0)}
    others = open_calibration(str(photographs), 9, judged)
    assert set(others.names) == {"2", "10", "a"} - {chosen.names[0]}
    for command in (open_part, open_for_figures):
        with pytest.raises(DataError, match="has no layout that is known"):
            command(str(photographs), "train")
