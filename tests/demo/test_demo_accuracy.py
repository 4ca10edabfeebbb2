"""What ``demo --effect labels`` is worth on real faces somewhere in a camera's frame."""

from zlib import crc32

import cv2
import numpy as np
import pytest

import demo.shipped
from toolchain.datasets import open_dataset
from toolchain.datasets.base import resize_sample
from toolchain.datasets.labels import IGNORED
from toolchain.datasets.surroundings import continued
from toolchain.training.metrics import ConfusionMatrix

HEIGHT, WIDTH = 720, 1280
IMAGES = 100


def in_frame(sample, scale):
    """Place a picture by chance that follows from its name; around it no label counts."""
    side = round(HEIGHT * scale)
    small = resize_sample(sample, side)
    rng = np.random.default_rng(crc32(sample.name.encode()))
    left, top = int(rng.random() * (WIDTH - side + 1)), int(rng.random() * (HEIGHT - side + 1))
    place = np.array([[1.0, 0, left], [0, 1, top]]) / 4
    place[:, 2] += (HEIGHT - WIDTH) * np.array([0, -0.5]) / 4
    around = continued(small.image, place, WIDTH // 4)
    image = cv2.resize(around, (WIDTH, WIDTH))[(WIDTH - HEIGHT) // 2 :][:HEIGHT]
    labels = np.full((HEIGHT, WIDTH), IGNORED, np.uint8)
    inside = np.s_[top : top + side, left : left + side]
    image[inside], labels[inside] = small.image, small.labels
    return image, labels


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(("scale", "floor"), [(1, 0.78), (0.5, 0.75), (0.35, 0.70)])
def test_f1_of_faces_in_a_frame(cli, real_data, tmp_path, scale, floor):
    from PIL import Image

    model = demo.shipped.shipped_model()
    if model.stem != "balanced":
        pytest.skip("no model named balanced ships")
    dataset = open_dataset(str(real_data), "val")
    (tmp_path / "frames").mkdir()
    truth = {}
    for index in range(0, len(dataset), len(dataset) // IMAGES):
        sample = dataset.read(index)
        image, truth[sample.name] = in_frame(sample, scale)
        cv2.imwrite(str(tmp_path / "frames" / f"{sample.name}.png"), image[..., ::-1])
    result = cli(
        "demo", "--source", tmp_path / "frames", "--effect", "labels", "--no-display",
        "--output", tmp_path / "labels",
    )  # fmt: skip
    assert result.code == 0, result.err
    counts = ConfusionMatrix(19)
    for name, labels in truth.items():
        counts.update(labels, np.array(Image.open(tmp_path / "labels" / f"{name}.png")))
    print(f"mean F1 of {len(truth)} images at {scale:g} of the frame: {counts.mean_f1:.4f}")
    assert counts.mean_f1 >= floor
