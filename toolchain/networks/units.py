"""Convolution units: the pieces that a runtime fuses into one."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from toolchain.networks.encoders.description import Convolution


class ConvolutionUnit(nn.Module):
    """One or two convolutions (depthwise, pointwise), batch norm, activation.

    Shapes: [N, C, H, W] -> [N, C', H / stride, W / stride].
    """

    def __init__(
        self,
        convolutions: list[nn.Conv2d],
        norm: nn.BatchNorm2d | None,
        activation: nn.Module | None,
    ):
        super().__init__()
        self.convolutions = nn.Sequential(*convolutions)
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Apply the unit."""
        x = self.convolutions(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)

    def fold(self) -> None:
        """Fold the batch norm into the last convolution; for inference only."""
        if self.norm is not None:
            last = self.convolutions[-1]
            assert isinstance(last, nn.Conv2d)
            self.convolutions[-1] = fuse_conv_bn_eval(last, self.norm)
            self.norm = None


_ACTIVATIONS: dict[str | None, Callable[[], nn.Module | None]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    None: lambda: None,
}


def described_convolution(description: Convolution) -> ConvolutionUnit:
    """Build the unit that an encoder's description asks for."""
    d = description
    convolution = nn.Conv2d(
        d.inputs, d.outputs, d.kernel, d.stride, d.kernel // 2, groups=d.groups, bias=not d.norm
    )
    norm = nn.BatchNorm2d(d.outputs) if d.norm else None
    return ConvolutionUnit([convolution], norm, _ACTIVATIONS[d.activation]())


def convolution_unit(
    inputs: int, outputs: int, kernel: int = 1, dilation: int = 1, separable: bool = False
) -> ConvolutionUnit:
    """Build a decoder's unit: stride 1, 'same' padding, batch norm, ReLU."""
    padding = dilation * (kernel // 2)

    def convolution(inputs: int, outputs: int, kernel: int, padding: int, groups: int) -> nn.Conv2d:
        d = dilation if kernel > 1 else 1
        kind = DilatedConvolution if d > 1 else nn.Conv2d
        return kind(inputs, outputs, kernel, padding=padding, dilation=d, groups=groups, bias=False)

    if separable:
        layers = [
            convolution(inputs, inputs, kernel, padding, inputs),
            convolution(inputs, outputs, 1, 0, 1),
        ]
    else:
        layers = [convolution(inputs, outputs, kernel, padding, 1)]
    return ConvolutionUnit(layers, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class DilatedConvolution(nn.Conv2d):
    """A convolution with dilation, dense or depthwise, in a form that is fast on a CPU.

    Rows of the kernel that only ever see padding are left out: of small maps a 3x3 kernel with
    dilation 12 sees the middle alone. For depthwise ones oneDNN has no quick kernels: at 32 x 32
    pixels a training step of the 5x5 one with dilation 6 takes five times as long as this, at
    48 x 48 ten times. There the pixels of each phase of the dilation are an image of their own, on
    which the convolution has no dilation. Files get the ordinary convolution.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution."""
        if x.device.type != "cpu" or torch.compiler.is_exporting():
            return super().forward(x)
        count, channels, height, width = x.shape
        groups = self.groups
        dilation, reach = self.dilation[0], self.kernel_size[0] // 2
        seen = min(reach, (max(height, width) - 1) // dilation)
        inner = slice(reach - seen, reach + seen + 1)
        weight, bias = self.weight[:, :, inner, inner], self.bias
        # With few pixels a phase, cutting the image up takes longer than it saves.
        if groups == 1 or min(height, width) < 4 * dilation:
            return F.conv2d(x, weight, bias, 1, seen * dilation, dilation, groups)
        rows, columns = -(-height // dilation), -(-width // dilation)
        x = F.pad(x, (0, columns * dilation - width, 0, rows * dilation - height))
        x = x.permute(0, 2, 3, 1).reshape(count, rows, dilation, columns, dilation, channels)
        x = x.permute(0, 2, 4, 5, 1, 3).reshape(-1, channels, rows, columns)
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, weight, bias, padding=seen, groups=groups)
        x = x.permute(0, 2, 3, 1).reshape(count, dilation, dilation, rows, columns, channels)
        x = x.permute(0, 3, 1, 4, 2, 5).reshape(count, rows * dilation, columns * dilation, -1)
        x = x[:, :height, :width].permute(0, 3, 1, 2)
        return x.contiguous(memory_format=torch.channels_last)


def shrink_dilations(network: nn.Module, scale: float) -> None:
    """Scale the dilations of a network, to at least 1, for images that were scaled likewise."""
    for module in network.modules():
        if isinstance(module, DilatedConvolution):
            dilation = max(1, round(scale * module.dilation[0]))
            reach = module.kernel_size[0] // 2
            module.dilation = (dilation, dilation)
            module.padding = (dilation * reach, dilation * reach)


class GlobalAveragePool(nn.Module):
    """Mean over all pixels, 1x1 convolution unit; the sum that reads the result spreads it.

    Shapes: [N, C, H, W] -> [N, C, 1, 1].
    """

    def __init__(self, channels: int):
        super().__init__()
        self.unit = convolution_unit(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the operation."""
        return self.unit(x.mean((2, 3), keepdim=True))


_OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "conv1x1": lambda c: convolution_unit(c, c, 1),
    "conv3x3": lambda c: convolution_unit(c, c, 3),
    "sep_conv_3x3": lambda c: convolution_unit(c, c, 3, separable=True),
    "sep_conv_5x5": lambda c: convolution_unit(c, c, 5, separable=True),
    "global_average_pool": GlobalAveragePool,
    "conv3x3_dil3": lambda c: convolution_unit(c, c, 3, dilation=3),
    "conv3x3_dil12": lambda c: convolution_unit(c, c, 3, dilation=12),
    "sep_conv_3x3_dil3": lambda c: convolution_unit(c, c, 3, dilation=3, separable=True),
    "sep_conv_5x5_dil6": lambda c: convolution_unit(c, c, 5, dilation=6, separable=True),
}


def operation(name: str, channels: int) -> nn.Module:
    """Build a context cell's operation; ``skip_connect`` and ``none`` have no module."""
    return _OPERATIONS[name](channels)


def fold_batch_norms(network: nn.Module) -> None:
    """Fold every batch norm of a network into the convolution in front of it, in place."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ConvolutionUnit):
                module.fold()
