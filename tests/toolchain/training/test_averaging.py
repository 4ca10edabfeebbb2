import pytest
import torch
from torch import nn

from toolchain.training.averaging import averaged, decay_of


def network(value: float) -> nn.Module:
    result = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    for parameter in result.parameters():
        nn.init.constant_(parameter, value)
    return result


def test_the_average_follows_slowly_and_leaves_the_start_at_once():
    average = averaged(network(0.0), decay=0.5)
    average.update_parameters(network(1.0))
    assert average.module[0].weight.item() == 1
    average.update_parameters(network(2.0))
    assert average.module[0].weight.item() == pytest.approx(2 - 2 / 11)
    for _ in range(20):
        average.update_parameters(network(1.0))
    before = average.module[0].weight.item()
    average.update_parameters(network(3.0))
    assert average.module[0].weight.item() == pytest.approx((before + 3) / 2)


def test_batch_norm_statistics_are_averaged_and_the_source_is_untouched():
    source = network(1.0).train()
    average = averaged(source, decay=0.5)
    average.update_parameters(source)
    source(torch.full((4, 1), 10.0))
    mean = source[1].running_mean.item()
    average.update_parameters(source)
    assert 0 < average.module[1].running_mean.item() < mean
    assert average.module[1].num_batches_tracked == 1
    assert not average.module.training
    assert source.training


def test_a_restored_average_goes_on_alike():
    first = averaged(network(0.0), decay=0.9)
    for value in (1.0, 4.0):
        first.update_parameters(network(value))
    second = averaged(network(5.0), decay=0.9)
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.update_parameters(network(2.0))
    assert torch.equal(first.module[0].weight, second.module[0].weight)


def test_after_its_half_life_a_weight_counts_half():
    average = averaged(network(0.0), decay_of(20))
    average.n_averaged += 1000
    for _ in range(20):
        average.update_parameters(network(1.0))
    assert average.module[0].weight.item() == pytest.approx(0.5)
    assert decay_of(0) == 0
