"""Encoder weights in the forms in which they are published."""

import pytest
import torch
from torch import nn

from export.system.errors import DataError
from toolchain.networks.encoder_weights import PUBLISHED, load_encoder_weights
from toolchain.networks.encoders import build_encoder, encoder_names
from toolchain.networks.units import ConvolutionUnit

MEAN, DEVIATION = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]


def units_of(encoder):
    return [module for module in encoder.modules() if isinstance(module, ConvolutionUnit)]


def trained(name):
    """Return an encoder whose weights and statistics are all different from those of a new one."""
    encoder = build_encoder(name).eval()
    for tensor in encoder.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    return encoder


def published(encoder, missing=()):
    """Return its weights with names like those of timm, a classifier of 1000 classes at the end."""
    state = {}
    for number, unit in enumerate(units_of(encoder)):
        if number in missing:
            continue
        state[f"block.{number}.conv.weight"] = unit.convolutions[0].weight.detach().clone()
        if unit.norm is None:
            state[f"block.{number}.conv.bias"] = unit.convolutions[0].bias.detach().clone()
        else:
            for name, value in unit.norm.state_dict().items():
                state[f"block.{number}.bn.{name}"] = value.clone()
    return state | {
        "head.weight": torch.rand(1280, 320, 1, 1),
        "classifier.weight": torch.rand(1000, 1280),
        "classifier.bias": torch.rand(1000),
    }


@torch.no_grad()
@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv2-0.5", "ghostnet-1", "ghostnet-0.1"])
@pytest.mark.parametrize("wrapped", [None, "state_dict"])
def test_layers_are_read_by_their_order(tmp_path, name, wrapped):
    source, encoder = trained(name), build_encoder(name).eval()
    missing = (1,) if name == "mobilenetv2" else ()
    state = published(source, missing)
    torch.save({wrapped: state} if wrapped else state, tmp_path / "w.pth")
    load_encoder_weights(encoder, tmp_path / "w.pth")
    pairs = list(zip(units_of(source), units_of(encoder), strict=True))
    for number, (first, second) in enumerate(pairs):
        if number in (0, *missing):
            continue
        for key, value in first.state_dict().items():
            assert torch.equal(second.state_dict()[key], value)
    # The first layer takes images of -1 to 1 instead of ImageNet's mean and deviation.
    image = torch.rand(1, 3, 9, 9)
    (first, second) = pairs[0]
    theirs, ours = (
        unit.norm(nn.functional.conv2d(x, unit.convolutions[0].weight))
        for unit, x in ((first, (image - MEAN) / DEVIATION), (second, 2 * image - 1))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("library", "model", "name"),
    [
        ("torchvision", "mobilenet_v2", "mobilenetv2"),
        ("timm", "mobilenetv2_100", "mobilenetv2"),
        ("timm", "mobilenetv2_050", "mobilenetv2-0.5"),
        ("timm", "ghostnet_100", "ghostnet-1"),
    ],
)
def test_the_libraries_own_networks_give_the_same_features(tmp_path, library, model, name):
    """In the middle of an image: at its edges zeros are added, another grey for either.

    Squeeze-and-excitation looks at the edges too, so that GhostNet differs by a little.
    """
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    torch.manual_seed(0)
    if library == "torchvision":
        network = module.models.get_model(model, weights=None)
        blocks = network.features
    else:
        network = module.create_model(model, pretrained=False)
        blocks = network.blocks
    torch.save(network.eval().state_dict(), tmp_path / "w.pth")
    encoder = build_encoder(name).eval()
    load_encoder_weights(encoder, tmp_path / "w.pth")
    theirs = {}
    for block in blocks:
        block.register_forward_hook(lambda _, __, result: theirs.update({result.shape: result}))
    image = 0.5 + 0.1 * torch.rand(1, 3, 640, 640)
    network((image - MEAN) / DEVIATION)
    for tap in encoder(2 * image - 1):
        expected = theirs[tap.shape]
        middle = tap.shape[-1] // 2
        error = (tap - expected)[..., middle, middle].abs().max()
        assert error < 0.02 * expected.std()


def test_what_is_published_is_of_encoders_that_there_are():
    assert PUBLISHED.keys() <= set(encoder_names())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("block.3.bn.running_var"), "has neither a batch norm nor a bias"),
        (lambda s: s.update({"block.2.conv.weight": torch.rand(7, 1, 3, 3)}), "has shape"),
        (lambda s: [s.pop(k) for k in list(s) if not k.startswith("block.1.")], "has shape"),
        (lambda s: [s.pop(k) for k in list(s) if k.split(".")[1] > "0"], "too few"),
        (lambda s: s.clear(), "too few"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, change, words):
    state = published(trained("mobilenetv2-0.5"))
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DataError, match=rf"w\.pth: does not fit the encoder .*{words}"):
        load_encoder_weights(build_encoder("mobilenetv2-0.5"), tmp_path / "w.pth")


def folded_weights(encoder):
    """Make a file's content for the published MobileNetV2: no 1x1 in front of the first block."""
    units = [m for m in encoder.modules() if m.__class__.__name__ == "ConvolutionUnit"]
    units = [unit for position, unit in enumerate(units) if position != 1]
    return {
        f"conv{i:02d}.{part}": torch.randn(
            unit.convolutions[0].weight.shape if part == "weight" else unit.norm.bias.shape
        )
        * 0.2
        for i, unit in enumerate(units)
        for part in ("weight", "bias")
    }


@torch.no_grad()
def test_folded_weights_go_where_they_belong(tmp_path):
    encoder = build_encoder("mobilenetv2").eval()
    state = folded_weights(encoder)
    torch.save(state, tmp_path / "w.pth")
    load_encoder_weights(encoder, tmp_path / "w.pth")
    # The stem, by hand: a folded batch norm is scale 1 and the bias.
    images = torch.randn(1, 3, 32, 32)
    stem = encoder.stages[0][0](images)
    expected = nn.functional.conv2d(
        images, state["conv00.weight"], state["conv00.bias"], stride=2, padding=1
    ).clamp(0, 6)
    torch.testing.assert_close(stem, expected, rtol=1e-4, atol=1e-4)
    # The convolution that the published file lacks passes its input on.
    extra = encoder.stages[0][1].convolutions[0]
    torch.testing.assert_close(extra(stem), stem, rtol=1e-4, atol=1e-4)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    torch.save(folded_weights(build_encoder("mobilenetv2")), tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w\.pth: does not fit the encoder ghostnet-0\.25"):
        load_encoder_weights(build_encoder("ghostnet-0.25"), tmp_path / "w.pth")
    (tmp_path / "broken.pth").write_bytes(b"no")
    with pytest.raises(DataError, match=r"broken\.pth: is not a torch file"):
        load_encoder_weights(build_encoder("mobilenetv2"), tmp_path / "broken.pth")
    with pytest.raises(DataError, match=r"none\.pth: does not exist"):
        load_encoder_weights(build_encoder("mobilenetv2"), tmp_path / "none.pth")
