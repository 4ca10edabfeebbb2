"""Genotypes drawn as graphs, in SVG that takes its colours from the page's style sheet."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from toolchain.genotype import TAPS, Genotype
from toolchain.graph import graphs

BOX = (108, 30)
ROW, GAP, LANE, MARGIN = 64, 12, 18, 6
SWEEPS = 12

_SHORT = {
    "conv1x1": "conv 1×1",
    "conv3x3": "conv 3×3",
    "sep_conv_3x3": "separable 3×3",
    "sep_conv_5x5": "separable 5×5",
    "global_average_pool": "global pool",
    "conv3x3_dil3": "conv 3×3, dil 3",
    "conv3x3_dil12": "conv 3×3, dil 12",
    "sep_conv_3x3_dil3": "sep 3×3, dil 3",
    "sep_conv_5x5_dil6": "sep 5×5, dil 6",
}


@dataclass(frozen=True)
class Box:
    """A node: its text and its kind, a class of the style sheet."""

    text: str
    kind: str


Edges = Mapping[tuple[int, int], int]
"""Arrows from node to node, and how often each is added."""


def draw_cell(genotype: Genotype) -> str:
    """Draw the context cell as it runs: without zeros, constants, and what nothing reads."""
    cell, _ = graphs(genotype)
    end = 1 + max(cell.operations, default=0)
    boxes = {0: Box("cell input", "end")}
    edges: Counter[tuple[int, int]] = Counter()
    for number in cell.computed:
        name, inputs = cell.operations[number]
        kind = "pool" if "pool" in name else "separable" if "sep" in name else "dense"
        boxes[number] = Box(_SHORT[name], kind)
        edges.update((term, number) for term in inputs)
    edges.update((term, end) for term in cell.output)
    boxes[end] = Box("constant output" if cell.is_constant else "cell output", "end")
    return _draw(boxes, {edge: count for edge, count in edges.items() if edge[0] in boxes})


def draw_decoder(genotype: Genotype) -> str:
    """Draw the merge cells between the encoder's four feature maps and the head."""
    _, decoder = graphs(genotype)
    head = TAPS + len(decoder.merges)
    edges: Counter[tuple[int, int]] = Counter()
    boxes = {}
    for number, level in enumerate(decoder.levels):
        if number < TAPS:
            kind = "end" if number in decoder.taps else "unused"
            boxes[number] = Box(f"encoder 1/{4 << level}", kind)
        else:
            boxes[number] = Box(f"merge {number - TAPS + 1}, 1/{4 << level}", "dense")
            edges.update((end, number) for end in decoder.merges[number - TAPS])
    boxes[head] = Box("head", "end")
    edges.update((end, head) for end in decoder.outputs)
    return _draw(boxes, edges)


def _draw(boxes: Mapping[int, Box], edges: Edges) -> str:
    rows, paths = _rows(boxes, edges)
    width = max(_width(row, boxes) for row in rows)
    height = (len(rows) - 1) * ROW + BOX[1]
    places = _places(rows, boxes, width)
    shapes = []
    for (start, end), path in paths.items():
        shapes.append(_line([places[node] for node in path]))
        if edges[start, end] > 1:
            (from_x, from_y), (to_x, to_y) = (places[node] for node in path[-2:])
            shapes.append(
                f'<text class="times" x="{(from_x + to_x) / 2 + 5:.1f}" '
                f'y="{(from_y + to_y) / 2 + 4:.1f}">×{edges[start, end]}</text>'
            )
    for number, box in boxes.items():
        x, y = places[number]
        shapes.append(
            f'<g class="{box.kind}"><rect x="{x - BOX[0] / 2:.1f}" y="{y - BOX[1] / 2:.1f}" '
            f'width="{BOX[0]}" height="{BOX[1]}" rx="6"/>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}">{escape(box.text)}</text></g>'
        )
    view = f"{-MARGIN} {-MARGIN} {width + 2 * MARGIN:.0f} {height + 2 * MARGIN}"
    return (
        f'<svg class="graph" viewBox="{view}" width="{width + 2 * MARGIN:.0f}" '
        f'height="{height + 2 * MARGIN}">{"".join(shapes)}</svg>'
    )


def _line(points: Sequence[tuple[float, float]]) -> str:
    """Draw a line from the first box to the last, straight down through the lanes between them."""
    half = BOX[1] / 2
    curve = f"M{points[0][0]:.1f},{points[0][1] + half:.1f}"
    for (x, y), (to_x, to_y) in pairwise(points):
        middle = (y + to_y) / 2
        curve += f"C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y - half:.1f}"
        if (to_x, to_y) != points[-1]:
            curve += f"V{to_y + half:.1f}"
    return f'<path d="{curve}"/>'


def _rows(
    boxes: Mapping[int, Box], edges: Edges
) -> tuple[list[list[int]], dict[tuple[int, int], list[int]]]:
    """Put nodes into rows so that arrows point down and cross little.

    An arrow over several rows gets a *lane*, a node without a box, in each row that it passes.
    Source: Sugiyama, Tagawa and Toda, IEEE Trans. Systems, Man and Cybernetics 11(2), 1981.

    Returns:
        The rows from top to bottom, and the nodes and lanes along each arrow.
    """
    depth = dict.fromkeys(boxes, 0)
    for number in sorted(boxes):  # every arrow leads to a higher number
        above = [depth[start] + 1 for start, end in edges if end == number]
        depth[number] = max(above, default=0)
    rows: list[list[int]] = [[] for _ in range(max(depth.values()) + 1)]
    for number, row in depth.items():
        rows[row].append(number)
    paths, lane = {}, max(boxes)
    neighbours: dict[int, list[int]] = {number: [] for number in boxes}
    for start, end in edges:
        path = [start]
        for row in range(depth[start] + 1, depth[end]):
            lane += 1
            rows[row].append(lane)
            neighbours[lane] = []
            path.append(lane)
        path.append(end)
        paths[start, end] = path
        for upper, lower in pairwise(path):
            neighbours[upper].append(lower)
            neighbours[lower].append(upper)
    best, fewest = [list(row) for row in rows], _crossings(rows, paths.values())
    for sweep in range(SWEEPS):
        # The first row stays as it is: feature maps are read from fine to coarse.
        order = range(1, len(rows)) if sweep % 2 == 0 else range(len(rows) - 2, 0, -1)
        for row in order:
            beside = rows[row - 1 if sweep % 2 == 0 else row + 1]
            _sort_by_neighbours(rows[row], beside, neighbours)
        if (crossings := _crossings(rows, paths.values())) < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best, paths


def _sort_by_neighbours(
    row: list[int], beside: Sequence[int], neighbours: Mapping[int, Sequence[int]]
) -> None:
    """Order a row by the mean position of each node's neighbours in the row beside it."""
    position = {node: place / len(beside) for place, node in enumerate(beside)}

    def middle(node: int) -> float:
        near = [position[other] for other in neighbours[node] if other in position]
        return sum(near) / len(near) if near else row.index(node) / len(row)

    middles = {node: middle(node) for node in row}
    row.sort(key=middles.__getitem__)


def _crossings(rows: Sequence[Sequence[int]], paths: Iterable[Sequence[int]]) -> int:
    place = {node: (depth, x) for depth, row in enumerate(rows) for x, node in enumerate(row)}
    steps = [(place[a], place[b]) for path in paths for a, b in pairwise(path)]
    return sum(
        (a[1] - c[1]) * (b[1] - d[1]) < 0
        for position, (a, b) in enumerate(steps)
        for c, d in steps[position + 1 :]
        if a[0] == c[0]
    )


def _width(row: Sequence[int], boxes: Mapping[int, Box]) -> int:
    return sum(BOX[0] if node in boxes else LANE for node in row) + GAP * (len(row) - 1)


def _places(
    rows: Sequence[Sequence[int]], boxes: Mapping[int, Box], width: float
) -> dict[int, tuple[float, float]]:
    """Centre each row; return the middle of every box and lane."""
    places = {}
    for depth, row in enumerate(rows):
        x = (width - _width(row, boxes)) / 2
        for node in row:
            size = BOX[0] if node in boxes else LANE
            places[node] = (x + size / 2, depth * ROW + BOX[1] / 2)
            x += size + GAP
    return places
