"""What lies around faces in a frame, and faces in wider frames for figures."""

import numpy as np
import pytest

from toolchain.datasets import Sample, open_dataset, resize_sample
from toolchain.datasets.framing import framed
from toolchain.datasets.labels import IGNORED
from toolchain.datasets.surroundings import continued, scene, surroundings, textured


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


def test_surroundings_are_of_every_kind(face):
    place = np.eye(2, 3)
    asked = []

    def other():
        asked.append(1)
        return face

    drawn = [
        surroundings(face, place, np.random.default_rng(seed), 64, other) for seed in range(60)
    ]
    assert 10 < len(asked) < 30
    same = continued(face.image, place, 64)
    assert 10 < sum(np.array_equal(each, same) for each in drawn) < 30
    # Without another sample there is no scene of one.
    alone = [surroundings(face, place, np.random.default_rng(seed), 64) for seed in range(60)]
    assert sum(np.array_equal(each, same) for each in alone) < 30


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
