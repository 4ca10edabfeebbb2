"""MobileNetV2. Source: Sandler et al., "MobileNetV2", CVPR 2018, table 2; no 1280 head."""

from dataclasses import dataclass
from functools import cached_property

from toolchain.networks.encoders.description import (
    Block,
    Convolution,
    EncoderDescription,
    divisible,
    stages_by_stride,
)

# expansion, channels, repeats, stride of the first
_SETTINGS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class InvertedResidual:
    """Expand, filter depthwise, project; added to the input where the shapes agree.

    Attributes:
        expand: whether the 1x1 convolution in front is there.
    """

    inputs: int
    outputs: int
    stride: int
    expansion: int
    expand: bool = True

    @cached_property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions in order."""
        hidden = self.inputs * self.expansion
        expand = Convolution(self.inputs, hidden, activation="relu6")
        return (
            *((expand,) if self.expand else ()),
            Convolution(hidden, hidden, 3, self.stride, groups=hidden, activation="relu6"),
            Convolution(hidden, self.outputs, activation=None),
        )

    @property
    def residual(self) -> bool:
        """Whether the input is added to the result."""
        return self.stride == 1 and self.inputs == self.outputs

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(convolution.parameters for convolution in self.convolutions)

    def flops(self, height: int, width: int) -> int:
        """FLOPs (2 x MAC) for an input of this size in pixels."""
        total = 0
        for convolution in self.convolutions:
            total += convolution.flops(height, width)
            height, width = -(-height // convolution.stride), -(-width // convolution.stride)
        return total


def describe_mobilenetv2(width: float) -> EncoderDescription:
    """Describe a MobileNetV2 whose channels are scaled by ``width``.

    The published space (width 1) taps 24, 32, 96 and 320 channels, and keeps a 1x1 convolution in
    front of the first block although its expansion is 1. The narrower ones, as in the paper, do
    without it: at half the image's resolution it is one of the dearest layers of the encoder.
    """
    channels = divisible(32 * width, 8)
    stem = Convolution(3, channels, 3, 2, activation="relu6")
    blocks: list[Block] = []
    for expansion, outputs, repeats, stride in _SETTINGS:
        scaled = divisible(outputs * width, 8)
        for repeat in range(repeats):
            first_stride = stride if repeat == 0 else 1
            expand = expansion > 1 or width == 1
            blocks.append(InvertedResidual(channels, scaled, first_stride, expansion, expand))
            channels = scaled
    name = "mobilenetv2" if width == 1 else f"mobilenetv2-{width:g}"
    return EncoderDescription(name, stem, stages_by_stride(blocks))
