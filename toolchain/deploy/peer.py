"""What others are measured by: BiSeNet with ResNet-18, a published face parser's network.

Source: Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation",
ECCV 2018, in the form in which it is used for faces: its spatial path is the ResNet's own map of
stride 8, its logits are of that stride. He et al., "Deep Residual Learning", CVPR 2016, for the
ResNet. 13.2 M parameters with 19 classes.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.writing import export_onnx
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.networks.units import ConvolutionUnit, fold_batch_norms

CONTEXT = 128


def write_peer(path: Path, input_size: int = 512) -> None:
    """Write it with random weights as a file, image to labels, for its time only.

    Its labels are made as published parsers make them: all logits upsampled, then the argmax.

    Args:
        path: of the file.
        input_size: height and width in pixels.
    """
    metadata = ModelMetadata(
        classes=list(CELEBAMASK_HQ.classes),
        palette=list(CELEBAMASK_HQ.palette),
        input_size=input_size,
        working_size=None,
        licence="random weights",
    )
    network = BiSeNet(len(CELEBAMASK_HQ.classes)).eval()
    fold_batch_norms(network)
    export_onnx(network, path, metadata=metadata, input_size=input_size, tail="resize")


def _unit(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, activation: nn.Module | None = None
) -> ConvolutionUnit:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return ConvolutionUnit([convolution], nn.BatchNorm2d(outputs), activation or nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            _unit(inputs, outputs, 3, stride), _unit(outputs, outputs, 3, 1, nn.Identity())
        )
        same = (inputs, stride) == (outputs, 1)
        self.shortcut = nn.Identity() if same else _unit(inputs, outputs, 1, stride, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.convolutions(x) + self.shortcut(x))


class _Attention(nn.Module):
    """A 3x3 convolution whose channels are weighed by their means."""

    def __init__(self, inputs: int):
        super().__init__()
        self.unit = _unit(inputs, CONTEXT, 3)
        self.weigh = _unit(CONTEXT, CONTEXT, activation=nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = self.unit(x)
        return x * self.weigh(_mean(x))


class BiSeNet(nn.Module):
    """The network: normalised images ``[N, 3, H, W]`` to logits ``[N, classes, H / 8, W / 8]``."""

    def __init__(self, classes: int):
        super().__init__()
        self.stem = nn.Sequential(_unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
        widths = [64, 64, CONTEXT, 256, 512]
        self.stages = nn.ModuleList(
            nn.Sequential(
                _Residual(inputs, outputs, 1 if place == 0 else 2), _Residual(outputs, outputs, 1)
            )
            for place, (inputs, outputs) in enumerate(pairwise(widths))
        )
        self.whole = _unit(512, CONTEXT)
        self.attentions = nn.ModuleList([_Attention(512), _Attention(256)])
        self.heads = nn.ModuleList(_unit(CONTEXT, CONTEXT, 3) for _ in range(2))
        self.fuse = _unit(2 * CONTEXT, 2 * CONTEXT)
        self.squeeze = nn.Conv2d(2 * CONTEXT, CONTEXT // 2, 1, bias=False)
        self.excite = nn.Conv2d(CONTEXT // 2, 2 * CONTEXT, 1, bias=False)
        self.last = _unit(2 * CONTEXT, 2 * CONTEXT, 3)
        self.classifier = nn.Conv2d(2 * CONTEXT, classes, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        _, fine, *coarser = maps
        context = self.whole(_mean(x))
        for x, attend, head in zip(coarser[::-1], self.attentions, self.heads, strict=True):
            context = head(F.interpolate(attend(x) + context, scale_factor=2.0, mode="nearest"))
        fused = self.fuse(torch.cat([fine, context], 1))
        weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(_mean(fused)))))
        return self.classifier(self.last(fused + fused * weights))


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)
