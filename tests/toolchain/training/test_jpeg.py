"""JPEG's losses against those of libjpeg."""

import cv2
import numpy as np
import pytest
import torch

from toolchain.datasets import open_dataset
from toolchain.datasets.base import resize_sample
from toolchain.training.jpeg import Jpeg

JPEG = Jpeg(torch.device("cpu"))


@pytest.fixture(scope="module")
def pictures():
    faces = open_dataset("synthetic:3")
    return np.stack([resize_sample(face, 128).image for face in faces])


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
def test_an_image_loses_what_a_jpeg_file_loses(quality, pictures):
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    ours = JPEG(planes, torch.full((len(pictures),), quality)).round().permute(0, 2, 3, 1).numpy()
    half = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    for picture, found in zip(pictures, ours, strict=True):
        encoded = cv2.imencode(
            ".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality, *half]
        )
        theirs = cv2.imdecode(encoded[1], cv2.IMREAD_COLOR)[..., ::-1].astype(float)
        lost = np.abs(theirs - picture).mean()
        assert np.abs(found - theirs).mean() < 0.35 * lost + 0.3


def test_each_image_has_its_own_quality(pictures):
    planes = torch.from_numpy(pictures[:2]).permute(0, 3, 1, 2).float()
    coarse, fine = (JPEG(planes, torch.tensor(q)) for q in ([20, 20], [95, 95]))
    mixed = JPEG(planes, torch.tensor([20, 95]))
    torch.testing.assert_close(mixed, torch.stack([coarse[0], fine[1]]))
    assert (coarse - planes).abs().mean() > 2 * (fine - planes).abs().mean()
