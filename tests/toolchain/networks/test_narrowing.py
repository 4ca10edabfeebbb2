import dataclasses

import pytest
import torch

from export.system.errors import DataError, UsageError
from toolchain.deploy.deployment import load_network
from toolchain.genotype import Genotype
from toolchain.networks.encoders import build_encoder, describe_encoder
from toolchain.networks.narrowing import can_narrow, narrow_encoder
from toolchain.networks.segmenter import build_segmenter, initialise
from toolchain.training.checkpoints import save_checkpoint
from toolchain.training.initialisation import (
    load_initial_weights,
    match_weights,
    settle_batch_norms,
)
from toolchain.training.samples import some_images

GENOTYPE = Genotype.parse("[[2, [0, 0, 2, 9]], [[0, 1], [2, 3]]]")


@pytest.fixture(scope="module")
def images():
    from toolchain.datasets import open_dataset

    return some_images(open_dataset("synthetic:8"), 128)


@pytest.fixture(scope="module")
def wide(images):
    torch.manual_seed(0)
    network = build_segmenter(GENOTYPE, "mobilenetv2-0.5", 19, 8)
    initialise(network)
    settle_batch_norms(network, images)
    return network


def unexplained(narrow, wide, directions, images):
    """Return, for each tap, the part of the wide tap's directions that the narrow one misses."""
    with torch.no_grad():
        pairs = zip(narrow.encoder(images), wide.encoder(images), directions, strict=True)
        parts = []
        for own, tap, basis in pairs:
            wanted = torch.einsum("nchw,cd->ndhw", tap, basis)
            parts.append(float((own - wanted).square().mean() / wanted.square().mean()))
    return parts


@pytest.mark.parametrize(
    ("wide", "narrow", "possible"),
    [
        ("mobilenetv2", "mobilenetv2-0.75", True),
        ("mobilenetv2-0.5", "mobilenetv2-0.35", True),
        ("mobilenetv2-0.5", "mobilenetv2-0.75", False),
        ("mobilenetv2", "mobilenetv2", False),
        ("ghostnet-0.5", "ghostnet-0.25", False),
        ("mobilenetv2", "ghostnet-0.1", False),
    ],
)
def test_a_narrower_mobilenet_is_one_that_has_fewer_channels(wide, narrow, possible):
    assert can_narrow(describe_encoder(wide), describe_encoder(narrow)) is possible


def test_as_many_channels_give_the_same_in_another_basis(wide, images):
    same = build_segmenter(GENOTYPE, "mobilenetv2-0.5", 19, 8)
    directions = narrow_encoder(wide.encoder, same.encoder, images)
    assert max(unexplained(same, wide, directions, images)) < 1e-3
    for basis in directions:
        assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-4)


def test_fewer_channels_come_near_and_random_ones_do_not(wide, images):
    narrow = build_segmenter(GENOTYPE, "mobilenetv2-0.35", 19, 8)
    settle_batch_norms(narrow, images)
    directions = narrow_encoder(wide.encoder, build_encoder("mobilenetv2-0.35"), images)
    assert min(unexplained(narrow, wide, directions, images)) > 0.9
    directions = narrow_encoder(wide.encoder, narrow.encoder, images)
    assert [basis.shape[1] for basis in directions] == list(narrow.encoder.description.taps)
    # Random channels all say something of their own; those of trained ones much less.
    assert max(unexplained(narrow, wide, directions, images)) < 0.6


def correlation(one, other):
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_a_network_starts_from_a_checkpoint_of_a_wider_encoder(wide, images, tmp_path):
    """The decoder too: what reads a tap reads it in the new basis."""
    info = dataclasses.replace(
        load_network(None, str(GENOTYPE), wide.encoder_name)[1], aggregation=8
    )
    save_checkpoint(tmp_path / "wide.pt", info, wide.state_dict())
    torch.manual_seed(1)
    narrow = build_segmenter(GENOTYPE, "mobilenetv2-0.35", 19, 8)
    line = load_initial_weights(narrow, tmp_path / "wide.pt", images)
    tensors = len(narrow.state_dict())
    assert line == (
        f"network from {tmp_path / 'wide.pt'}: {tensors} of {tensors} tensors, narrowed from "
        "mobilenetv2-0.5"
    )
    with torch.no_grad():
        wanted, found = wide.eval()(images), narrow.eval()(images)
        # Batch norms in training are as in evaluation: the first step destroys nothing.
        trained = narrow.train()(images)
    assert correlation(found, wanted) > 0.6
    assert correlation(found, trained) > 0.8

    other = build_segmenter(Genotype.parse("9 [0, 3]"), "mobilenetv2-0.35", 19, 8)
    assert load_initial_weights(other, tmp_path / "wide.pt", images).startswith("encoder from")
    with pytest.raises(DataError, match=r"wide\.pt: has the encoder mobilenetv2-0\.5, not mobilen"):
        load_initial_weights(build_segmenter(GENOTYPE, "mobilenetv2"), tmp_path / "wide.pt", images)


def test_one_file_serves_all_narrower_encoders(wide, images, tmp_path):
    weights = tmp_path / "wide.pth"
    torch.save({f"encoder.{k}": v for k, v in wide.encoder.state_dict().items()}, weights)
    names = ["mobilenetv2-0.35", "mobilenetv2-0.5"]
    assert match_weights(names, [weights]) == dict.fromkeys(names, weights)
    with pytest.raises(UsageError, match=r"no file of --weights is for mobilenetv2-0\.75; add one"):
        match_weights([*names, "mobilenetv2-0.75"], [weights])
    narrow = build_segmenter(GENOTYPE, "mobilenetv2-0.35", 19, 8)
    assert load_initial_weights(narrow, weights, images) == (
        f"encoder from {weights}, narrowed from mobilenetv2-0.5"
    )
