import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from toolchain.datasets.labels import IGNORED
from toolchain.training import losses


def certain(labels: torch.Tensor, classes: int, confidence: float = 50.0) -> torch.Tensor:
    """Logits that are sure of these labels."""
    return confidence * F.one_hot(labels, classes).permute(0, 3, 1, 2).float()


@pytest.fixture
def labels() -> torch.Tensor:
    blocks = torch.randint(0, 4, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    return blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)


def test_cross_entropy_is_taken_at_the_labels_resolution(labels):
    logits = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    probabilities = F.interpolate(logits, size=(16, 16), mode="bilinear").softmax(1)
    expected = -probabilities.gather(1, labels[:, None]).log().mean()
    assert losses.cross_entropy(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_labels_shrink_by_pixel_centres():
    labels = torch.arange(6).repeat(6, 1)[None]
    assert losses.shrink_labels(labels, (2, 2))[0, 0].tolist() == [1, 4]


def test_dice_is_nothing_when_right_and_one_when_every_part_is_missed(labels):
    small = losses.shrink_labels(labels, (4, 4))
    right = losses.dice_loss(certain(small, 4), labels)
    wrong = losses.dice_loss(certain(torch.zeros_like(small), 4), labels)
    assert right.item() == pytest.approx(0, abs=1e-5)
    assert wrong.item() == pytest.approx(1, abs=1e-5)


def test_dice_weighs_a_rare_class_as_much_as_a_common_one():
    labels = torch.ones(1, 8, 8, dtype=torch.long)
    labels[0, 0, 0] = 2
    missed = torch.where(labels == 2, 1, labels)
    assert losses.dice_loss(certain(missed, 3), labels).item() == pytest.approx(0.5, abs=0.01)


def test_dice_of_background_alone_is_zero_and_can_be_differentiated():
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = losses.dice_loss(logits, torch.zeros(1, 4, 4, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None


def test_distillation_compares_at_the_students_resolution():
    student = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    teacher = F.interpolate(student, scale_factor=2, mode="nearest")
    assert losses.distillation_loss(student, teacher).item() == pytest.approx(0, abs=1e-6)
    assert losses.distillation_loss(student, -teacher).item() > 0.1


def test_distillation_is_the_divergence_of_the_student_from_the_teacher():
    student, teacher = torch.randn(2, 1, 5, 3, 3, generator=torch.Generator().manual_seed(4))
    expected = F.kl_div(
        student.log_softmax(1).permute(0, 2, 3, 1).reshape(-1, 5),
        teacher.softmax(1).permute(0, 2, 3, 1).reshape(-1, 5),
        reduction="batchmean",
    )
    assert losses.distillation_loss(student, teacher).item() == pytest.approx(expected.item())


def test_distillation_may_leave_images_out():
    student, teacher = torch.randn(2, 4, 5, 3, 3, generator=torch.Generator().manual_seed(5))
    some = torch.tensor([True, False, True, False])
    found = losses.distillation_loss(student, teacher, some)
    assert found == pytest.approx(losses.distillation_loss(student[some], teacher[some]).item())
    assert losses.distillation_loss(student, teacher, torch.zeros(4, dtype=bool)) == 0


def test_class_weights_rise_with_rarity_within_limits():
    pixels = np.array([1_000_000, 10_000, 2_500, 10, 0])
    median = 6_250
    weights = losses.class_weights(pixels, power=0.5, limit=4).tolist()
    assert weights == pytest.approx([0.25, (median / 10_000) ** 0.5, (median / 2_500) ** 0.5, 4, 1])
    assert losses.class_weights(pixels, power=0, limit=4).tolist() == [1] * 5


def test_auxiliary_heads_learn_from_maps_of_several_sizes(labels):
    heads = losses.AuxiliaryHeads(cells=2, channels=8, classes=4)
    merges = [torch.randn(2, 8, size, size, requires_grad=True) for size in (2, 8)]
    heads.loss(merges, labels, torch.ones(4)).backward()
    assert all(merge.grad is not None and merge.grad.abs().sum() > 0 for merge in merges)


def test_presence_is_the_binary_cross_entropy_of_the_classes_in_the_image():
    branch = losses.PresenceBranch(2, 3)
    torch.nn.init.zeros_(branch.linear.weight)
    with torch.no_grad():
        branch.linear.bias.copy_(torch.tensor([2.0, 0.0, -2.0]))
    labels = torch.tensor([[[0, 1], [1, 0]]])
    found = branch.loss(torch.rand(1, 2, 4, 4), labels)
    # Class 0 is said to be there and is, class 1 is as likely as not and is, class 2 is denied.
    expected = (math.log(1 + math.exp(-2)) + math.log(2) + math.log(1 + math.exp(-2))) / 3
    assert found.item() == pytest.approx(expected)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(6))


@pytest.fixture
def weights() -> torch.Tensor:
    return torch.tensor([0.5, 1.0, 2.0, 4.0])


def every_loss(logits, labels, weights):
    pixels = losses.PixelLosses(logits, labels, weights)
    return {
        "cross-entropy": losses.cross_entropy(logits, labels, weights),
        "pixels": pixels.mean(),
        "hardest": pixels.hardest(0.25),
        "dice": losses.dice_loss(logits, labels),
        "lovasz": losses.lovasz_loss(logits, labels),
    }


def test_pixels_that_do_not_count_change_no_loss(labels, logits, weights):
    """Half of the picture is left out: the loss is that of the other half."""
    half = labels.clone()
    half[:, :, 8:] = IGNORED
    # At the labels' resolution, so that no logit is of both halves.
    fine = F.interpolate(logits, scale_factor=2, mode="nearest")
    other = fine.clone()
    other[..., 8:] += 3 * torch.randn(2, 4, 16, 8, generator=torch.Generator().manual_seed(7))
    for name, loss in every_loss(fine, half, weights).items():
        assert loss.item() == pytest.approx(every_loss(other, half, weights)[name].item()), name
        if name != "hardest":
            alone = every_loss(fine[..., :8], labels[..., :8], weights)[name]
            assert loss.item() == pytest.approx(alone.item(), rel=1e-5), name
        assert loss.item() != every_loss(fine, labels, weights)[name].item(), name


def test_the_mean_of_all_pixels_is_the_cross_entropy(labels, logits, weights):
    pixels = losses.PixelLosses(logits, labels, weights)
    expected = losses.cross_entropy(logits, labels, weights).item()
    assert pixels.mean().item() == pytest.approx(expected, rel=1e-5)
    assert pixels.hardest(1).item() == pytest.approx(expected, rel=1e-5)
    assert pixels.among(torch.ones_like(labels, dtype=torch.bool)).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_the_hardest_pixels_are_those_of_the_largest_loss(labels, logits):
    plain = torch.ones(4)
    full = F.interpolate(logits, size=(16, 16), mode="bilinear")
    each = F.cross_entropy(full, labels, reduction="none").flatten().sort(descending=True).values
    found = losses.PixelLosses(logits, labels, plain).hardest(0.1).item()
    assert found == pytest.approx(each[:51].mean().item(), rel=1e-5)


def test_edges_are_where_labels_change():
    labels = torch.zeros(1, 12, 12, dtype=torch.long)
    labels[:, :, 6:] = 3
    edges = losses.near_edges(labels, reach=2)
    assert edges[0].any(0).tolist() == [4 <= x < 8 for x in range(12)]
    assert edges[0].all(0).tolist() == [4 <= x < 8 for x in range(12)]
    labels[:, :, 6:] = IGNORED
    assert not losses.near_edges(labels, reach=2).any()


def test_no_pixel_gives_no_loss_and_can_be_differentiated(labels, logits, weights):
    logits.requires_grad_()
    pixels = losses.PixelLosses(logits, labels, weights)
    nothing = pixels.among(torch.zeros_like(labels, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_lovasz_of_decisions_is_one_minus_the_mean_iou(labels):
    """On decisions the extension is the loss itself: Berman et al., 2018, proposition 2."""
    small = losses.shrink_labels(labels, (4, 4))
    guessed = small.roll(1, 2)
    ious = []
    for k in small.unique():
        both = ((guessed == k) & (small == k)).sum()
        ious.append(both / ((guessed == k) | (small == k)).sum())
    found = losses.lovasz_loss(certain(guessed, 4), labels)
    assert found.item() == pytest.approx(1 - torch.stack(ious).mean().item(), abs=1e-4)
    assert losses.lovasz_loss(certain(small, 4), labels).item() == pytest.approx(0, abs=1e-4)


def test_lovasz_leads_downhill(labels):
    logits = torch.zeros(2, 4, 4, 4, requires_grad=True)
    before = losses.lovasz_loss(logits, labels)
    before.backward()
    assert losses.lovasz_loss(logits - logits.grad, labels) < before
