import dataclasses

import pytest
import torch
from torch import nn

from export.errors import DataError
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import build_segmenter
from toolchain.training.checkpoints import save_checkpoint
from toolchain.training.initialisation import load_initial_weights, rebase_batch_norms

IMAGES = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def other(network):
    """A network of the same kind with other weights."""
    torch.manual_seed(1)
    return build_segmenter(network.genotype, "ghostnet-0.1", 19, 8)


def test_a_checkpoint_of_the_same_network_gives_everything(tmp_path, info, network, other):
    save_checkpoint(tmp_path / "a.pt", info, network.state_dict())
    said = load_initial_weights(other, tmp_path / "a.pt", IMAGES)
    total = len(network.state_dict())
    assert said == f"network from {tmp_path / 'a.pt'}: {total} of {total} tensors"
    assert torch.equal(other.eval()(IMAGES), network.eval()(IMAGES))


def test_other_classes_leave_only_the_classifiers_new(tmp_path, info, network):
    save_checkpoint(tmp_path / "a.pt", info, network.state_dict())
    portrait = build_segmenter(network.genotype, "ghostnet-0.1", 2, 8)
    load_initial_weights(portrait, tmp_path / "a.pt", IMAGES)
    own, given = portrait.state_dict(), network.state_dict()
    differ = {name.split(".")[1] for name in own if not torch.equal(own[name], given[name])}
    assert differ <= {"classifier"}


def test_another_genotype_gives_only_its_encoder(tmp_path, info, network):
    save_checkpoint(tmp_path / "a.pt", info, network.state_dict())
    fresh = build_segmenter(Genotype.parse("[[1], [[0, 1], [2, 3]]]"), "ghostnet-0.1", 19, 8)
    decoder = {name: value.clone() for name, value in fresh.decoder.state_dict().items()}
    assert "encoder from" in load_initial_weights(fresh, tmp_path / "a.pt", IMAGES)
    assert all(
        torch.equal(value, decoder[name]) for name, value in fresh.decoder.state_dict().items()
    )
    taps, expected = fresh.eval().encoder(IMAGES), network.eval().encoder(IMAGES)
    assert all(torch.equal(tap, tap_) for tap, tap_ in zip(taps, expected, strict=True))


def test_another_encoder_is_refused(tmp_path, info, network, other):
    info = dataclasses.replace(info, encoder="ghostnet-0.5")
    save_checkpoint(tmp_path / "a.pt", info, network.state_dict())
    with pytest.raises(DataError, match=r"has the encoder ghostnet-0\.5, not ghostnet-0\.1"):
        load_initial_weights(other, tmp_path / "a.pt", IMAGES)


def folded_chain() -> nn.Module:
    torch.manual_seed(2)
    chain = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU6(),
        nn.Conv2d(6, 5, 1, bias=False), nn.BatchNorm2d(5),
    )  # fmt: skip
    for norm in (chain[1], chain[4]):
        nn.init.normal_(norm.bias)
        norm.running_var.fill_(1 - norm.eps)
    return chain


def test_rebased_norms_keep_the_function_in_evaluation_and_in_training():
    chain = folded_chain()
    before = chain.eval()(IMAGES)
    destroyed = folded_chain().train()(IMAGES)
    rebase_batch_norms(chain, IMAGES)
    assert torch.allclose(chain.eval()(IMAGES), before, atol=1e-5)
    assert torch.allclose(chain.train()(IMAGES), before, atol=1e-5)
    assert not torch.allclose(destroyed, before, atol=0.1)
