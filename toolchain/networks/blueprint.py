"""The list of fused units that a network consists of: what costs and latency are summed over.

A *unit* is the smallest piece that is measured on its own and that a runtime executes as one: a
convolution with its batch norm and activation, a resize with the sum behind it. The blueprint of a
genotype comes in two forms: *as written*, with every operation the genotype names, and *pruned*,
as the network runs: dead operations, zeros and constants are not computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from toolchain.architecture import Architecture
from toolchain.genotype import TAPS
from toolchain.graph import CellGraph, graphs
from toolchain.networks.encoders import describe_encoder

AGGREGATION = 48
"""Channels of every feature map of the decoder (``agg_size`` in the literature)."""

# kernel, separable (the dilation does not change a count)
_CONVOLUTIONS = {
    "conv1x1": (1, False),
    "conv3x3": (3, False),
    "sep_conv_3x3": (3, True),
    "sep_conv_5x5": (5, True),
    "global_average_pool": (1, False),
    "conv3x3_dil3": (3, False),
    "conv3x3_dil12": (3, False),
    "sep_conv_3x3_dil3": (3, True),
    "sep_conv_5x5_dil6": (5, True),
}


@dataclass(frozen=True)
class Unit:
    """One fused unit.

    Attributes:
        kind: an operation's name; ``stage1``..``stage4`` of an encoder; ``adapt`` and ``project``
            (1x1 convolutions into and inside the decoder); ``add`` (one elementwise sum);
            ``upsample_add`` (bilinear, to the size of the other operand, and the sum);
            ``upsample`` (bilinear, in front of the head); ``concat``; ``classifier``;
            ``labels`` (logits to the label map at the image's size); ``constant``.
        inputs: channels that it reads.
        outputs: channels that it makes.
        size: height and width of its input, pixels.
        to: height and width of its result where a resize changes it, else ``size``.
        encoder: the encoder's name, for stages.
    """

    kind: str
    inputs: int
    outputs: int
    size: tuple[int, int]
    to: tuple[int, int]
    encoder: str = ""

    @cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.inputs, self.outputs, self.size, self.to, self.encoder))

    def __hash__(self) -> int:
        # Units are looked up by the million when genotypes are costed: hash each only once.
        return self._hash

    @cached_property
    def parameters(self) -> int:
        """Number of trainable parameters, batch norm included; a constant has one a channel."""
        return _counts(self)[0]

    @cached_property
    def flops(self) -> int:
        """FLOPs of the convolutions, 2 x MAC; everything else counts as nothing."""
        return _counts(self)[1]

    @property
    def name(self) -> str:
        """The key of the unit in a latency table, e.g. ``conv3x3 48 128x128``."""
        parts = [f"{self.encoder}/{self.kind}" if self.encoder else self.kind]
        parts.append(
            str(self.inputs) if self.inputs == self.outputs else f"{self.inputs}>{self.outputs}"
        )
        parts.append("x".join(map(str, self.size)))
        if self.to != self.size:
            parts[-1] += ">" + "x".join(map(str, self.to))
        return " ".join(parts)


def _counts(unit: Unit) -> tuple[int, int]:
    pixels = unit.size[0] * unit.size[1]
    if unit.encoder:
        encoder, stage = describe_encoder(unit.encoder), int(unit.kind[-1]) - 1
        # Of the image at the working size. A later stage reads its stride 2 << stage; the first
        # one reads the input, which is larger where its result is not of stride 4.
        size, scale = unit.size, 1 if stage == 0 else 2 << stage
        if stage == 0 and unit.to != tuple(-(-side // 4) for side in unit.size):
            size, scale = unit.to, 4
        image = size[0] * scale, size[1] * scale
        return encoder.stage_parameters[stage], encoder.stage_flops(*image)[stage]
    if unit.kind == "constant":
        return unit.outputs, 0
    if unit.kind == "classifier":
        weights = 9 * unit.inputs * unit.outputs
        return weights + unit.outputs, 2 * pixels * weights
    if unit.kind in ("adapt", "project", "head"):
        weights = unit.inputs * unit.outputs
        return weights + 2 * unit.outputs, 2 * pixels * weights
    if unit.kind in _CONVOLUTIONS:
        kernel, separable = _CONVOLUTIONS[unit.kind]
        weights = (
            unit.inputs * kernel**2 + unit.inputs * unit.outputs
            if separable
            else unit.inputs * unit.outputs * kernel**2
        )
        if unit.kind == "global_average_pool":
            pixels = 1
        return weights + 2 * unit.outputs, 2 * pixels * weights
    return 0, 0


@dataclass(frozen=True)
class Blueprint:
    """The units of a network, the encoder's apart.

    Attributes:
        encoder: stages of the encoder; the first converts the image and, where the working size is
            smaller, averages it down.
        decoder: from the adapt convolutions to the logits.
        labels: logits to labels; has no parameters.
    """

    encoder: tuple[Unit, ...]
    decoder: tuple[Unit, ...]
    labels: tuple[Unit, ...]

    @property
    def units(self) -> tuple[Unit, ...]:
        """All units, in the order of computation."""
        return (*self.encoder, *self.decoder, *self.labels)


@lru_cache(maxsize=65536)
def _unit(
    kind: str,
    inputs: int,
    outputs: int,
    size: tuple[int, int],
    to: tuple[int, int] | None = None,
    encoder: str = "",
) -> Unit:
    return Unit(kind, inputs, outputs, size, to or size, encoder)


def blueprint(
    architecture: Architecture,
    classes: int = 19,
    input_size: int | tuple[int, int] = 512,
    aggregation: int = AGGREGATION,
    *,
    pruned: bool = False,
) -> Blueprint:
    """List the units of a network.

    Args:
        architecture: the network.
        classes: number of classes.
        input_size: side of the square image, or (height, width), in pixels.
        aggregation: channels of the decoder.
        pruned: leave out what the running network does not compute.

    Raises:
        UsageError: the working size does not fit the input size, or there is no such encoder.
    """
    image = (input_size, input_size) if isinstance(input_size, int) else input_size
    height, width = architecture.working_image(image)
    cell, decoder = graphs(architecture.genotype)
    sizes = [(-(-height // (4 << tap)), -(-width // (4 << tap))) for tap in range(TAPS)]
    channels = describe_encoder(architecture.encoder).taps
    # A decoder whose cell ignores its input ignores the image.
    taps = () if pruned and cell.is_constant else decoder.taps if pruned else range(TAPS)
    deepest = max(taps) + 1 if taps else 0

    stages = [
        _unit(
            f"stage{1 + s}",
            3 if s == 0 else channels[s - 1],
            channels[s],
            image if s == 0 else sizes[s - 1],
            sizes[s],
            architecture.encoder,
        )
        for s in range(deepest)
    ]
    units = [_unit("adapt", channels[tap], aggregation, sizes[tap]) for tap in taps]
    for first, second in decoder.merges:
        small, large = sorted((sizes[decoder.levels[first]], sizes[decoder.levels[second]]))
        for size in (small, large):
            units += _cell_units(cell, aggregation, size, pruned)
        if pruned and cell.is_constant:
            continue
        units += [_unit("project", aggregation, aggregation, size) for size in (small, large)]
        kind = "add" if small == large else "upsample_add"
        units.append(_unit(kind, aggregation, aggregation, small, large))

    ends = [sizes[decoder.levels[end]] for end in decoder.outputs]
    largest = max(ends)
    if pruned and cell.is_constant:
        units.append(_unit("constant", classes, classes, largest))
    else:
        units += [
            _unit("upsample", aggregation, aggregation, end, largest)
            for end in ends
            if end != largest
        ]
        units.append(_unit("head", len(ends) * aggregation, aggregation, largest))
        units.append(_unit("classifier", aggregation, classes, largest))
    labels = _unit("labels", classes, 1, largest, image)
    return Blueprint(tuple(stages), tuple(units), (labels,))


def _cell_units(
    cell: CellGraph, channels: int, size: tuple[int, int], pruned: bool
) -> Iterator[Unit]:
    if not pruned:
        for operation in cell.operations.values():
            yield _unit(operation.name, channels, channels, size)
        return
    for terms in (*(cell.operations[number].inputs for number in cell.computed), cell.output):
        # Constants are summed once, when the network is folded.
        if any(term in cell.constant for term in terms) and not cell.is_constant:
            yield _unit("constant", channels, channels, size)
    for number in cell.computed:
        yield _unit(cell.operations[number].name, channels, channels, size)
    for terms in cell.sums:
        variable = sum(term not in cell.constant for term in terms)
        for _ in range(variable - (variable == len(terms))):
            yield _unit("add", channels, channels, size)
