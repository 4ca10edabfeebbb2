import dataclasses
import itertools

import pytest
import torch
from torch import nn

from export.system.errors import DataError, UsageError
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import build_segmenter
from toolchain.networks.units import ConvolutionUnit
from toolchain.training.checkpoints import save_checkpoint
from toolchain.training.initialisation import (
    load_initial_weights,
    match_weights,
    rebase_batch_norms,
    settle_batch_norms,
)

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


def test_settled_norms_make_evaluation_what_training_is_on_the_images():
    chain = folded_chain()
    trained = chain.train()(IMAGES)
    assert not torch.allclose(chain.eval()(IMAGES), trained, atol=0.1)
    settle_batch_norms(chain, IMAGES)
    assert torch.allclose(chain(IMAGES), trained, atol=1e-5)


def test_an_untrained_encoder_that_was_settled_stays_within_16_bits():
    torch.manual_seed(0)
    network = build_segmenter(Genotype.parse("9 [0, 3]"), "ghostnet-0.5").eval()
    with torch.no_grad():
        unsettled = max(float(tap.abs().max()) for tap in network.encoder(IMAGES))
        settle_batch_norms(network.encoder, IMAGES)
        settled = max(float(tap.abs().max()) for tap in network.encoder(IMAGES))
    assert unsettled > torch.finfo(torch.float16).max
    assert settled < 100


ENCODERS = ["ghostnet-0.1", "ghostnet-0.25", "mobilenetv2-0.35"]


@pytest.fixture
def files(tmp_path, info):
    """Weights of each encoder: a checkpoint of ours, a bare state, folded convolutions."""
    networks = {
        name: build_segmenter(Genotype.parse(info.genotype), name, 2, 8) for name in ENCODERS
    }
    paths = {name: tmp_path / f"{place}.pt" for place, name in enumerate(ENCODERS)}
    first, second, third = networks.values()
    save_checkpoint(
        paths[ENCODERS[0]], dataclasses.replace(info, encoder=ENCODERS[0]), first.state_dict()
    )
    torch.save({"model": second.state_dict()}, paths[ENCODERS[1]])
    units = [m for m in third.encoder.modules() if isinstance(m, ConvolutionUnit)]
    folded = {}
    for place, unit in enumerate(units):
        folded[f"conv{place:02d}.weight"] = unit.convolutions[0].weight.detach()
        folded[f"conv{place:02d}.bias"] = torch.zeros(len(unit.convolutions[0].weight))
    torch.save(folded, paths[ENCODERS[2]])
    return paths


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_weights_find_their_encoders_in_any_order(files, order):
    given = [list(files.values())[place] for place in order]
    assert match_weights(ENCODERS, given) == files


def test_an_encoder_that_is_asked_for_twice_takes_one_file(files):
    assert match_weights([ENCODERS[1]] * 3, [files[ENCODERS[1]]]) == {
        ENCODERS[1]: files[ENCODERS[1]]
    }
    assert match_weights(ENCODERS, []) == {}


def test_weights_that_do_not_match_are_refused(files, tmp_path):
    one, two, three = files.values()
    with pytest.raises(UsageError, match=r"no file of --weights is for mobilenetv2-0\.35; add one"):
        match_weights(ENCODERS, [two, one])
    with pytest.raises(
        DataError, match=r"2\.pt: fits no encoder that is trained \(ghostnet-0\.1, "
    ):
        match_weights(ENCODERS[:2], [one, two, three])
    with pytest.raises(DataError, match=r"0\.pt: fits no encoder that is trained"):
        match_weights(ENCODERS[1:], [one, two, three])
    copy = tmp_path / "copy.pt"
    copy.write_bytes(two.read_bytes())
    with pytest.raises(UsageError) as error:
        match_weights(ENCODERS, [one, two, three, copy])
    assert str(error.value) == f"--weights {two} and {copy} are both for ghostnet-0.25; give one"
    with pytest.raises(DataError, match=r"gone\.pt: does not exist"):
        match_weights(ENCODERS, [one, tmp_path / "gone.pt"])
    with pytest.raises(UsageError, match="no encoder is named 'vgg'"):
        match_weights(["vgg"], [two])
