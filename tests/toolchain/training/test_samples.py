from collections.abc import Callable

import numpy as np
import pytest
import torch

from toolchain.datasets import Sample, open_dataset
from toolchain.training import samples as module
from toolchain.training.samples import EpochOrder, Samples, batches, repeat_factors

FACES = open_dataset("synthetic:6")


def brighten(sample: Sample, rng: np.random.Generator, other: Callable[[], Sample]) -> Sample:
    image = sample.image // 2 + rng.integers(0, 100, dtype=np.uint8)
    return Sample(sample.name, image, sample.labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_hold_every_sample_of_an_epoch_in_an_order_of_its_own(workers):
    samples = Samples(FACES, 32)
    order = EpochOrder(6, shuffle=True, seed=1)
    loader = batches(samples, order, 3, workers)
    seen = []
    for epoch in (1, 2):
        order.epoch = epoch
        images = [image for batch, _ in loader for image in batch]
        own = [torch.from_numpy(samples.read(index).image) for index in range(6)]
        seen.append([next(i for i in range(6) if torch.equal(own[i], image)) for image in images])
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(6))
    assert seen[0] != seen[1]


def test_a_rest_is_left_out_of_shuffled_epochs_only():
    samples = Samples(FACES, 32)
    assert [len(images) for images, _ in batches(samples, EpochOrder(6, True), 4, 0)] == [4]
    assert [len(images) for images, _ in batches(samples, EpochOrder(6, False), 4, 0)] == [4, 2]
    assert [len(images) for images, _ in batches(samples, EpochOrder(6, True), 64, 0)] == [6]


def test_what_is_drawn_follows_from_seed_epoch_and_index_alone():
    first, second = (Samples(FACES, 32, brighten, seed=3) for _ in range(2))
    second[1, 0]  # drawing another first changes nothing
    assert torch.equal(first[1, 2][0], second[1, 2][0])
    assert not torch.equal(first[1, 2][0], first[2, 2][0])
    assert not torch.equal(first[1, 2][0], Samples(FACES, 32, brighten, seed=4)[1, 2][0])


def test_samples_are_kept_when_they_fit_and_are_the_same_when_not(monkeypatch):
    kept = Samples(FACES, 32)
    monkeypatch.setattr(module, "MEMORY_SHARE", 0)
    unkept = Samples(FACES, 32)
    assert kept.kept
    assert not unkept.kept
    assert all(torch.equal(a, b) for a, b in zip(kept[1, 4], unkept[1, 4], strict=True))
    assert kept[1, 4][0].shape == (32, 32, 3)
    assert kept[1, 4][0].dtype == torch.uint8


def test_pixels_are_counted_over_the_dataset():
    samples = Samples(FACES, 32)
    expected = sum(np.bincount(samples.read(i).labels.ravel(), minlength=19) for i in range(6))
    assert (samples.pixels() == expected).all()
    assert samples.pixels(limit=2).sum() == 2 * 32 * 32


def test_classes_that_a_sample_holds():
    samples = Samples(FACES, 32)
    held = samples.holds()
    for index in range(6):
        assert set(np.flatnonzero(held[index])) == set(np.unique(samples.read(index).labels))


def test_rare_classes_are_shown_more_often_and_an_epoch_stays_as_long():
    held = np.zeros((100, 3), bool)
    held[:, 0] = held[:50, 1] = held[:4, 2] = True
    factors = repeat_factors(held, 0.16)
    assert factors[:4] == pytest.approx([factors[50] * 2] * 4)  # sqrt(0.16 / 0.04)
    assert (factors[4:] == factors[50]).all()
    assert factors.mean() == pytest.approx(1)
    order = EpochOrder(100, shuffle=True, seed=5, factors=factors)
    count = np.zeros(100)
    for epoch in range(1, 201):
        order.epoch = epoch
        keys = list(order)
        assert len(keys) == len(set(keys)) == len(order) == 100
        assert {key[0] for key in keys} == {epoch}
        count += np.bincount([key[1] for key in keys], minlength=100)
    assert count / 200 == pytest.approx(factors, abs=0.1)
    assert list(order) == list(order)
    assert (repeat_factors(held, 0) == 1).all()


def test_the_same_sample_again_in_an_epoch_is_drawn_anew():
    samples = Samples(FACES, 32, brighten, seed=3)
    assert not torch.equal(samples[1, 2][0], samples[1, 2, 1][0])
