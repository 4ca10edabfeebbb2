import math

import cv2
import numpy as np
import pytest

from demo.geometry import PADDING, Area, Fit
from export.system.errors import UsageError

SHAPES = [(90, 160), (160, 90), (64, 64), (37, 211), (720, 1280)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["letterbox", "crop"])
def test_labels_come_back_to_where_the_pixels_were(shape, mode):
    fit = Fit.make(shape, 128, mode)
    frame = np.zeros((*shape, 3), np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    place = np.s_[top + side // 4 : top + side // 2, left + side // 4 : left + side // 2]
    frame[place] = (255, 0, 0)  # blue in BGR
    square = fit.new_square()
    fit.to_square(frame, square)
    labels = (square[0, :, :, 2] > 128).astype(np.uint8)
    labels[square[0, :, :, 0] == PADDING] = 0
    back = fit.to_frame(labels, cv2.INTER_NEAREST)
    truth = np.zeros(shape, np.uint8)
    truth[place] = 1
    reach = 1 + math.ceil(fit.frame_area.width / fit.square_area.width)  # pixels of rounding
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    assert back.shape == shape
    assert (back <= cv2.dilate(truth, kernel)).all()
    assert (back >= cv2.erode(truth, kernel)).all()
    assert cv2.erode(truth, kernel).any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["letterbox", "crop"])
def test_no_distortion(shape, mode):
    fit = Fit.make(shape, 512, mode)
    vertical = fit.square_area.height / fit.frame_area.height
    horizontal = fit.square_area.width / fit.frame_area.width
    assert vertical == pytest.approx(horizontal, rel=0.02)


def test_letterbox_keeps_all_and_pads_the_rest():
    fit = Fit.make((90, 160), 64, "letterbox")
    square = fit.new_square()
    fit.to_square(np.full((90, 160, 3), (10, 20, 30), np.uint8), square)
    assert (square[0, 14:50] == (30, 20, 10)).all(), "RGB"
    assert (square[0, :14] == PADDING).all()
    assert (square[0, 50:] == PADDING).all()


def test_crop_leaves_the_sides_unlabelled():
    fit = Fit.make((90, 160), 64, "crop")
    back = fit.to_frame(np.ones((64, 64), np.uint8))
    assert back.sum() == 90 * 90
    assert back[:, 35:125].all()


def test_points_land_on_their_pixels():
    fit = Fit.make((90, 160), 64, "letterbox")
    centre = fit.points_to_frame(np.array([[31.5, 31.5]]))
    assert centre[0] == pytest.approx([79.5, 44.5])


def test_unknown_fit():
    with pytest.raises(UsageError, match="stretch"):
        Fit.make((90, 160), 64, "stretch")


@pytest.mark.parametrize("region", [Area(-200, 0, 400, 400), Area(-399, 60, 400, 400)])
def test_a_frame_that_is_a_line_can_be_seen(region):
    fit = Fit.around((10, 20000), 64, region)
    square = fit.new_square()
    fit.to_square(np.full((10, 20000, 3), 7, np.uint8), square)
    assert fit.square_area.height <= 2
    assert (square == 7).any()
    labels = fit.to_frame(np.ones((64, 64), np.uint8), cv2.INTER_NEAREST)
    assert fit.frame_area.of(labels).all()
