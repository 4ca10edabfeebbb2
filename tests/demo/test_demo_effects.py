import cv2
import numpy as np
import pytest
from demo_samples import CLASSES, PALETTE

from demo.colours import parse_colour
from demo.effects import make_effects
from demo.effects.blending import blend
from demo.effects.recolour import tint_table
from demo.geometry import Fit
from demo.panels import draw_panel
from demo.parser import Look
from export.system.errors import DataError, UsageError

SHAPE = (180, 320)
MARGIN = 16  # frame pixels that a soft edge and an outline may reach over


@pytest.fixture
def fit():
    return Fit.make(SHAPE, 128, "letterbox")


def draw(name, image, labels, fit, **options):
    return make_effects(CLASSES, PALETTE, **options)[name](image, Look(fit, labels))


@pytest.fixture
def image(labels, fit):
    """A person of one colour before a wall of another, both with grain."""
    rng = np.random.default_rng(1)
    person = near(labels, [1, 2, 4], fit, 2)[..., None]
    flat = np.where(person, (60, 90, 180), (150, 140, 60))
    return np.clip(flat + rng.normal(0, 8, (*SHAPE, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def labels():
    """Skin in the middle with lips and hair in it."""
    labels = np.zeros((128, 128), np.uint8)
    labels[40:90, 40:90] = 1
    labels[45:60, 45:85] = 2
    labels[70:80, 55:75] = 4
    return labels


def near(labels, targets, fit, margin):
    """Frame pixels in the regions of some labels, grown or (negative) shrunk by a margin."""
    region = np.isin(labels, targets).astype(np.uint8)
    region = fit.to_frame(region, cv2.INTER_NEAREST)
    kernel = np.ones((2 * abs(margin) + 1,) * 2, np.uint8)
    return (cv2.dilate if margin > 0 else cv2.erode)(region, kernel) > 0


def changed(before, after):
    return (before != after).any(axis=2)


@pytest.mark.parametrize(
    ("name", "targets"), [("overlay", [1, 2, 4]), ("recolour", [2, 4])], ids=["overlay", "recolour"]
)
def test_only_the_face_changes(name, targets, image, labels, fit):
    original = image.copy()
    drawn = draw(name, image, labels, fit)
    assert np.array_equal(image, original), "the input is left alone"
    assert not (changed(image, drawn) & ~near(labels, targets, fit, MARGIN)).any()
    assert changed(image, drawn)[near(labels, targets, fit, -3)].mean() > 0.9


@pytest.mark.parametrize("name", ["blur", "background"])
def test_only_the_background_changes(name, image, labels, fit):
    drawn = draw(name, image, labels, fit, background="teal")
    assert not (changed(image, drawn) & near(labels, [1, 2, 4], fit, -MARGIN)).any()
    assert changed(image, drawn)[~near(labels, [1, 2, 4], fit, MARGIN)].mean() > 0.95


def test_overlay_mixes_the_palette_in_the_given_share(labels, fit):
    grey = np.full((*SHAPE, 3), 100, np.uint8)
    drawn = draw("overlay", grey, labels, fit, opacity=0.5, outlines=False)
    inside = near(labels, [2], fit, -6)
    expected = [(100 + value) / 2 for value in reversed(PALETTE[2])]
    assert np.abs(drawn[inside] - expected).max() <= 1


def test_overlay_edge_does_not_fade_to_black(fit):
    labels = np.zeros((128, 128), np.uint8)
    labels[40:90, 40:90] = 1
    white = np.full((*SHAPE, 3), 255, np.uint8)
    palette = [(0, 0, 0), *[(255, 255, 255)] * 7]
    drawn = make_effects(CLASSES, palette, outlines=False)["overlay"](white, Look(fit, labels))
    assert drawn.min() >= 254


def test_outlines_and_legend_add_to_the_picture(image, labels, fit):
    plain = draw("overlay", image, labels, fit, outlines=False)
    outlined = draw("overlay", image, labels, fit)
    assert 100 < changed(plain, outlined).sum() < 6000
    legend = draw("overlay", image, labels, fit, legend=True)
    rows, columns = np.nonzero(changed(outlined, legend))
    assert rows.max() < 90
    assert columns.max() < 110


def test_new_background_is_the_picture_given(tmp_path, image, labels, fit):
    path = tmp_path / "beach.png"
    cv2.imwrite(str(path), np.full((50, 50, 3), (200, 100, 50), np.uint8))
    drawn = draw("background", image, labels, fit, background=str(path))
    assert (drawn[~near(labels, [1, 2, 4], fit, MARGIN)] == (200, 100, 50)).all()


def test_blurred_background_has_no_halo(labels, fit):
    image = np.zeros((*SHAPE, 3), np.uint8)
    image[near(labels, [1, 2, 4], fit, 2)] = 255
    drawn = draw("blur", image, labels, fit)
    assert drawn[~near(labels, [1, 2, 4], fit, 8)].max() < 40


def test_recolour_keeps_luminance(image, labels, fit):
    smooth = cv2.GaussianBlur(image, (0, 0), 3)
    drawn = draw("recolour", smooth, labels, fit, hair="#ff00ff")
    grey, new_grey = (cv2.cvtColor(each, cv2.COLOR_BGR2GRAY) for each in (smooth, drawn))
    assert cv2.absdiff(grey, new_grey).max() <= 2
    hair = near(labels, [2], fit, -6)
    magenta = drawn[hair][:, [0, 2]].mean() - drawn[hair][:, 1].mean()
    assert magenta > 60


@pytest.mark.parametrize("colour", ["black", "white", "red", "teal", "#123456"])
def test_shades_have_the_luminance_of_their_place(colour):
    shades = tint_table(parse_colour(colour))
    grey = cv2.cvtColor(shades, cv2.COLOR_BGR2GRAY)[:, 0]
    assert np.abs(grey.astype(int) - np.arange(256)).max() <= 1


def test_no_recolour_without_hair_or_lips():
    assert "recolour" not in make_effects(["background", "person"], PALETTE[:2])


def test_wrong_colours():
    with pytest.raises(UsageError, match="'mauvish' is not a colour"):
        make_effects(CLASSES, PALETTE, hair="mauvish")
    with pytest.raises(DataError, match=r"nowhere\.png: is neither an image file nor a colour"):
        make_effects(CLASSES, PALETTE, background="nowhere.png")


def test_blend_is_exact_at_both_ends(image):
    other = image[::-1].copy()
    amount = np.zeros(SHAPE, np.uint8)
    amount[:, 100:] = 255
    amount[:, 99] = 51
    mixed = blend(image, other.copy(), amount)
    assert np.array_equal(mixed[:, :99], image[:, :99])
    assert np.array_equal(mixed[:, 100:], other[:, 100:])
    expected = 0.8 * image[:, 99] + 0.2 * other[:, 99]
    assert np.abs(mixed[:, 99] - expected).max() <= 0.51


@pytest.mark.parametrize("shape", [(512, 512, 3), (90, 160, 3), (12, 12, 3)])
@pytest.mark.parametrize("bottom", [False, True])
def test_panel_stays_in_its_corner(shape, bottom):
    image = np.full(shape, 200, np.uint8)
    draw_panel(image, ["30 fps", "inference 12.0 ms"], [(255, 0, 0), (0, 255, 0)], bottom=bottom)
    touched = (image != 200).any(axis=2)
    other_half = touched[: shape[0] // 2] if bottom else touched[shape[0] // 2 + 1 :]
    if shape[0] == 512:
        assert touched.any()
        assert not other_half.any()
        assert image.max() == 255, "text is white"
