"""The decoder of a genotype: context cells inside merge cells, and the head."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from toolchain.genotype import TAPS, Genotype
from toolchain.graph import CellGraph, Sum, graphs
from toolchain.networks.units import convolution_unit, operation


class ContextCell(nn.Module):
    """The searched cell. Shapes: [N, C, H, W] -> [N, C, H, W].

    Holds a module for every operation the genotype names; runs only those that reach the output.
    """

    def __init__(self, graph: CellGraph, channels: int):
        super().__init__()
        self.graph = graph
        self.operations = nn.ModuleDict(
            {str(n): operation(op.name, channels) for n, op in graph.operations.items()}
        )
        self._steps = graph.live
        self._constants: dict[Sum, str] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Apply the cell."""
        values = {0: x}
        sums: dict[Sum, Tensor] = {}
        for number in self._steps:
            inputs = self.graph.operations[number].inputs
            values[number] = self.operations[str(number)](self._sum(inputs, values, sums))
        return self._sum(self.graph.output, values, sums)

    def _sum(self, terms: Sum, values: dict[int, Tensor], sums: dict[Sum, Tensor]) -> Tensor:
        """Add the terms, each distinct sum once, to a map of the input's size."""
        if terms not in sums:
            parts = [values[term] for term in terms if term in values]
            if terms in self._constants:
                parts.append(self.get_buffer(self._constants[terms]))
            full = [upsample(part, values[0]) for part in parts]
            sums[terms] = sum(full[1:], full[0]) if full else torch.zeros_like(values[0])
        return sums[terms]

    @torch.no_grad()
    def fold(self, height: int, width: int) -> None:
        """Replace operations whose result never changes by that result; for inference only.

        A result that is the same in every pixel is kept as one pixel; one with borders (a 3x3
        convolution of a constant sees the padding) as a map of this size.
        """
        channels = next(self.parameters()).shape[0] if self.operations else 1
        values: dict[int, Tensor] = {0: torch.zeros(1, channels, height, width)}
        for number in sorted(self.graph.constant & set(self.graph.live)):
            value = self.operations[str(number)](
                self._sum(self.graph.operations[number].inputs, values, {})
            )
            values[number] = value.expand_as(values[0])
        computed = self.graph.computed
        for terms in {*(self.graph.operations[n].inputs for n in computed), self.graph.output}:
            constants = [values[term] for term in terms if term in self.graph.constant]
            if constants:
                total = torch.stack(constants).sum(0)
                pixel = total[..., :1, :1]
                name = f"constant_{len(self._constants)}"
                same = torch.allclose(total, pixel.expand_as(total), rtol=0, atol=1e-7)
                self.register_buffer(name, pixel.clone() if same else total)
                self._constants[terms] = name
        self._steps = computed
        for number in set(self.graph.operations) - set(computed):
            del self.operations[str(number)]


class MergeCell(nn.Module):
    """A context cell on each of two maps, a 1x1 convolution on each, the sum at the larger size."""

    def __init__(self, graph: CellGraph, channels: int):
        super().__init__()
        self.cells = nn.ModuleList(ContextCell(graph, channels) for _ in range(2))
        self.projections = nn.ModuleList(convolution_unit(channels, channels) for _ in range(2))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Merge two maps [N, C, *, *]; the result has the larger size."""
        small, large = (
            project(cell(x))
            for project, cell, x in zip(self.projections, self.cells, (first, second), strict=True)
        )
        if small.shape[-1] > large.shape[-1]:
            small, large = large, small
        return large + upsample(small, large)


class Decoder(nn.Module):
    """Encoder taps to class logits, as a genotype says.

    Args:
        genotype: the decoder's architecture.
        channels: channels of the four taps.
        classes: number of classes.
        aggregation: channels of every map inside the decoder.
    """

    def __init__(
        self, genotype: Genotype, channels: tuple[int, ...], classes: int, aggregation: int
    ):
        super().__init__()
        cell, self.graph = graphs(genotype)
        self.adapt = nn.ModuleDict(
            {str(tap): convolution_unit(channels[tap], aggregation) for tap in range(TAPS)}
        )
        self.merges = nn.ModuleList(MergeCell(cell, aggregation) for _ in self.graph.merges)
        self.head = convolution_unit(len(self.graph.outputs) * aggregation, aggregation)
        self.classifier = nn.Conv2d(aggregation, classes, 3, padding=1)
        self.cell = cell

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the logits [N, classes, h, w] at the resolution of the largest output."""
        return self.forward_with_merges(features)[0]

    @torch.no_grad()
    def fold(self, sizes: list[tuple[int, int]] | None) -> None:
        """Make constant what never changes and drop what nothing reads; for inference only.

        Args:
            sizes: height and width of the four taps; None keeps what depends on them computed.
        """
        self.adapt = nn.ModuleDict({str(tap): self.adapt[str(tap)] for tap in self.graph.taps})
        if sizes is None:
            return
        for merge, pair in zip(self.merges, self.graph.merges, strict=True):
            assert isinstance(merge, MergeCell)
            for cell, end in zip(merge.cells, pair, strict=True):
                assert isinstance(cell, ContextCell)
                cell.fold(*sizes[self.graph.levels[end]])

    def forward_with_merges(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the logits and the result of each merge cell, for auxiliary losses.

        Args:
            features: the taps [N, C, H / stride, W / stride]; those after the last used may lack.
        """
        pool = {tap: self.adapt[str(tap)](features[tap]) for tap in self.graph.taps}
        for number, (pair, merge) in enumerate(
            zip(self.graph.merges, self.merges, strict=True), TAPS
        ):
            pool[number] = merge(*(pool[end] for end in pair))
        merged = [pool[TAPS + position] for position in range(len(self.merges))]
        ends = [pool[end] for end in self.graph.outputs]
        largest = max(ends, key=lambda end: end.shape[-1])
        joined = torch.cat([upsample(end, largest) for end in ends], 1) if ends[1:] else ends[0]
        return self.classifier(self.head(relu(joined))), merged


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """Resize bilinearly to the size of another map; no work where the sizes agree.

    A map of one pixel, a global average or a folded constant, is repeated. Runtimes keep feature
    maps in blocks of channels, and leave that layout for an addition that broadcasts and for a
    resize to the nearest pixel, but not for this one.
    """
    size = like.shape[-2:]
    if x.shape[-2:] == size:
        return x
    return interpolate(x, size=size, mode="bilinear", align_corners=False)
