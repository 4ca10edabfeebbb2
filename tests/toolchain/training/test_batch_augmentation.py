"""Batches varied on the device follow the settings, and mean what single samples varied mean."""

import numpy as np
import pytest
import torch

from toolchain.datasets import open_dataset
from toolchain.datasets.augmentation import augment
from toolchain.datasets.base import Sample
from toolchain.datasets.labels import CELEBAMASK_HQ, IGNORED
from toolchain.settings.training_settings import AugmentationSettings
from toolchain.training import batch_augmentation
from toolchain.training.batch_augmentation import BatchAugmentation
from toolchain.training.resident import ResidentBatches, Unchanged, upload
from toolchain.training.samples import EpochOrder, Samples

STILL = {
    **dict.fromkeys(("mirror", "augment"), False),
    **dict.fromkeys(("faceless", "framed", "shift", "rotation", "degraded", "neighbours"), 0.0),
    **dict.fromkeys(("brightness", "contrast", "saturation", "tint"), 0.0),
    **dict.fromkeys(("smallest_crop", "largest_crop"), 1.0),
}
EYES = (4, 5)


def settings(**changes):
    return AugmentationSettings(**{**STILL, **changes})


@pytest.fixture(autouse=True)
def few_backdrops(monkeypatch):
    monkeypatch.setattr(batch_augmentation, "BACKDROPS", 40)


@pytest.fixture(scope="module")
def faces():
    return open_dataset("synthetic:24")


@pytest.fixture(scope="module")
def stock(faces):
    return upload(Samples(faces, 64), torch.device("cpu"))


def varied(stock, seed=0, indices=None, **changes):
    change = BatchAugmentation(*stock, CELEBAMASK_HQ, settings(**changes))
    chosen = np.arange(len(stock[0])) if indices is None else np.asarray(indices)
    images, labels = change(chosen, np.random.default_rng(seed))
    assert images.dtype == labels.dtype == torch.uint8
    assert images.shape == (*labels.shape, 3)
    return images, labels


def centre(mask):
    """Return the middle of what is set, x and y, each of [N]."""
    places = torch.arange(mask.shape[-1]) + 0.5
    total = mask.sum((1, 2))
    return ((mask.sum(1) * places).sum(1) / total, (mask.sum(2) * places).sum(1) / total)


def test_nothing_is_changed_by_settings_that_change_nothing(stock):
    images, labels = varied(stock)
    assert torch.equal(images, stock[0])
    assert torch.equal(labels, stock[1])


def test_a_mirror_exchanges_left_and_right(stock):
    images, labels = varied(stock, mirror=True)
    flipped = (images != stock[0]).flatten(1).any(1)
    assert 0 < flipped.sum() < len(images)
    assert torch.equal(images[flipped], stock[0][flipped].flip(2))
    exchange = torch.tensor(CELEBAMASK_HQ.mirrored)
    assert torch.equal(labels[flipped].long(), exchange[stock[1][flipped].long()].flip(2))


@pytest.mark.parametrize("scale", [0.3, 0.6, 1.3])
def test_a_face_is_placed_as_the_single_way_places_it(stock, scale):
    same = {"smallest_crop": scale, "largest_crop": scale}
    images, labels = varied(stock, **same)
    differences = []
    for index in range(len(images)):
        sample = Sample("", stock[0][index].numpy(), stock[1][index].numpy())
        single = augment(
            sample,
            np.random.default_rng(0),
            CELEBAMASK_HQ,
            64,
            settings(**same),
            lambda s=sample: s,
        )
        assert (labels[index].numpy() == single.labels).mean() > 0.97
        face = single.labels > 0
        differences.append(np.abs(images[index].numpy()[face] - single.image[face].astype(float)))
    # Surroundings are drawn; a face is the same but for how its pixels are averaged.
    assert np.median(np.concatenate(differences)) < 6


def test_a_wider_frame_holds_faces_of_all_asked_sizes_everywhere(stock):
    many = np.zeros(400, int)
    _, whole = varied(stock, indices=many[:1])
    _, labels = varied(stock, indices=many, framed=1.0, smallest=0.25)
    sizes = ((labels > 0).sum((1, 2)) / (whole[0] > 0).sum()).sqrt()
    assert sizes.min() < 0.3
    assert 0.9 < sizes.max() <= 1.05
    # Drawn evenly in logarithms, but for what is cut off at the edges.
    assert 0.35 < sizes.median() < 0.55
    x, y = centre(labels > 0)
    for line in (x, y):
        assert line.min() < 16
        assert line.max() > 48


def test_neighbours_come_only_where_nobody_is(stock):
    alone = varied(stock, framed=1.0)[1]
    labels = varied(stock, framed=1.0, neighbours=1.0)[1]
    assert torch.equal(labels[alone > 0], alone[alone > 0])
    assert ((labels > 0) & (alone == 0)).any()


def test_some_frames_have_nobody_in_them(stock):
    many = np.arange(200) % len(stock[0])
    whole = varied(stock, indices=many)[1]
    images, labels = varied(stock, indices=many, faceless=0.25)
    empty = ~(labels > 0).flatten(1).any(1)
    assert 30 <= int(empty.sum()) <= 70
    assert torch.equal(labels[~empty], whole[~empty])
    assert torch.equal(images[~empty], stock[0][torch.from_numpy(many)][~empty])
    assert len({image.numpy().tobytes() for image in images[empty]}) == int(empty.sum())
    # Nobody comes in from the side either.
    labels = varied(stock, indices=many, faceless=1.0, framed=1.0, neighbours=1.0)[1]
    assert not labels.any()


def test_turning_is_of_the_asked_degrees_either_way(stock):
    both = torch.isin(stock[1], torch.tensor(EYES)).flatten(1).sum(1)
    one = np.full(200, int(both.argmax()))
    _, labels = varied(stock, indices=one, rotation=30.0)
    (lx, ly), (rx, ry) = (centre(labels == eye) for eye in EYES)
    degrees = torch.rad2deg(torch.atan2(ry - ly, rx - lx).abs())
    degrees = torch.minimum(degrees, 180 - degrees)
    assert 20 < np.nanmax(degrees.numpy()) < 40


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": 60.0},
        {"contrast": 0.5},
        {"saturation": 1.0},
        {"tint": 0.5},
        {"degraded": 1.0, "blur": 4.0, "noise": 0.0, "jpeg": 95},
        {"degraded": 1.0, "blur": 0.0, "noise": 60.0, "jpeg": 95},
        {"degraded": 1.0, "blur": 0.0, "noise": 0.0, "jpeg": 1},
    ],
)
def test_what_changes_pixels_leaves_labels(stock, change):
    images, labels = varied(stock, **change)
    assert (images.float() - stock[0]).abs().mean() > 1
    assert torch.equal(labels, stock[1])


def test_pixels_that_do_not_count_still_do_not_after_all_changes(stock):
    ignored = torch.full_like(stock[1], IGNORED)
    change = BatchAugmentation(stock[0], ignored, CELEBAMASK_HQ, AugmentationSettings())
    labels = change(np.arange(len(ignored)), np.random.default_rng(0))[1]
    assert set(labels.unique().tolist()) <= {0, IGNORED}


def test_what_an_epoch_draws_follows_from_seed_epoch_and_batch(stock, faces):
    order = EpochOrder(len(faces), True, 3)
    change = BatchAugmentation(*stock, CELEBAMASK_HQ, AugmentationSettings())

    def epoch(number):
        order.epoch = number
        return [images for images, _ in ResidentBatches(order, 4, 3, change)]

    first, again, other = epoch(1), epoch(1), epoch(2)
    assert len(first) == len(faces) // 4
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_batches_that_are_not_varied_are_the_samples(stock, faces):
    order = EpochOrder(len(faces), False)
    (images, labels), *_ = ResidentBatches(order, 4, 0, Unchanged(*stock))
    assert torch.equal(images, stock[0][:4])
    assert torch.equal(labels, stock[1][:4])
