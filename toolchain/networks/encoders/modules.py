"""Torch modules of the encoders, built from their descriptions."""

import torch
from torch import Tensor, nn

from toolchain.networks.encoders.description import Block, EncoderDescription
from toolchain.networks.encoders.ghostnet import Ghost, GhostBottleneck
from toolchain.networks.encoders.mobilenetv2 import InvertedResidual
from toolchain.networks.units import described_convolution


class InvertedResidualModule(nn.Module):
    """See `InvertedResidual`."""

    def __init__(self, description: InvertedResidual):
        super().__init__()
        self.residual = description.residual
        self.convolutions = nn.Sequential(*map(described_convolution, description.convolutions))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.convolutions(x)
        return x + y if self.residual else y


class GhostModule(nn.Module):
    """See `Ghost`."""

    def __init__(self, description: Ghost):
        super().__init__()
        self.primary = described_convolution(description.primary)
        self.cheap = described_convolution(description.cheap)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the module."""
        x = self.primary(x)
        return torch.cat([x, self.cheap(x)], 1)


class Excitation(nn.Module):
    """Squeeze-and-excitation. Source: Hu et al., CVPR 2018; hard sigmoid as in GhostNet."""

    def __init__(self, description: GhostBottleneck):
        super().__init__()
        self.convolutions = nn.Sequential(*map(described_convolution, description.excitation))

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel."""
        return x * nn.functional.hardsigmoid(self.convolutions(x.mean((2, 3), keepdim=True)))


class GhostBottleneckModule(nn.Module):
    """See `GhostBottleneck`."""

    def __init__(self, description: GhostBottleneck):
        super().__init__()
        layers: list[nn.Module] = [GhostModule(description.expand)]
        if description.reduce:
            layers.append(described_convolution(description.reduce))
        if description.excite:
            layers.append(Excitation(description))
        layers.append(GhostModule(description.project))
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(*map(described_convolution, description.shortcut))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return self.layers(x) + self.shortcut(x)


def build_block(description: Block) -> nn.Module:
    """Build the module of a block's description."""
    if isinstance(description, InvertedResidual):
        return InvertedResidualModule(description)
    if isinstance(description, GhostBottleneck):
        return GhostBottleneckModule(description)
    raise TypeError(f"no module is known for {description}")


class Encoder(nn.Module):
    """An encoder in four stages, whose results are the taps of strides 4, 8, 16 and 32."""

    def __init__(self, description: EncoderDescription):
        super().__init__()
        self.description = description
        stages = [[build_block(block) for block in stage] for stage in description.stages]
        stages[0].insert(0, described_convolution(description.stem))
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)

    def forward(self, images: Tensor, taps: int | None = None) -> list[Tensor]:
        """Return the feature maps of the taps.

        Args:
            images: normalised, [N, 3, H, W].
            taps: stop after this many; None gives all.

        Returns:
            A map [N, C, H / stride, W / stride] for each tap.
        """
        features = []
        for stage in self.stages[:taps]:
            images = stage(images)
            features.append(images)
        return features
