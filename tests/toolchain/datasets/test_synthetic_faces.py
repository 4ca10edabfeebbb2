import time

import cv2
import numpy as np
import pytest

from export.system.errors import UsageError
from toolchain.datasets import open_dataset
from toolchain.datasets.labels import CELEBAMASK_HQ

LABEL = {name: label for label, name in enumerate(CELEBAMASK_HQ.classes)}


@pytest.fixture(scope="module")
def hundred():
    return list(open_dataset("synthetic:100:3"))


def test_a_face_does_not_depend_on_the_count():
    few, many = open_dataset("synthetic:3:8"), open_dataset("synthetic:30:8")
    np.testing.assert_array_equal(few.read(2).image, many.read(2).image)
    assert few.names == many.names[:3]
    assert (open_dataset("synthetic:3").read(2).image != few.read(2).image).any()
    np.testing.assert_array_equal(
        open_dataset("synthetic:3").read(2).image, open_dataset("synthetic:3:0").read(2).image
    )


@pytest.mark.parametrize(
    "spec",
    [
        "synthetic:",
        "synthetic:0",
        "synthetic:-2",
        "synthetic:x",
        "synthetic:3:y",
        "synthetic:3:1:2",
    ],
)
def test_malformed_specs(spec):
    with pytest.raises(UsageError, match="is not synthetic:COUNT"):
        open_dataset(spec)


def test_all_classes_at_their_rates(hundred):
    present = np.zeros(19)
    for sample in hundred:
        assert sample.image.shape == (512, 512, 3)
        assert sample.labels.shape == (512, 512)
        present += np.bincount(sample.labels.ravel(), minlength=19) > 0
    rate = dict(zip(CELEBAMASK_HQ.classes, present, strict=True))
    for name, low, high in (
        ("eye_g", 14, 38), ("hat", 10, 32), ("ear_r", 22, 50), ("neck_l", 18, 44),
        ("mouth", 35, 65), ("l_ear", 70, 100), ("l_eye", 85, 100), ("hair", 85, 99),
    ):  # fmt: skip
        assert low <= rate[name] <= high, name
    for name in ("background", "skin", "nose", "u_lip", "l_lip", "neck", "cloth"):
        assert rate[name] == 100, name


def test_parts_are_large_enough_to_be_learned(hundred):
    pixels = np.stack([np.bincount(s.labels.ravel(), minlength=19) for s in hundred])
    for name in ("l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "u_lip", "neck_l"):
        counts = pixels[:, LABEL[name]]
        # 512 x 512 pixels are 128 x 128 decisions of a network with stride 4.
        assert np.median(counts[counts > 0]) > 16 * 25, name


def centre(labels, name):
    y, x = np.nonzero(labels == LABEL[name])
    return (x.mean(), y.mean()) if len(x) > 30 else None


def test_anatomy(hundred):
    """The person's left is at the viewer's right; eyes lie above the nose, that above the lips."""
    compared = 0
    for sample in hundred:
        for part in ("eye", "brow", "ear"):
            left, right = centre(sample.labels, f"l_{part}"), centre(sample.labels, f"r_{part}")
            if left and right:
                assert left[0] > right[0] + 40
                compared += 1
        heights = [
            centre(sample.labels, name)[1] for name in ("nose", "u_lip", "l_lip", "neck", "cloth")
        ]
        assert heights == sorted(heights)
    assert compared > 200


def test_labels_follow_the_picture(hundred):
    """Edges of the label map are edges of the picture, or noise would be learned."""
    on, off = [], []
    for sample in hundred[:30]:
        grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        steep = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
        edge = cv2.morphologyEx(sample.labels, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
        on.append(steep[edge].mean())
        off.append(steep[~edge].mean())
    assert np.mean(on) > 3 * np.mean(off)


def test_faces_differ(hundred):
    colours = np.stack([s.image[s.labels == LABEL["skin"]].mean(axis=0) for s in hundred])
    assert colours.std(axis=0).min() > 25
    areas = np.asarray([(s.labels == LABEL["skin"]).mean() for s in hundred])
    assert areas.max() > 1.7 * areas.min()


def test_forty_faces_a_second():
    dataset = open_dataset("synthetic:60:1")
    dataset.read(0)
    rates = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    for start in (0, 20, 40):
        before = time.process_time()
        for index in range(start, start + 20):
            dataset.read(index)
        rates.append(20 / (time.process_time() - before))
    cv2.setNumThreads(threads)
    assert max(rates) >= 40
