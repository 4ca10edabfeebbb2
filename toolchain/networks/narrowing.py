"""A narrower MobileNetV2 out of a wider one that has learned.

Between the blocks of MobileNetV2 channels are only summed and mixed, so that any basis of them will
do: the narrow network takes the leading directions of what the wide one computes there on some
images (as Ashkboos et al., "SliceGPT", ICLR 2024, do with transformers). Inside a block, where each
channel is filtered for itself, it takes the channels that weigh most in the result, and its last
convolution is solved for what comes nearest to the wide one's result (He et al., "Channel pruning",
ICCV 2017), from what the narrow network itself has computed so far.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolchain.networks.encoder_weights import NORM, norm_that_adds
from toolchain.networks.encoders.description import EncoderDescription
from toolchain.networks.encoders.mobilenetv2 import InvertedResidual
from toolchain.networks.encoders.modules import Encoder, InvertedResidualModule
from toolchain.networks.units import ConvolutionUnit

# Parts of the mean variance of channels that say the same: what keeps a solution from leaning on
# their difference.
_RIDGE = 1e-3
_POSITIONS = 20_000


def can_narrow(wide: EncoderDescription, narrow: EncoderDescription) -> bool:
    """Say whether both are MobileNetV2, the first with more channels."""
    pairs = [*zip(_blocks(wide), _blocks(narrow), strict=False)]
    return wide.parameters > narrow.parameters and all(
        isinstance(w, InvertedResidual)
        and isinstance(n, InvertedResidual)
        and w.outputs >= n.outputs
        and w.residual == n.residual
        for w, n in pairs
    )


@torch.no_grad()
def narrow_encoder(wide: Encoder, narrow: Encoder, images: Tensor) -> list[Tensor]:
    """Give a narrow MobileNetV2 the weights with which it comes near a wide one's results.

    Args:
        wide: with weights; left in evaluation mode.
        narrow: of fewer channels; changed in place and left in evaluation mode.
        images: on which they are to agree, normalised, ``[N, 3, H, W]``.

    Returns:
        For each tap the orthonormal directions ``[wide channels, narrow channels]`` in which the
        narrow network gives it.
    """
    (stem, blocks), (own_stem, own_blocks) = _parts(wide.eval()), _parts(narrow.eval())
    outputs = [block.outputs for block in _blocks(narrow.description)]
    directions = _directions(stem, blocks, outputs, images)
    x = stem(images)
    # The first block of the narrow network filters the stem's channels as they are.
    kept = _weightiest(blocks[0], x, own_blocks[0])
    _take(own_stem, stem, kept)
    y = own_stem(images)
    basis = None
    for block, own, to in zip(blocks, own_blocks, directions, strict=True):
        units, own_units = _units(block), _units(own)
        if basis is not None:
            kept = _weightiest(block, x, own)
            _take(own_units[0], units[0], kept, basis)
        _take(own_units[-2], units[-2], kept)
        x = block(x)
        wanted = torch.einsum("nchw,cd->ndhw", x, to)
        hidden = own.convolutions[:-1](y)
        _solve(own_units[-1], hidden, wanted - y if own.residual else wanted)
        y, basis = own(y), to
    ends = torch.tensor([len(stage) for stage in narrow.description.stages]).cumsum(0) - 1
    return [directions[end] for end in ends.tolist()]


def _blocks(description: EncoderDescription) -> list[InvertedResidual]:
    return [block for stage in description.stages for block in stage]  # type: ignore[misc]


def _parts(encoder: Encoder) -> tuple[ConvolutionUnit, list[InvertedResidualModule]]:
    """Return the stem and the blocks."""
    stem, *blocks = (part for stage in encoder.stages.children() for part in stage.children())
    assert isinstance(stem, ConvolutionUnit)
    return stem, [block for block in blocks if isinstance(block, InvertedResidualModule)]


def _units(block: InvertedResidualModule) -> list[ConvolutionUnit]:
    return [unit for unit in block.convolutions if isinstance(unit, ConvolutionUnit)]


def _layers(unit: ConvolutionUnit) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = unit.convolutions[0]
    assert isinstance(convolution, nn.Conv2d)
    assert unit.norm is not None
    return convolution, unit.norm


def _directions(
    stem: nn.Module, blocks: Sequence[InvertedResidualModule], channels: Sequence[int], x: Tensor
) -> list[Tensor]:
    """Return the leading directions of each block's result; those that are added up share theirs.

    Args:
        stem: of the wide network.
        blocks: of it.
        channels: how many directions are wanted, for each block.
        x: images.
    """
    moments: list[Tensor] = []
    places = []
    x = stem(x)
    for block in blocks:
        x = block(x)
        moment = torch.einsum("nchw,ndhw->cd", x, x)
        if block.residual:
            moments[-1] += moment
        else:
            moments.append(moment)
        places.append(len(moments) - 1)
    vectors = [torch.linalg.eigh(moment)[1].flip(1) for moment in moments]
    return [vectors[place][:, :count] for place, count in zip(places, channels, strict=True)]


def _weightiest(block: InvertedResidualModule, x: Tensor, own: InvertedResidualModule) -> Tensor:
    """Return which of a block's filtered channels give most of its result, as many as ``own`` has.

    Args:
        block: of the wide network.
        x: its input.
        own: the narrow network's block.

    Returns:
        Their indices, rising.
    """
    count = _layers(_units(own)[-2])[0].out_channels
    power = block.convolutions[:-1](x).square().mean((0, 2, 3))
    projected = _layers(_units(block)[-1])[0].weight.square().sum((0, 2, 3))
    return (power * projected).topk(count).indices.sort().values


def _take(
    own: ConvolutionUnit, unit: ConvolutionUnit, kept: Tensor, basis: Tensor | None = None
) -> None:
    """Take some output channels of a unit, whose input is in another basis if one is given."""
    (own_convolution, own_norm), (convolution, norm) = _layers(own), _layers(unit)
    weight = convolution.weight[kept]
    if basis is not None:
        weight = torch.einsum("oc...,cd->od...", weight, basis)
    own_convolution.weight.copy_(weight)
    for name in NORM:
        getattr(own_norm, name).copy_(getattr(norm, name)[kept])


def _solve(unit: ConvolutionUnit, inputs: Tensor, wanted: Tensor) -> None:
    """Set a 1x1 convolution and its norm to what takes inputs nearest to what is wanted."""
    places = torch.randperm(inputs[:, 0].numel(), generator=torch.Generator().manual_seed(0))
    a, b = (
        maps.permute(0, 2, 3, 1).flatten(0, 2)[places[:_POSITIONS]] for maps in (inputs, wanted)
    )
    mean_a, mean_b = a.mean(0), b.mean(0)
    gram = (a - mean_a).T @ (a - mean_a)
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    solution = torch.linalg.solve(gram + ridge, (a - mean_a).T @ (b - mean_b))
    convolution, norm = _layers(unit)
    convolution.weight.copy_(solution.T[..., None, None])
    norm.load_state_dict(norm_that_adds(mean_b - mean_a @ solution, norm.eps), strict=False)
