"""A small network and its metadata, for the tests of export."""

import torch
from torch import nn
from torch.nn import functional as F

from export.onnx_file.metadata import ModelMetadata

CLASSES = 5
SIZE = 64


def unit(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6()
    )


class SmallNetwork(nn.Module):
    """What segmentation networks are made of, with logits at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.deep = unit(3, 8, 2), unit(8, 16, 2), unit(16, 16, 2)
        self.head = nn.Conv2d(16, CLASSES, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.second(self.first(images))
        deep = F.interpolate(self.deep(x), scale_factor=2.0, mode="bilinear")
        return self.head(x + deep + x.mean((2, 3), keepdim=True))


def make_metadata(**changes: object) -> ModelMetadata:
    values = {
        "classes": [f"class {i}" for i in range(CLASSES)],
        "palette": [(i, 2 * i, 255 - i) for i in range(CLASSES)],
        "genotype": "[[0, [0, 1, 1, 9]], [[0, 1]]]",
        "encoder": "mobilenetv2",
        "input_size": SIZE,
        "training": {"epochs": 3, "data": "synthetic:4"},
        "licence": "research only",
    }
    return ModelMetadata.model_validate({**values, **changes})
