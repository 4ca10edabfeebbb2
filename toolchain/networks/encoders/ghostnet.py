"""GhostNet. Source: Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020."""

from dataclasses import dataclass
from functools import cached_property

from toolchain.networks.encoders.description import (
    Block,
    Convolution,
    EncoderDescription,
    divisible,
    stages_by_stride,
)

# kernel, hidden channels, channels, squeeze-and-excitation, stride (table 1 of the paper)
_SETTINGS = (
    (3, 16, 16, False, 1),
    (3, 48, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 2),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
)


@dataclass(frozen=True)
class Ghost:
    """A ghost module: half of the channels by a 1x1 convolution, half from those by a 3x3."""

    inputs: int
    outputs: int
    activation: str | None

    @cached_property
    def primary(self) -> Convolution:
        """The 1x1 convolution."""
        return Convolution(self.inputs, self.outputs // 2, activation=self.activation)

    @cached_property
    def cheap(self) -> Convolution:
        """The depthwise 3x3 convolution that makes the ghosts."""
        half = self.outputs // 2
        return Convolution(half, half, 3, groups=half, activation=self.activation)


@dataclass(frozen=True)
class GhostBottleneck:
    """Expand by a ghost module, reduce depthwise at stride 2, excite, project, add a shortcut."""

    inputs: int
    hidden: int
    outputs: int
    kernel: int
    stride: int
    excite: bool

    @cached_property
    def expand(self) -> Ghost:
        """The first ghost module."""
        return Ghost(self.inputs, self.hidden, "relu")

    @cached_property
    def project(self) -> Ghost:
        """The second ghost module, without an activation."""
        return Ghost(self.hidden, self.outputs, None)

    @cached_property
    def reduce(self) -> Convolution | None:
        """The depthwise convolution of a block of stride 2."""
        if self.stride == 1:
            return None
        return Convolution(
            self.hidden, self.hidden, self.kernel, 2, groups=self.hidden, activation=None
        )

    @cached_property
    def excitation(self) -> tuple[Convolution, ...]:
        """The two 1x1 convolutions, on the mean over all pixels, of squeeze-and-excitation."""
        if not self.excite:
            return ()
        squeezed = divisible(self.hidden * 0.25, 4)
        return (
            Convolution(self.hidden, squeezed, norm=False),
            Convolution(squeezed, self.hidden, activation=None, norm=False),
        )

    @cached_property
    def shortcut(self) -> tuple[Convolution, ...]:
        """The convolutions of the shortcut; none where it is the identity."""
        if self.stride == 1 and self.inputs == self.outputs:
            return ()
        return (
            Convolution(
                self.inputs,
                self.inputs,
                self.kernel,
                self.stride,
                groups=self.inputs,
                activation=None,
            ),
            Convolution(self.inputs, self.outputs, activation=None),
        )

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        ghosts = (self.expand.primary, self.expand.cheap, self.project.primary, self.project.cheap)
        reduce = (self.reduce,) if self.reduce else ()
        return sum(c.parameters for c in (*ghosts, *reduce, *self.excitation, *self.shortcut))

    def flops(self, height: int, width: int) -> int:
        """FLOPs (2 x MAC) for an input of this size in pixels."""
        reduced = -(-height // self.stride), -(-width // self.stride)
        total = self.expand.primary.flops(height, width) + self.expand.cheap.flops(height, width)
        total += self.reduce.flops(height, width) if self.reduce else 0
        total += sum(convolution.flops(1, 1) for convolution in self.excitation)
        total += self.project.primary.flops(*reduced) + self.project.cheap.flops(*reduced)
        if self.shortcut:
            depthwise, pointwise = self.shortcut
            total += depthwise.flops(height, width) + pointwise.flops(*reduced)
        return total


def describe_ghostnet(width: float) -> EncoderDescription:
    """Describe a GhostNet whose channels are scaled by ``width``."""
    channels = divisible(16 * width, 4)
    stem = Convolution(3, channels, 3, 2)
    blocks: list[Block] = []
    for kernel, hidden, outputs, excite, stride in _SETTINGS:
        scaled = divisible(outputs * width, 4)
        blocks.append(
            GhostBottleneck(channels, divisible(hidden * width, 4), scaled, kernel, stride, excite)
        )
        channels = scaled
    return EncoderDescription(f"ghostnet-{width:g}", stem, stages_by_stride(blocks))
