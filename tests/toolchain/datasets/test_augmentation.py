import cv2
import numpy as np
import pytest

from toolchain.datasets import Sample, open_dataset, resize_sample
from toolchain.datasets.augmentation import augment, mirror
from toolchain.datasets.labels import CELEBAMASK_HQ, EG1800, IGNORED
from toolchain.settings.training_settings import AugmentationSettings

NOTHING = {
    "mirror": False, "framed": 0, "smallest_crop": 1, "largest_crop": 1, "shift": 0, "rotation": 0,
    "brightness": 0, "contrast": 0, "saturation": 0, "tint": 0, "degraded": 0,
    "faceless": 0,
}  # fmt: skip
DEFAULTS = AugmentationSettings()


@pytest.fixture(scope="module")
def face() -> Sample:
    return resize_sample(open_dataset("synthetic:2:4").read(1), 128)


def changed(face: Sample, seed: int = 0, **changes) -> Sample:
    chosen = AugmentationSettings(**NOTHING | changes)
    return augment(face, np.random.default_rng(seed), CELEBAMASK_HQ, 128, chosen)


def test_no_strength_changes_nothing(face):
    same = changed(face)
    np.testing.assert_array_equal(same.image, face.image)
    np.testing.assert_array_equal(same.labels, face.labels)


def test_defaults_give_the_size_and_labels_of_the_set(face):
    results = [
        augment(face, np.random.default_rng(s), CELEBAMASK_HQ, 96, DEFAULTS) for s in range(40)
    ]
    for result in results:
        assert result.name == face.name
        assert result.image.shape == (96, 96, 3)
        assert result.labels.shape == (96, 96)
        assert result.image.dtype == result.labels.dtype == np.uint8
        assert result.image.flags.c_contiguous
        known = set(np.unique(face.labels)) | {0}
        assert set(np.unique(result.labels)) <= known | {CELEBAMASK_HQ.mirrored[i] for i in known}
    assert len({result.image.tobytes() for result in results}) == 40
    again = augment(face, np.random.default_rng(7), CELEBAMASK_HQ, 96, DEFAULTS)
    np.testing.assert_array_equal(again.image, results[7].image)
    np.testing.assert_array_equal(again.labels, results[7].labels)


def test_some_frames_have_nobody_in_them(face):
    results = [changed(face, seed, faceless=0.25) for seed in range(200)]
    empty = [result for result in results if not result.labels.any()]
    assert 30 <= len(empty) <= 70
    assert len({result.image.tobytes() for result in empty}) == len(empty)
    # The others are as they would have been.
    assert all(np.array_equal(r.labels, face.labels) for r in results if r.labels.any())


def test_mirror_swaps_left_and_right(face):
    turned = mirror(face, CELEBAMASK_HQ)
    np.testing.assert_array_equal(turned.image, face.image[:, ::-1])
    for left, right in ((4, 5), (6, 7), (8, 9)):
        assert (face.labels == left).any()
        np.testing.assert_array_equal(turned.labels == right, (face.labels == left)[:, ::-1])
        np.testing.assert_array_equal(turned.labels == left, (face.labels == right)[:, ::-1])
    for label in (0, 1, 2, 11, 12):
        np.testing.assert_array_equal(turned.labels == label, (face.labels == label)[:, ::-1])
    twice = mirror(turned, CELEBAMASK_HQ)
    np.testing.assert_array_equal(twice.labels, face.labels)
    np.testing.assert_array_equal(twice.image, face.image)
    person = Sample("p", face.image, (face.labels > 0).astype(np.uint8))
    np.testing.assert_array_equal(mirror(person, EG1800).labels, person.labels[:, ::-1])


def test_what_does_not_count_does_not_count_in_a_mirror(face):
    labels = face.labels.copy()
    labels[:20, :9] = IGNORED
    turned = mirror(Sample("x", face.image, labels), CELEBAMASK_HQ).labels
    np.testing.assert_array_equal(turned == IGNORED, (labels == IGNORED)[:, ::-1])


def test_half_of_all_samples_are_mirrored(face):
    turned = mirror(face, CELEBAMASK_HQ).labels
    count = sum(
        np.array_equal(changed(face, seed, mirror=True).labels, turned) for seed in range(200)
    )
    assert 70 <= count <= 130


@pytest.mark.parametrize(
    "change", [{"rotation": 30.0}, {"shift": 0.2}, {"smallest_crop": 0.5, "largest_crop": 2}]
)
def test_labels_move_with_the_image(change):
    """An image whose colours are its labels stays so, but for the edges."""
    labels = np.zeros((128, 128), np.uint8)
    labels[30:70, 20:90], labels[80:110, 40:60] = 5, 12
    palette = np.full((19, 3), 128, np.uint8)
    palette[5], palette[12] = (250, 10, 30), (20, 200, 240)
    for seed in range(10):
        moved = changed(Sample("x", palette[labels], labels), seed, **change)
        assert (moved.labels != labels).any()
        far = np.abs(moved.image.astype(int) - palette[moved.labels]).max(axis=2) > 125
        assert far[moved.labels > 0].mean() < 0.06


def test_scale_is_of_the_size(face):
    square = np.zeros((128, 128), np.uint8)
    square[48:80, 48:80] = 1
    sample = Sample("x", face.image, square)
    for scale, area in ((2, 64**2), (0.5, 16**2)):
        moved = changed(sample, smallest_crop=scale, largest_crop=scale)
        assert moved.labels.sum() == pytest.approx(area, rel=0.15)


def test_framed_faces_have_every_size_and_place():
    disc = np.zeros((128, 128), np.uint8)
    cv2.circle(disc, (64, 64), 40, 1, -1)
    sample = Sample("x", np.full((128, 128, 3), 200, np.uint8), disc)
    moved = [changed(sample, seed, framed=1).labels for seed in range(200)]
    whole = [m for m in moved if not m[[0, -1]].any() and not m[:, [0, -1]].any()]
    sizes = np.array([np.sqrt(labels.sum() / disc.sum()) for labels in whole])
    assert 0.18 < sizes.min() < 0.25
    assert sizes.max() > 0.7
    # As many in each doubling.
    assert 0.35 < (sizes < np.sqrt(0.2)).mean() < 0.75
    places = np.array([np.argwhere(labels).mean(0) for labels in moved])
    assert places.min() < 20
    assert places.max() > 108
    # Faces are cut off, and never lost.
    assert len(whole) < 200
    assert all(labels.any() for labels in moved)


def test_neighbours_are_labelled_and_cut_off(face):
    nobody = Sample("x", face.image, np.zeros_like(face.labels))
    chosen = AugmentationSettings(**NOTHING | {"framed": 1, "neighbours": 1})
    seen = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        moved = augment(nobody, rng, CELEBAMASK_HQ, 128, chosen, lambda: face).labels
        assert set(np.unique(moved)) <= set(np.unique(face.labels))
        if moved.any():
            seen += 1
            columns = np.flatnonzero(moved.any(0))
            assert columns[0] < 20 or columns[-1] > 108
    assert seen > 30
    none = chosen.model_copy(update={"neighbours": 0})
    alone = augment(nobody, np.random.default_rng(0), CELEBAMASK_HQ, 128, none, lambda: face)
    assert not alone.labels.any()


def test_a_face_keeps_its_pixels_whatever_surrounds_it(face):
    """At full size and partly outside, what is seen of the hair looks as it did."""
    before = face.image[face.labels == 17].mean(0)
    moved = [changed(face, seed, framed=1, smallest=0.999) for seed in range(20)]
    seen = [one.image[one.labels == 17] for one in moved if (one.labels == 17).sum() > 500]
    assert len(seen) > 10
    for hair in seen:
        assert np.abs(hair.mean(0) - before).max() < 40


@pytest.mark.parametrize("change", ["brightness", "contrast", "saturation", "tint"])
def test_colours_change_and_labels_stay(face, change):
    strength = {"brightness": 40.0, "contrast": 0.4, "saturation": 0.6, "tint": 0.2}[change]
    results = [changed(face, seed, **{change: strength}) for seed in range(12)]
    for result in results:
        np.testing.assert_array_equal(result.labels, face.labels)
        assert (result.image != face.image).any()
    changes = [float((result.image - face.image.astype(float)).mean()) for result in results]
    if change == "brightness":
        assert min(changes) < -8
        assert max(changes) > 8
    if change == "saturation":
        assert np.abs(changes).max() < 4


def test_grey_stays_grey_without_tint():
    grey = Sample("g", np.full((128, 128, 3), 100, np.uint8), np.zeros((128, 128), np.uint8))
    image = changed(grey, saturation=0.9, contrast=0.4, brightness=20.0).image
    assert (image.max(axis=2).astype(int) - image.min(axis=2) <= 1).all()


def test_degraded_quality(face):
    def sharpness(image):
        return np.abs(np.diff(image.astype(float), axis=1)).mean()

    blurred = [changed(face, s, degraded=1, blur=4.0, noise=0, jpeg=95) for s in range(9)]
    noisy = [changed(face, s, degraded=1, blur=0, noise=40.0, jpeg=95) for s in range(9)]
    coarse = [changed(face, s, degraded=1, blur=0, noise=0, jpeg=1) for s in range(9)]
    assert min(sharpness(s.image) for s in blurred) < 0.7 * sharpness(face.image)
    assert max(sharpness(s.image) for s in noisy) > 1.5 * sharpness(face.image)
    errors = [np.abs(s.image - face.image.astype(float)).mean() for s in coarse]
    assert max(errors) > 2 * min(errors) > 0
    for sample in (*blurred, *noisy, *coarse):
        np.testing.assert_array_equal(sample.labels, face.labels)
