"""What an encoder is made of, as data: enough to count it, and to build it, without torch."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Convolution:
    """A convolution with batch norm, or with a bias, at 'same' padding.

    Attributes:
        activation: "relu", "relu6" or None.
        norm: batch norm follows; then the convolution has no bias.
    """

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    activation: str | None = "relu"
    norm: bool = True

    @property
    def parameters(self) -> int:
        """Weights, and scale and shift of the batch norm, or the bias."""
        weights = self.outputs * (self.inputs // self.groups) * self.kernel**2
        return weights + (2 if self.norm else 1) * self.outputs

    def flops(self, height: int, width: int) -> int:
        """FLOPs (2 x MAC) for an input of this size; batch norm and activation are not counted."""
        positions = -(-height // self.stride) * -(-width // self.stride)
        return 2 * positions * self.outputs * (self.inputs // self.groups) * self.kernel**2


class Block(Protocol):
    """A residual block."""

    @property
    def outputs(self) -> int:
        """Channels of the result."""
        ...

    @property
    def stride(self) -> int:
        """1, or 2 where the block halves the resolution."""
        ...

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        ...

    def flops(self, height: int, width: int) -> int:
        """FLOPs (2 x MAC) of the convolutions for an input of this size in pixels."""
        ...


@dataclass(frozen=True)
class EncoderDescription:
    """An encoder: a stem of stride 2, then blocks, with four feature maps tapped on the way.

    Attributes:
        name: the name on the command line.
        stem: the first convolution, from 3 channels.
        stages: the blocks up to each tap; the taps have strides 4, 8, 16 and 32.
    """

    name: str
    stem: Convolution
    stages: tuple[tuple[Block, ...], ...]

    @property
    def taps(self) -> tuple[int, ...]:
        """Channels of the four feature maps."""
        return tuple(stage[-1].outputs for stage in self.stages)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(self.stage_parameters)

    @property
    def stage_parameters(self) -> tuple[int, ...]:
        """Trainable parameters of each stage; the stem belongs to the first."""
        counts = [sum(block.parameters for block in stage) for stage in self.stages]
        counts[0] += self.stem.parameters
        return tuple(counts)

    def stage_flops(self, height: int, width: int) -> tuple[int, ...]:
        """FLOPs (2 x MAC) of each stage for an image of this size; the stem is in the first."""
        result = []
        flops = self.stem.flops(height, width)
        height, width = -(-height // self.stem.stride), -(-width // self.stem.stride)
        for stage in self.stages:
            for block in stage:
                flops += block.flops(height, width)
                height, width = -(-height // block.stride), -(-width // block.stride)
            result.append(flops)
            flops = 0
        return tuple(result)


def stages_by_stride(blocks: list[Block]) -> tuple[tuple[Block, ...], ...]:
    """Cut blocks that follow a stem of stride 2 into stages that end before the next reduction.

    The tap of a stride is the last block of that stride; blocks of stride 2 join the first stage.
    """
    stages: list[list[Block]] = [[]]
    for block in blocks:
        at_stride_four = any(earlier.stride == 2 for stage in stages for earlier in stage)
        if block.stride == 2 and at_stride_four:
            stages.append([])
        stages[-1].append(block)
    return tuple(map(tuple, stages))


def divisible(channels: float, divisor: int) -> int:
    """Round a channel count to a multiple of ``divisor``, never losing more than 10 %.

    Source: the rule of the MobileNet reference code (Sandler et al., CVPR 2018).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
