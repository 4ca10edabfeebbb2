"""What lies around faces in a frame, and faces in wider frames for figures."""

import cv2
import numpy as np
import pytest

from toolchain.datasets import Sample, open_dataset, resize_sample
from toolchain.datasets.framing import framed
from toolchain.datasets.labels import IGNORED
from toolchain.datasets.surroundings import (
    backdrop,
    coloured_as,
    continued,
    scene,
    shuffled,
    surroundings,
    textured,
    with_things,
)


@pytest.fixture(scope="module")
def face() -> Sample:
    return resize_sample(open_dataset("synthetic:2:4").read(1), 128)


def test_edges_are_drawn_out():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :16] = 200
    place = np.array([[1.0, 0, 48], [0, 1, 48]])
    canvas = continued(image, place, 128)
    assert canvas.shape == (128, 128, 3)
    assert (canvas[:, :50] == 200).all()
    assert (canvas[:, 78:] == 0).all()


def test_textures_differ():
    drawn = [textured(np.random.default_rng(seed), 64) for seed in range(20)]
    assert {each.shape for each in drawn} == {(64, 64, 3)}
    assert len({each.tobytes() for each in drawn}) == 20
    assert len({int(each.mean()) // 20 for each in drawn}) > 4


def test_nobody_is_left_in_a_scene():
    """A red person before a blue wall leaves a blue wall."""
    labels = np.zeros((128, 128), np.uint8)
    labels[40:, 30:90] = 1
    image = np.zeros((128, 128, 3), np.uint8)
    image[..., 2], image[labels > 0] = 220, (255, 0, 0)
    for seed in range(5):
        drawn = scene(Sample("x", image, labels), np.random.default_rng(seed), 96).astype(int)
        assert drawn.shape == (96, 96, 3)
        assert drawn[..., 0].max() < 60
        assert drawn[..., 2].min() > 150
    everywhere = Sample("x", image, np.ones((128, 128), np.uint8))
    assert scene(everywhere, np.random.default_rng(0), 96).shape == (96, 96, 3)


def test_pieces_of_a_picture_change_places_and_stay_whole(face):
    drawn = shuffled(face.image, np.random.default_rng(1), 128)
    assert drawn.shape == face.image.shape
    near = drawn.astype(int).sum((0, 1)) - face.image.astype(int).sum((0, 1))
    assert (np.abs(near) / face.image.sum() < 0.02).all()
    assert (drawn != face.image).any(2).mean() > 0.5
    numbers = np.arange(60 * 60).reshape(60, 60)
    picture = np.stack([numbers % 256, numbers // 256, 0 * numbers], 2).astype(np.uint8)
    whole = 0
    for seed in range(60):
        pieces = shuffled(picture, np.random.default_rng(seed), 60).astype(int)
        whole += sorted((pieces[..., 0] + 256 * pieces[..., 1]).ravel()) == list(range(60 * 60))
    # 60 pixels have 5, 6 and 10 pieces of equal size, of 5 to 10.
    assert 15 <= whole <= 45


def test_no_piece_holds_a_whole_face_however_small_it_is():
    """A face of an eighth of the picture's side would fit into a piece of the picture."""
    labels = np.zeros((128, 128), np.uint8)
    labels[51:67, 52:68] = 1
    image = np.full((128, 128, 3), 90, np.uint8)
    grain = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image[labels > 0] = grain.repeat(4, 0).repeat(4, 1).reshape(-1, 3)
    sample, face = Sample("x", image, labels), image[51:67, 52:68]
    for seed in range(60):
        drawn = backdrop(np.random.default_rng(seed), 128, lambda: sample)
        for turn in range(4):
            found = cv2.matchTemplate(
                np.ascontiguousarray(np.rot90(drawn, turn)), face, cv2.TM_CCOEFF_NORMED
            )
            assert found.max() < 0.9


def test_a_picture_gets_the_colours_of_somebody(face):
    rng = np.random.default_rng(0)
    picture = rng.normal(120, 30, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    drawn = coloured_as(picture, face).reshape(-1, 3)
    shown = face.image[face.labels > 0]
    np.testing.assert_allclose(drawn.mean(0), shown.mean(0), atol=12)
    near = np.minimum(shown.std(0), 2 * picture.reshape(-1, 3).std(0))
    np.testing.assert_allclose(drawn.std(0), near, rtol=0.25)
    assert np.corrcoef(drawn[:, 0], picture.reshape(-1, 3)[:, 0])[0, 1] > 0.9
    nobody = Sample("x", face.image, np.zeros_like(face.labels))
    assert coloured_as(picture, nobody) is picture


def test_things_are_of_all_sizes_and_everywhere():
    canvas = np.full((96, 96, 3), 90, np.uint8)
    drawn = [with_things(canvas, np.random.default_rng(seed)) for seed in range(300)]
    assert (canvas == 90).all()
    changed = np.stack([(each != 90).any(2) for each in drawn])
    shares = changed.mean((1, 2))
    assert shares.min() < 0.02
    assert shares.max() > 0.9
    assert 0.1 < np.median(shares) < 0.6
    everywhere = changed.mean(0)
    assert everywhere.min() > 0.05


def test_parts_of_a_picture_are_on_some_things():
    """A thing that is drawn without them is never as green as the picture."""
    canvas, green = (np.full((96, 96, 3), colour, np.uint8) for colour in (90, (0, 255, 0)))
    seen = [
        (with_things(canvas, np.random.default_rng(seed), green) == green).all(2).any()
        for seed in range(100)
    ]
    assert 50 < sum(seen) < 100
    alone = [with_things(canvas, np.random.default_rng(seed)) for seed in range(100)]
    assert not any((each == green).all(2).any() for each in alone)


def test_backdrops_are_of_every_kind_and_half_have_things_before_them():
    """A wall of one colour is all that there is of a picture, and no texture has one."""
    wall = Sample("wall", np.full((64, 64, 3), 90, np.uint8), np.zeros((64, 64), np.uint8))
    drawn = [backdrop(np.random.default_rng(seed), 64, lambda: wall) for seed in range(200)]
    shares = np.array([(each == 90).all(2).mean() for each in drawn])
    assert 50 <= (shares == 1).sum() <= 95
    assert 40 <= ((shares > 0.05) & (shares < 1)).sum() <= 100
    assert 20 <= (shares == 0).sum() <= 80
    alone = [backdrop(np.random.default_rng(seed), 64) for seed in range(20)]
    assert len({each.tobytes() for each in alone}) == 20


def test_surroundings_are_of_every_kind(face):
    place = np.eye(2, 3)
    behind = np.zeros((64, 64, 3), np.uint8)
    drawn = [
        surroundings(face, place, np.random.default_rng(seed), 64, lambda: behind)
        for seed in range(60)
    ]
    assert 30 < sum(each is behind for each in drawn) < 50
    same = continued(face.image, place, 64)
    assert 10 < sum(np.array_equal(each, same) for each in drawn) < 30


def test_pictures_without_a_face_take_the_place_of_half_of_the_backdrops():
    """Of green pictures, whole or before something else."""
    green = np.zeros((64, 64, 3), np.uint8)
    green[..., 1] = 255
    drawn = [
        backdrop(np.random.default_rng(seed), 64, pictures=lambda rng: green) for seed in range(200)
    ]
    shares = np.array([(each == green).all(2).mean() for each in drawn])
    assert 35 <= (shares == 1).sum() <= 85
    assert 50 <= ((shares > 0) & (shares < 1)).sum() <= 120


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.35])
def test_a_framed_face_is_the_small_face_and_nothing_else_counts(face, scale):
    found = framed(face, 200, scale)
    side = round(200 * scale)
    small = resize_sample(face, side)
    inside = found.labels != IGNORED
    assert inside.sum() == side**2
    np.testing.assert_array_equal(found.labels[inside].reshape(side, side), small.labels)
    np.testing.assert_array_equal(found.image[inside].reshape(side, side, 3), small.image)
    again = framed(face, 200, scale)
    np.testing.assert_array_equal(again.image, found.image)
    other = framed(Sample("another", face.image, face.labels), 200, scale)
    assert (scale == 1.0) == np.array_equal(other.labels, found.labels)
