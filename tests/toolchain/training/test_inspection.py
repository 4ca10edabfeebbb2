import numpy as np
import pytest

from toolchain.datasets.labels import IGNORED
from toolchain.datasets.splits import open_part
from toolchain.reporting.training_page import write_training_page
from toolchain.training.evaluation import evaluate, open_model
from toolchain.training.inspection import EdgeCount, inspect, sheet
from toolchain.training.trainer import train


def square(side: int, at: int, size: int = 64) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[at : at + side, at : at + side] = 1
    return labels


def boundary_f1(labels, predictions):
    count = EdgeCount(3)
    count.update(labels, predictions)
    return count.f1


def test_equal_maps_have_equal_edges():
    assert boundary_f1(square(20, 10), square(20, 10)) == [1.0, 1.0, None]


def test_a_pixel_apart_is_near_and_three_are_not():
    """In an image of 64 pixels edges may lie one apart."""
    assert boundary_f1(square(20, 10), np.roll(square(20, 10), 1, axis=1))[1] == 1
    assert boundary_f1(square(30, 10), square(24, 13))[1] == 0


def test_precision_and_recall_count_alike():
    both = square(20, 4)
    both[40:60, 40:60] = 1
    # One of two squares is found: a precision of 1, a recall of a half.
    assert boundary_f1(both, square(20, 4))[1] == pytest.approx(2 / 3)
    assert boundary_f1(square(20, 4), both)[1] == pytest.approx(2 / 3)


def test_a_class_that_one_map_alone_has_scores_nothing():
    labels = square(20, 10)
    assert boundary_f1(labels, 2 * labels) == [1.0, 0.0, 0.0]


def test_what_does_not_count_has_no_edge():
    labels = np.full((64, 64), IGNORED, np.uint8)
    assert boundary_f1(labels, square(20, 10)) == [None, None, None]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, configure):
    folder = tmp_path_factory.mktemp("inspected")
    train(configure(data="synthetic:120", epochs=2), folder)
    return folder, open_part("synthetic:120", "search-score")


def test_an_inspection_agrees_with_the_evaluation(trained):
    folder, images = trained
    found = inspect(open_model(folder / "best.pt"), images)
    figures = evaluate(folder / "best.pt", "synthetic:120", split="search-score")
    assert found.matrix.summary(images.label_set)["f1"] == figures["f1"]
    assert found.scores.shape == (len(images),)
    assert found.worst[0] == int(found.scores.argmin())
    labels = np.stack([images.read(i).labels for i in range(len(images))])
    shares = [(labels == k).any((1, 2)).mean() for k in range(19)]
    np.testing.assert_allclose(found.shares, shares, atol=1 / len(images) + 1e-9)
    rare = {k for k, share in enumerate(found.shares) if 0 < share < 0.1}
    assert set(found.rare) == rare
    # A common class that was missed altogether counts as a zero.
    f1 = figures["f1"].values()
    common = [one for k, one in enumerate(f1) if k and k not in rare and one is not None]
    assert 0 in common
    assert found.mean_f1_without_rare == pytest.approx(np.mean(common))


def test_a_sheet_shows_picture_labels_and_prediction(trained):
    folder, images = trained
    ((picture, labels, guessed),) = sheet(open_model(folder / "best.pt"), images.subset([0]), 48)
    assert picture.shape == labels.shape == guessed.shape == (48, 48, 3)
    assert (labels != picture).any()
    assert (labels != guessed).any()


def test_the_page_needs_nothing_else(trained):
    folder, images = trained
    page = write_training_page(folder).read_text("utf-8")
    for text in ("How it went", "Boundary F1", "Left and right", "Worst pictures", "l_brow"):
        assert text in page
    assert page.count("data:image/jpeg;base64,") == 3 * 2 * min(6, len(images))
    assert "http" not in page.split("</script>")[-1]
