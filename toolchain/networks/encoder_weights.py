"""Weights of encoders: those of this project, and those that others have published.

Published files are read by order, not by name: torchvision, timm and the authors of GhostNet name
their layers differently, and list them alike, in the order of execution, each convolution with the
batch norm that follows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.system.errors import DataError, UsageError
from toolchain.networks.encoders.modules import Encoder
from toolchain.networks.torch_file import read_torch
from toolchain.networks.units import ConvolutionUnit

PUBLISHED = {
    "mobilenetv2": "torchvision's mobilenet_v2, timm's mobilenetv2_100",
    "mobilenetv2-0.5": "timm's mobilenetv2_050",
    "ghostnet-1": "timm's ghostnet_100, the authors' ghostnet",
}
"""Where weights for ImageNet are published that fit an encoder; for the others there are none."""

# Of the images of published encoders, as parts of 255: torchvision's documentation.
_MEAN = torch.tensor([0.485, 0.456, 0.406])
_DEVIATION = torch.tensor([0.229, 0.224, 0.225])
NORM = ("weight", "bias", "running_mean", "running_var")
"""What a batch norm holds."""


@dataclass
class _Layer:
    """A convolution of a file: its name, its weights, and the batch norm behind it, if any."""

    name: str
    weight: Tensor
    bias: Tensor | None = None
    norm: dict[str, Tensor] = field(default_factory=dict)


def load_encoder_weights(encoder: Encoder, path: str | Path) -> None:
    """Set an encoder's weights from a file.

    Args:
        encoder: the encoder to change.
        path: a checkpoint of this project with the same encoder; a state dictionary of one of
            `PUBLISHED`; or convolutions with folded batch norms in the order of execution
            (``conv00.weight``, ``conv00.bias``, ...), for images of -1 to 1.

    Raises:
        DataError: the file cannot be read or belongs to another encoder.
    """
    state = read_torch(path)
    if not isinstance(state, dict):
        raise DataError(path, "is not a file of weights (it holds no dictionary)")
    for key in ("model", "state_dict"):
        state = state[key] if isinstance(state.get(key), dict) else state
    own = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    try:
        if own:
            encoder.load_state_dict(own)
        else:
            _load(encoder, _layers(state), folded="conv00.weight" in state)
    except (RuntimeError, UsageError) as error:
        name = encoder.description.name
        raise DataError(
            path, f"does not fit the encoder {name} ({' '.join(str(error).split())[:120]})"
        ) from None


def _layers(state: Mapping[str, Any]) -> list[_Layer]:
    """Gather the convolutions of a state dictionary, each with the batch norm that follows it."""
    found: list[_Layer] = []
    for key, value in state.items():
        module, _, name = key.rpartition(".")
        if not isinstance(value, Tensor):
            continue
        if value.dim() == 4:
            found.append(_Layer(module, value))
        elif value.dim() == 1 and found and module == found[-1].name:
            found[-1].bias = value
        elif value.dim() == 1 and found and name in NORM:
            found[-1].norm[name] = value
    return found


@torch.no_grad()
def _load(encoder: Encoder, layers: list[_Layer], *, folded: bool) -> None:
    left = list(layers)
    for unit in (module for module in encoder.modules() if isinstance(module, ConvolutionUnit)):
        convolution, norm = unit.convolutions[0], unit.norm
        assert isinstance(convolution, nn.Conv2d)
        if not left:
            raise UsageError(f"it has {len(layers)} convolutions, too few")
        weight = left[0].weight
        if convolution.weight.shape == weight.shape:
            layer = left.pop(0)
        elif convolution.kernel_size == (1, 1) and len(set(convolution.weight.shape[:2])) == 1:
            # The published space has a 1x1 convolution that the usual MobileNetV2 lacks, between
            # two ReLU6: as the identity it changes nothing.
            identity = torch.eye(convolution.out_channels)[..., None, None]
            layer = _Layer("", identity, torch.zeros(convolution.out_channels))
        else:
            raise UsageError(
                f"convolution {len(layers) - len(left)} has shape {list(weight.shape)}, not "
                f"{list(convolution.weight.shape)}"
            )
        convolution.weight.copy_(layer.weight)
        if norm is None:
            if layer.norm or layer.bias is None or convolution.bias is None:
                raise UsageError(f"{layer.name} has a batch norm, or no bias")
            convolution.bias.copy_(layer.bias)
        elif len(layer.norm) == len(NORM):
            for name, value in layer.norm.items():
                getattr(norm, name).copy_(value)
        elif layer.bias is not None and not layer.norm:
            norm.load_state_dict(norm_that_adds(layer.bias, norm.eps), strict=False)
        else:
            raise UsageError(f"{layer.name} has neither a batch norm nor a bias")
    if not folded:
        _take_our_images(next(m for m in encoder.modules() if isinstance(m, ConvolutionUnit)))


def norm_that_adds(bias: Tensor, eps: float) -> dict[str, Tensor]:
    """Return the state of a batch norm that adds a bias and does nothing else."""
    one, zero = torch.ones_like(bias), torch.zeros_like(bias)
    return {"weight": one, "bias": bias, "running_mean": zero, "running_var": one - eps}


def _take_our_images(stem: ConvolutionUnit) -> None:
    """Make a first layer for images of ImageNet's mean and deviation one for images of -1 to 1.

    Exact but for the edges, where both are padded with zeros: grey of different lightness.
    """
    convolution, norm = stem.convolutions[0], stem.norm
    assert isinstance(convolution, nn.Conv2d)
    assert norm is not None
    assert norm.running_mean is not None
    offset = ((0.5 - _MEAN) / _DEVIATION)[None, :, None, None]
    norm.running_mean.sub_((convolution.weight * offset).sum((1, 2, 3)))
    convolution.weight.div_(2 * _DEVIATION[None, :, None, None])
