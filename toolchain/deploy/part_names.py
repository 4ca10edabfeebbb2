"""The modules of an exported network in the words of its genotype."""

import re
from collections.abc import Callable, Sequence

from export.benchmarking.node_profile import ADDED, NodeTime
from toolchain.genotype import Genotype
from toolchain.graph import graphs

# Where a dotted module name begins so, the part is called so; the numbers count from 0.
NAMES = (
    (r"input", "input conversion"),
    (r"encoder\.stages\.(\d+)", "encoder, stage {0}"),
    (r"encoder", "encoder"),
    (r"decoder\.adapt\.(\d+)", "decoder, projection of tap {0}"),
    (r"decoder\.merges\.(\d+)\.cells\.(\d+)", "merge {0}, cell {1}, sums"),
    (r"decoder\.merges\.(\d+)\.projections\.(\d+)", "merge {0}, projection {1}"),
    (r"decoder\.merges\.(\d+)", "merge {0}, resize and sum"),
    (r"decoder\.head", "head"),
    (r"decoder\.classifier", "classifier"),
    (r"decoder", "decoder, joining"),
    (r"tail", "tail"),
    (r"probabilities", "probabilities"),
)
OPERATION = re.compile(r"(?P<cell>decoder\.merges\.(\d+)\.cells\.(\d+))\.operations\.(\d+)")


def part_label(genotype: Genotype, nodes: Sequence[NodeTime] = ()) -> Callable[[NodeTime], str]:
    """Return a function that says to which part of a genotype a node of its network belongs.

    Parts are what the published figures draw: "merge 1, cell 2, operation 3: sep_conv_5x5 of
    64x64". The number of an operation is that of its node in the cell, as `toolchain.graph.draw`
    writes it (n3); merges, cells, stages and taps count from 1.

    Args:
        genotype: of the network.
        nodes: where the sizes of the maps are taken from.
    """
    cell = graphs(genotype)[0]
    # A pooled map has one pixel, so a cell's size is that of its largest map.
    sizes: dict[str, tuple[int, ...]] = {}
    for node in nodes:
        shape = node.output_shape
        if (found := OPERATION.match(node.module)) and shape and None not in shape[2:]:
            size = tuple(int(side) for side in shape[2:] if side)
            sizes[found["cell"]] = max(size, sizes.get(found["cell"], ()))

    def label(node: NodeTime) -> str:
        if found := OPERATION.match(node.module):
            merge, side, number = map(int, found.groups()[1:])
            name = cell.operations[number].name if number in cell.operations else "unknown"
            size = "x".join(map(str, sizes.get(found["cell"], ())))
            return (
                f"merge {merge + 1}, cell {side + 1}, operation {number}: {name}"
                f"{size and f' of {size}'}"
            )
        for pattern, name in NAMES:
            if found := re.match(rf"{pattern}(?![^.])", node.module):
                return name.format(*(int(text) + 1 for text in found.groups()))
        return ADDED if node.operator is None else f"{node.operator}, of no module"

    return label
