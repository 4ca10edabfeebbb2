"""Drawn faces of labels: found among look-alikes, followed, lost and found again."""

import cv2
import numpy as np
import pytest

from demo.faces import PATIENCE, PERSON, PORTRAIT, Face, FaceFinder, FaceFollower, search_places
from demo.geometry import Fit
from demo.labelling import Labeller
from demo.meter import Meter
from demo.parser import Look
from export.onnx_file.metadata import ModelMetadata

CLASSES = ["background", "skin", "l_eye", "r_eye", "nose", "mouth", "hair", "cloth"]
SIZE = 256
SHAPE = (720, 1280)


def draw_face(labels, x, y, size):
    """Draw a face of an area of ``size`` squared around a place, with hair and clothes."""

    def ellipse(label, dx, dy, width, height):
        middle = round(x + dx * size), round(y + dy * size)
        cv2.ellipse(
            labels, middle, (round(width * size), round(height * size)), 0, 0, 360, label, -1
        )

    ellipse(7, 0, 1.6, 1.2, 0.9)
    ellipse(6, 0, -0.15, 0.7, 0.85)
    ellipse(1, 0, 0, 0.51, 0.62)
    ellipse(2, 0.2, -0.3, 0.09, 0.05)
    ellipse(3, -0.2, -0.3, 0.09, 0.05)
    ellipse(4, 0, -0.06, 0.1, 0.17)
    ellipse(5, 0, 0.25, 0.17, 0.07)
    return labels


class FakeParser:
    """Reads labels off the picture's red channel, as long as a face is large enough to be seen.

    Attributes:
        looks: how often it was asked.
    """

    size = SIZE
    smallest = 0.1  # of the square's side

    def __init__(self, classes=CLASSES):
        colours = [(0, 0, 0)] * len(classes)
        self.metadata = ModelMetadata(
            classes=classes, palette=colours, input_size=SIZE, licence="none needed"
        )
        self.looks = []

    def __call__(self, square, fit):
        self.looks.append(fit)
        labels = np.round(square[0, :, :, 0] / 20).astype(np.uint8)
        labels[labels > 7] = 0  # padding, and mixtures at edges
        skin = np.count_nonzero((labels > 0) & (labels < 6))
        if skin < (self.smallest * SIZE) ** 2:
            labels[(labels > 0) & (labels < 6)] = 1  # too small for features
        return Look(fit, labels)


def frame_with(x, y, size, shape=SHAPE):
    labels = draw_face(np.zeros(shape, np.uint8), x, y, size)
    return np.dstack([np.zeros_like(labels)] * 2 + [labels * 20])


@pytest.mark.parametrize("size", [400, 200, 100, 65], ids=lambda size: f"{size / 720:.0%}")
@pytest.mark.parametrize(("across", "down"), [(0.5, 0.5), (0.1, 0.2), (0.93, 0.9)])
def test_a_face_of_any_size_is_seen_as_a_portrait(size, across, down):
    """The smallest is an eighth of the frame's height, from brow to chin."""
    x, y = across * SHAPE[1], down * SHAPE[0]
    parser = FakeParser()
    look = Labeller(parser, Meter(), "face", 0, stream=False)(frame_with(x, y, size))
    seen = look.fit.frame_area
    assert look.labels.max() >= 5, "with features"
    side = PORTRAIT.reach * size
    assert max(seen.height, seen.width) < 1.4 * side
    inside = (seen.left <= x < seen.left + seen.width, seen.top <= y < seen.top + seen.height)
    assert inside == (True, True)


def test_nobody_is_nobody():
    labels = np.zeros(SHAPE, np.uint8)
    cv2.rectangle(labels, (300, 200), (700, 600), 1, -1)  # skin without features
    cv2.rectangle(labels, (300, 200), (700, 300), 5, -1)  # a mouth at the top
    image = np.dstack([np.zeros_like(labels)] * 2 + [labels * 20])
    look = Labeller(FakeParser(), Meter(), "face", 0, stream=False)(image)
    assert look.labels.max() == 0
    assert look.fit.to_frame(look.labels).shape == SHAPE


def test_a_larger_patch_of_skin_is_not_taken_for_the_face():
    labels = np.zeros(SHAPE, np.uint8)
    cv2.rectangle(labels, (50, 100), (550, 600), 1, -1)
    image = np.dstack([np.zeros_like(labels)] * 2 + [draw_face(labels, 950, 300, 150) * 20])
    look = Labeller(FakeParser(), Meter(), "face", 0, stream=False)(image)
    assert look.fit.frame_area.left > 700


def test_one_look_a_frame_while_it_is_followed():
    parser = FakeParser()
    labeller = Labeller(parser, Meter(), "face", 0)
    labeller(frame_with(400, 300, 150))
    for step in range(1, 20):
        parser.looks.clear()
        x = 400 + 25 * step
        seen = labeller(frame_with(x, 300, 150)).fit.frame_area
        assert len(parser.looks) == 1
        assert abs(seen.left + seen.width / 2 - x) < 0.5 * 150


def test_a_head_that_keeps_still_leaves_the_view_where_it_is():
    rng = np.random.default_rng(0)
    labeller = Labeller(FakeParser(), Meter(), "face", 0)
    fits = set()
    for _ in range(12):
        x, y = 640 + rng.normal(0, 3, 2)
        fits.add(labeller(frame_with(x, y - 300, 150)).fit)
    assert len(fits) == 1


def test_lost_and_found_again():
    parser = FakeParser()
    labeller = Labeller(parser, Meter(), "face", 0)
    assert labeller(frame_with(300, 300, 200)).labels.any()
    empty = np.zeros((*SHAPE, 3), np.uint8)
    labeller(empty)
    assert labeller(frame_with(300, 300, 200)).labels.any(), "a frame without it is no loss"
    for _ in range(PATIENCE + 5):
        parser.looks.clear()
        assert not labeller(empty).labels.any()
        assert len(parser.looks) == 1, "the search takes one look a frame"
    for _ in range(len(search_places(SHAPE))):
        look = labeller(frame_with(1000, 400, 120))
        if look.labels.any():
            break
    assert look.fit.frame_area.left > 700


def test_the_persons_view_is_wider():
    labeller = Labeller(FakeParser(), Meter(), "face", 0, stream=False)
    image = frame_with(640, 200, 100)
    portrait, person = (labeller(image, view).fit.frame_area for view in (PORTRAIT, PERSON))
    assert person.width > 2 * portrait.width
    assert person.top + person.height > portrait.top + portrait.height


def test_classes_without_faces_are_seen_as_they_are():
    labeller = Labeller(FakeParser(["background", "person"]), Meter(), "face", 0)
    fit = labeller(np.zeros((90, 160, 3), np.uint8)).fit
    assert fit == Fit.make((90, 160), SIZE, "letterbox")


def test_features_count_where_they_belong():
    finder = FaceFinder(CLASSES)
    fit = Fit.make((SIZE, SIZE), SIZE, "letterbox")
    upright = draw_face(np.zeros((SIZE, SIZE), np.uint8), 128, 128, 100)
    (face, *_) = finder.faces(Look(fit, upright))
    assert face.features == 3
    assert (face.x, face.y, face.size) == pytest.approx((128, 128, 100), abs=3)
    (turned, *_) = finder.faces(Look(fit, np.ascontiguousarray(upright[::-1])))
    assert turned.features < 3


def test_follower_forgets_after_some_misses():
    follower = FaceFollower()
    follower.learn(Face(10, 10, 5, 3))
    for _ in range(PATIENCE - 1):
        follower.learn(None)
    assert follower.face
    follower.learn(None)
    assert follower.face is None


@pytest.mark.parametrize(
    "shape", [(720, 1280), (1280, 720), (480, 640), (500, 500), (7, 9), (1, 1)]
)
def test_search_covers_the_frame(shape):
    places = search_places(shape)
    assert places[0].height >= max(shape)
    assert len(set(places)) == len(places)
    covered = np.zeros(shape, bool)
    for place in places[1:]:
        assert 0 <= place.top <= place.top + place.height <= max(shape)
        place.of(covered)[:] = True
    assert len(places) == 1 or covered.all()


def test_no_part_of_a_frame_that_is_a_line_is_searched():
    assert len(search_places((10, 20000))) == 1
