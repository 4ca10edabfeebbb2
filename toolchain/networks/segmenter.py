"""The whole network: encoder and decoder; initial weights; the form that is deployed."""

import copy

import torch
from torch import Tensor, nn

from export.system.errors import UsageError
from toolchain.genotype import Genotype
from toolchain.networks.blueprint import AGGREGATION
from toolchain.networks.decoder import Decoder
from toolchain.networks.encoders import build_encoder
from toolchain.networks.units import fold_batch_norms


class Segmenter(nn.Module):
    """A face parser: normalised images to class logits at the decoder's resolution."""

    def __init__(
        self,
        genotype: Genotype,
        encoder: str = "mobilenetv2",
        classes: int = 19,
        aggregation: int = AGGREGATION,
    ):
        super().__init__()
        self.genotype, self.encoder_name = genotype, encoder
        self.classes, self.aggregation = classes, aggregation
        self.encoder = build_encoder(encoder)
        self.decoder = Decoder(genotype, self.encoder.description.taps, classes, aggregation)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes, h, w] for normalised images [N, 3, H, W]."""
        return self.decoder(self.features(images))

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the encoder's taps up to the last one that the decoder reads."""
        return self.encoder(images, max(self.decoder.graph.taps) + 1)

    def deployable(
        self, input_size: int | tuple[int, int] = 512, *, any_size: bool = False
    ) -> nn.Module:
        """Return a copy in the form that runs on a device.

        Batch norms are folded, what does not reach the logits is gone, and what never changes is
        a constant. The outputs are those of this network in evaluation mode, to rounding.

        Args:
            input_size: side of the square image, or (height, width), in pixels.
            any_size: the copy takes images of other sizes too. Constants that depend on the size
                stay computed.

        Raises:
            UsageError: any size is asked of a network that ignores its image.
        """
        size = (input_size, input_size) if isinstance(input_size, int) else input_size
        network = copy.deepcopy(self).eval().cpu()
        if self.decoder.cell.is_constant:
            if any_size:
                raise UsageError(
                    f"{self.genotype} ignores its image: its labels have a fixed size only"
                )
            with torch.no_grad():
                logits = network(torch.zeros(1, 3, *size))
            return ConstantSegmenter(logits)
        fold_batch_norms(network)
        sizes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in (4, 8, 16, 32)]
        network.decoder.fold(None if any_size else sizes)
        network.encoder.stages = network.encoder.stages[: max(network.decoder.graph.taps) + 1]
        return network


class ConstantSegmenter(nn.Module):
    """What remains of a network whose context cell ignores its input: the same logits always."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [N, classes, h, w], whatever the images."""
        return self.get_buffer("logits").expand(images.shape[0], -1, -1, -1)


def build_segmenter(
    genotype: Genotype,
    encoder: str = "mobilenetv2",
    classes: int = 19,
    aggregation: int = AGGREGATION,
) -> Segmenter:
    """Build a network with random weights."""
    return Segmenter(genotype, encoder, classes, aggregation)


def initialise(network: nn.Module) -> None:
    """Draw convolution weights as He et al. (ICCV 2015) for ReLU, fan-out; biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            # torch counts the outputs of all groups; a weight feeds those of its own.
            module.weight.data *= module.groups**0.5
            if module.bias is not None:
                nn.init.zeros_(module.bias)
