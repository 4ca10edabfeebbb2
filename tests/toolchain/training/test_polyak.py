import pytest
import torch
from torch import nn

from toolchain.training.polyak import PolyakAverage


def network(value: float) -> nn.Module:
    result = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    for parameter in result.parameters():
        nn.init.constant_(parameter, value)
    return result


def test_the_average_follows_slowly_and_leaves_the_start_quickly():
    average = PolyakAverage(network(0.0), decay=0.5)
    average.update(network(1.0))
    assert average.network[0].weight.item() == pytest.approx(0.9)
    for _ in range(20):
        average.update(network(1.0))
    before = average.network[0].weight.item()
    average.update(network(3.0))
    assert average.network[0].weight.item() == pytest.approx((before + 3) / 2)


def test_batch_norm_statistics_are_averaged_and_the_source_is_untouched():
    source = network(1.0).train()
    average = PolyakAverage(source, decay=0.5)
    source(torch.full((4, 1), 10.0))
    mean = source[1].running_mean.item()
    average.update(source)
    assert 0 < average.network[1].running_mean.item() < mean
    assert not average.network.training
    assert source.training


def test_a_restored_average_goes_on_alike():
    first = PolyakAverage(network(0.0), decay=0.9)
    first.update(network(1.0))
    second = PolyakAverage(network(5.0), decay=0.9)
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.update(network(2.0))
    assert torch.equal(first.network[0].weight, second.network[0].weight)
