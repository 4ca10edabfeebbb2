import cv2
import numpy as np
import pytest

from demo.effects.background import BlurBackground, ReplaceBackground
from demo.effects.matting import in_one_piece, levels, matte
from demo.geometry import Area, Fit
from demo.parser import Look

SHAPE = (240, 320)
FIT = Fit.make(SHAPE, 256, "letterbox")


def scene():
    """A dark disc before a bright wall, with thin dark strands above it; and where it is."""
    truth = np.zeros(SHAPE, np.uint8)
    cv2.circle(truth, (160, 130), 60, 255, -1)
    for x in range(120, 200, 16):
        cv2.line(truth, (x, 90), (x, 52), 255, 2)
    grain = np.random.default_rng(0).normal(0, 3, (*SHAPE, 3))
    flat = np.where(truth[..., None] > 0, (40, 50, 60), (200, 210, 190))
    return np.clip(flat + grain, 0, 255).astype(np.uint8), truth


def coarse(truth, cells=80):
    """What a network with a coarse grid says of it, on the model's square."""
    square = np.zeros((256, 256), np.float32)
    FIT.square_area.of(square)[:] = cv2.resize(
        truth, (FIT.square_area.width, FIT.square_area.height), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(square / 255, (cells, cells), interpolation=cv2.INTER_AREA)


def error(mask, truth):
    return float(np.abs(mask.astype(float) - truth).mean() / 255)


@pytest.mark.parametrize("whole", [True, False])
def test_edges_follow_the_picture(whole):
    image, truth = scene()
    share = coarse(truth)
    mask = matte(image, share, FIT, whole=whole)
    upsampled = FIT.to_frame(np.round(255 * cv2.resize(share, (256, 256))).astype(np.uint8))
    assert error(mask, truth) < (0.5 if whole else 0.9) * error(upsampled, truth)


def test_strands_are_kept():
    image, truth = scene()
    mask = matte(image, coarse(truth), FIT)
    strands, gaps = mask[70, 120:200:16], mask[70, 128:192:16]
    assert strands.mean() > gaps.mean() + 60


def test_labels_alone_serve():
    image, truth = scene()
    labels = np.zeros((256, 256), np.uint8)
    FIT.square_area.of(labels)[:] = cv2.resize(
        truth // 255,
        (FIT.square_area.width, FIT.square_area.height),
        interpolation=cv2.INTER_NEAREST,
    )
    mask = matte(image, Look(FIT, labels).share([1]), FIT, whole=True)
    assert error(mask, truth) < 0.02


def test_probabilities_of_several_classes_add_up():
    shares = np.random.default_rng(0).dirichlet(np.ones(5), (8, 8)).transpose(2, 0, 1)
    look = Look(FIT, np.zeros((256, 256), np.uint8), shares.astype(np.float32))
    for targets in ([1, 2], [1, 2, 3, 4]):
        assert look.share(targets) == pytest.approx(shares[targets].sum(axis=0), abs=1e-5)


def person():
    share = np.zeros((100, 100), np.float32)
    share[20:, 30:70] = 1
    return share


@pytest.mark.parametrize(
    ("place", "filled"),
    [
        (np.s_[40:48, 45:53], np.s_[40:48, 45:53]),
        (np.s_[92:100, 45:53], np.s_[92:100, 45:53]),
        (np.s_[60:64, 30:40], np.s_[60:64, 34:40]),  # its mouth is rounded off
    ],
    ids=["inside", "at the lower edge", "a cleft"],
)
def test_holes_in_a_person_are_filled(place, filled):
    share = person()
    share[place] = 0.1
    assert in_one_piece(share)[filled].min() == 1


def test_what_lies_apart_is_removed_and_a_large_gap_stays():
    share = person()
    share[5:10, 5:10] = 1
    share[30:80, 40:60] = 0  # as between arm and body
    result = in_one_piece(share)
    assert result[:15, :15].max() == 0
    assert result[50, 50] == 0
    assert result[25, 50] == 1


def test_nobody():
    assert in_one_piece(np.full((20, 20), 0.2, np.float32)).max() == 0


def test_what_is_seen_ends_softly_and_the_body_goes_on_below():
    fit = Fit.around(SHAPE, 256, Area(20, 60, 120, 120))
    image = np.full((*SHAPE, 3), 90, np.uint8)
    share = np.ones((32, 32), np.float32)
    mask = matte(image, share, fit, whole=True)
    assert mask[:20].max() == mask[:, :60].max() == 0
    assert mask[80, 120] == mask[239, 120] == 255
    assert 0 < mask[80, 62] < 255


def test_levels_move_edges():
    ramp = np.arange(256, dtype=np.uint8)[None]
    assert levels(ramp, 0, 0.5)[0, 128] == 255
    assert levels(ramp, 0.5, 1)[0, 127] == 0
    assert levels(ramp, 0, 1)[0].tolist() == ramp[0].tolist()


def test_no_old_light_shines_at_the_new_edge():
    """A dark person before a bright wall, put before black: nothing bright may be left."""
    image, truth = scene()
    look = Look(FIT, np.zeros((256, 256), np.uint8), np.stack([1 - coarse(truth), coarse(truth)]))
    drawn = ReplaceBackground((0, 0, 0))(image, look)
    assert drawn.max() < 100
    assert np.abs(drawn[130, 160].astype(int) - image[130, 160]).max() == 0


def test_blur_keeps_the_person_and_no_halo():
    image, truth = scene()
    look = Look(FIT, np.zeros((256, 256), np.uint8), np.stack([1 - coarse(truth), coarse(truth)]))
    drawn = BlurBackground()(image, look)
    inside = cv2.erode(truth, np.ones((9, 9))) > 0
    outside = cv2.dilate(truth, np.ones((21, 21))) == 0
    assert np.abs(drawn[inside].astype(int) - image[inside]).max() == 0
    assert drawn[outside].min() > 150
    assert drawn[outside].std() < image[outside].std()
