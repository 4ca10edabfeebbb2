import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex

from toolchain.datasets.labels import CELEBAMASK_HQ, IGNORED, LabelSet
from toolchain.training.metrics import ConfusionMatrix


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 19, (3, 40, 40), generator=generator)
    wrong = torch.randint(0, 19, labels.shape, generator=generator)
    keep = torch.rand(labels.shape, generator=generator) < 0.7
    return labels, torch.where(keep, labels, wrong)


def matrix_of(labels, predictions, classes=19):
    matrix = ConfusionMatrix(classes)
    matrix.update(labels, predictions)
    return matrix


def test_scores_agree_with_torchmetrics(maps):
    labels, predictions = maps
    matrix = matrix_of(labels, predictions)
    f1 = MulticlassF1Score(19, average=None)(predictions.flatten(), labels.flatten())
    iou = MulticlassJaccardIndex(19)(predictions.flatten(), labels.flatten())
    assert matrix.f1 == pytest.approx(f1.tolist(), abs=1e-6)
    assert matrix.mean_f1 == pytest.approx(f1[1:].mean().item(), abs=1e-6)
    assert matrix.miou == pytest.approx(iou.item(), abs=1e-6)
    assert matrix.pixel_accuracy == pytest.approx((labels == predictions).float().mean().item())


def test_ignored_pixels_do_not_count(maps):
    labels, predictions = maps
    ignored = labels.clone()
    ignored[1:] = IGNORED
    one = matrix_of(labels[:1], predictions[:1])
    assert (matrix_of(ignored, predictions).counts == one.counts).all()


def test_updates_add_up_whatever_the_kind_of_array(maps):
    labels, predictions = maps
    parts = ConfusionMatrix(19)
    for label, prediction in zip(labels, predictions, strict=True):
        parts.update(label.numpy().astype(np.uint8), prediction.to(torch.uint8))
    assert (parts.counts == matrix_of(labels, predictions).counts).all()


def test_a_class_of_neither_side_has_no_score_and_one_of_either_side_has_zero():
    matrix = matrix_of(np.array([0, 1, 2]), np.array([0, 1, 1]), classes=4)
    assert matrix.f1 == [1, pytest.approx(2 / 3), 0, None]
    assert matrix.mean_f1 == pytest.approx(1 / 3)
    assert matrix.miou == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_only_background_scores_nothing_and_fails_nowhere():
    labels = np.zeros((4, 4), np.uint8)
    summary = matrix_of(labels, labels).summary(CELEBAMASK_HQ)
    assert summary["mean_f1"] == 0
    assert summary["groups"]["overall"] is None
    assert summary["pixel_accuracy"] == 1


def test_groups_forgive_left_for_right_and_lip_for_mouth():
    named = CELEBAMASK_HQ.classes.index
    labels = np.array([named("l_eye"), named("r_eye"), named("mouth"), named("nose")])
    predictions = np.array([named("r_eye"), named("l_eye"), named("u_lip"), named("skin")])
    matrix = matrix_of(labels, predictions)
    groups = matrix.groups(CELEBAMASK_HQ)
    assert matrix.mean_f1 == 0
    assert groups["eyes"] == 1
    assert groups["mouth"] == 1
    assert groups["nose"] == 0
    assert groups["brows"] is None


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        # All but background: ears count as one, 3 pixels of 4 and 5 are right.
        ({"eyes": (1, 2)}, 2 * 3 / (4 + 5)),
        # Only the eyes: 2 right, 2 labelled, 3 predicted.
        ({"eyes": (1, 2), "overall": (1, 2)}, 2 * 2 / (2 + 3)),
    ],
)
def test_overall_merges_sides_and_counts_its_classes_together(groups, expected):
    label_set = LabelSet(
        "test", ("background", "l_eye", "r_eye", "l_ear", "r_ear"), ((0, 0, 0),) * 5,
        swaps=((1, 2), (3, 4)), groups=groups,
    )  # fmt: skip
    labels = np.array([0, 0, 1, 2, 3, 4])
    predictions = np.array([0, 1, 2, 1, 4, 0])
    predictions = np.append(predictions, 3)
    labels = np.append(labels, 0)
    overall = matrix_of(labels, predictions, 5).groups(label_set)["overall"]
    assert overall == pytest.approx(expected)
