"""The computation that a genotype describes, without the accidents of its notation.

Sums are multisets of terms, so operand order, ``skip_connect`` and ``none`` vanish; what remains
are *operations*, each with its own weights. `CellGraph` holds those of the context cell,
`DecoderGraph` the merge cells. From the two follow what a network must compute, what is constant,
and the canonical form.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from toolchain.genotype import NONE, OPERATIONS, SKIP, TAPS, Genotype

Sum = tuple[int, ...]
"""A sum: the sorted numbers of its terms, repeated as often as they are added. () is zero."""


class Operation(NamedTuple):
    """An operation with weights of its own, applied to a sum of terms."""

    name: str
    inputs: Sum


@dataclass(frozen=True)
class CellGraph:
    """A context cell: term 0 is its input, the others are operations by their node number.

    Attributes:
        operations: every operation with weights, by node number, in the order of computation;
            those that nothing reads are among them.
        output: the terms whose sum is the cell's result.
    """

    operations: Mapping[int, Operation]
    output: Sum

    @cached_property
    def live(self) -> list[int]:
        """The operations that reach the output, in the order of computation."""
        seen: set[int] = set()
        open_ = [*self.output]
        while open_:
            term = open_.pop()
            if term and term not in seen:
                seen.add(term)
                open_ += self.operations[term].inputs
        return sorted(seen)

    @cached_property
    def constant(self) -> frozenset[int]:
        """The operations whose result does not depend on the cell's input."""
        result: set[int] = set()
        for number, operation in self.operations.items():
            if result.issuperset(operation.inputs):
                result.add(number)
        return frozenset(result)

    @cached_property
    def computed(self) -> list[int]:
        """The operations that must run for every image: live and not constant."""
        return [number for number in self.live if number not in self.constant]

    @cached_property
    def sums(self) -> list[Sum]:
        """The distinct sums that must be formed for every image, each once."""
        wanted = [self.operations[number].inputs for number in self.computed]
        return [
            terms
            for terms in dict.fromkeys([*wanted, self.output])
            if len(terms) > 1 and not self.constant.issuperset(terms)
        ]

    @property
    def is_constant(self) -> bool:
        """Whether the cell gives the same result for every input."""
        return self.constant.issuperset(self.output)


@dataclass(frozen=True)
class DecoderGraph:
    """The merge cells: maps 0..3 are the encoder taps, map 4 + j is the result of connection j.

    Attributes:
        merges: the two maps that each merge cell reads.
        outputs: the results that no later merge cell uses; the head concatenates them.
        levels: for each map, the tap whose resolution it has (0 is the finest).
        taps: the encoder taps that are used, sorted.
    """

    merges: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]
    levels: tuple[int, ...]
    taps: tuple[int, ...]


@lru_cache(maxsize=4096)
def cell_graph(operation: int, entries: tuple[tuple[int, int, int, int], ...]) -> CellGraph:
    """Build the graph of a context cell from its part of the genotype."""
    operations: dict[int, Operation] = {}
    values: dict[int, Sum] = {0: (0,)}

    def apply(number: int, chosen: int, inputs: Sum) -> None:
        if chosen == SKIP:
            values[number] = inputs
        elif chosen == NONE:
            values[number] = ()
        else:
            operations[number] = Operation(OPERATIONS[chosen], inputs)
            values[number] = (number,)

    apply(1, operation, values[0])
    loose = {1}
    for k, (first, second, first_operation, second_operation) in enumerate(entries, 1):
        apply(3 * k - 1, first_operation, values[first])
        apply(3 * k, second_operation, values[second])
        values[3 * k + 1] = tuple(sorted(values[3 * k - 1] + values[3 * k]))
        # Only results that a later entry reads stop being loose ends, whatever that entry does.
        loose = (loose - {first, second}) | {3 * k + 1}
    output = tuple(sorted(term for end in loose for term in values[end]))
    return CellGraph(operations, output)


@lru_cache(maxsize=4096)
def decoder_graph(connections: tuple[tuple[int, int], ...]) -> DecoderGraph:
    """Build the graph of the merge cells from their part of the genotype."""
    levels = list(range(TAPS))
    loose: list[int] = []
    for position, (first, second) in enumerate(connections, TAPS):
        levels.append(min(levels[first], levels[second]))
        loose = [end for end in loose if end not in (first, second)] + [position]
    taps = sorted({end for pair in connections for end in pair if end < TAPS})
    return DecoderGraph(
        tuple((first, second) for first, second in connections),
        tuple(loose),
        tuple(levels),
        tuple(taps),
    )


def graphs(genotype: Genotype) -> tuple[CellGraph, DecoderGraph]:
    """Return the cell's and the decoder's graph of a genotype."""
    return (
        cell_graph(genotype.operation, genotype.entries),
        decoder_graph(genotype.connections),
    )


def canonical(genotype: Genotype) -> str:
    """Return a text that genotypes of the same family of functions share.

    Equal texts mean: with the right exchange of weights the two networks compute the same. Dead
    operations are dropped, operands are unordered, zeros and skips are gone, and an operation on
    zeros is a ``constant``, whatever its kernel was.
    """
    return f"{_canonical_cell(genotype)} | {_canonical_decoder(genotype)}"


@lru_cache(maxsize=4096)
def _canonical_cell_text(graph_key: tuple[int, tuple[tuple[int, int, int, int], ...]]) -> str:
    cell = cell_graph(*graph_key)
    live = {
        number: Operation(
            cell.operations[number].name if cell.operations[number].inputs else "constant",
            cell.operations[number].inputs,
        )
        for number in cell.live
    }
    order = _canonical_order({0: "x"}, live, cell.output)
    names = {0: "x"} | {number: f"n{position}" for position, number in enumerate(order, 1)}
    steps = [f"{names[n]}={live[n].name}({_sum_text(live[n].inputs, names)})" for n in order]
    return " ".join([*steps, "->", _sum_text(cell.output, names) or "0"])


def _canonical_cell(genotype: Genotype) -> str:
    return _canonical_cell_text((genotype.operation, genotype.entries))


def _canonical_decoder(genotype: Genotype) -> str:
    decoder = decoder_graph(genotype.connections)
    taps = {tap: f"l{tap + 1}" for tap in range(TAPS)}
    merges = {
        number: Operation("merge", tuple(sorted(pair)))
        for number, pair in enumerate(decoder.merges, TAPS)
    }
    order = _canonical_order(taps, merges, decoder.outputs)
    names = taps | {number: f"m{position}" for position, number in enumerate(order, 1)}
    steps = [f"{names[n]}={_sum_text(merges[n].inputs, names)}" for n in order]
    return " ".join([*steps, "->", ",".join(sorted(names[end] for end in decoder.outputs))])


def _sum_text(terms: Sum, names: Mapping[int, str]) -> str:
    counts = Counter(names[term] for term in sorted(terms, key=list(names).index))
    return "+".join(name if count == 1 else f"{count}{name}" for name, count in counts.items())


def _canonical_order(
    sources: Mapping[int, str], operations: Mapping[int, Operation], outputs: Sum
) -> list[int]:
    """Order the operations so that isomorphic graphs give the same labelled text.

    Colour refinement, then, while operations remain alike, each of them in turn is singled out
    and the least result is kept (the individualisation-refinement scheme of McKay and Piperno,
    "Practical graph isomorphism, II", 2014). Twins, which read and feed the same, are exchangeable:
    one of them stands for all, which keeps wide cells cheap.
    """
    readers: dict[int, list[int]] = {number: [] for number in operations}
    depth = dict.fromkeys(sources, 0)
    for number, operation in operations.items():
        depth[number] = 1 + max((depth[term] for term in operation.inputs), default=0)
        for term in operation.inputs:
            if term in readers:
                readers[term].append(number)
    twins = {
        number: (operation, sorted(readers[number]), outputs.count(number))
        for number, operation in operations.items()
    }

    def refine(colours: dict[int, int]) -> dict[int, int]:
        while True:
            signatures = {
                number: (
                    colours[number],
                    tuple(sorted(colours[term] for term in operation.inputs)),
                    tuple(sorted(colours[reader] for reader in readers[number])),
                )
                for number, operation in operations.items()
            }
            refined = _ranks(signatures, len(sources))
            if len(set(refined.values())) == len({colours[n] for n in operations}):
                return colours
            colours = {**colours, **refined}

    def search(colours: dict[int, int]) -> tuple[list[Any], list[int]]:
        colours = refine(colours)
        order = sorted(operations, key=lambda number: colours[number])
        sizes = Counter(colours[number] for number in operations)
        group = next(
            (
                [n for n in order if colours[n] == colour]
                for colour, size in sorted(sizes.items())
                if size > 1
            ),
            [],
        )
        if not group:
            position = {number: place for place, number in enumerate([*sources, *order])}
            key: list[Any] = [
                (operations[n].name, sorted(position[term] for term in operations[n].inputs))
                for n in order
            ]
            return [*key, sorted(position[term] for term in outputs)], order
        representatives: list[int] = []
        for number in group:
            if all(twins[number] != twins[other] for other in representatives):
                representatives.append(number)
        # Half a step below its group: the singled-out operation comes first, ranks stay ordered.
        return min(
            search({n: 2 * c - (n == chosen) for n, c in colours.items()})
            for chosen in representatives
        )

    start = _ranks(
        {n: (depth[n], op.name, outputs.count(n)) for n, op in operations.items()}, len(sources)
    )
    return search({**{s: i for i, s in enumerate(sources)}, **start})[1]


def _ranks(signatures: Mapping[int, tuple[Any, ...]], first: int) -> dict[int, int]:
    ordered = sorted(set(signatures.values()))
    return {number: first + ordered.index(value) for number, value in signatures.items()}


def draw(genotype: Genotype) -> str:
    """Draw a genotype as text: what the context cell and the decoder compute, step by step."""
    cell, decoder = graphs(genotype)
    names = {0: "x"} | {number: f"n{number}" for number in cell.operations}
    lines = ["context cell (x is its input)"]
    for number, (name, inputs) in cell.operations.items():
        note = (
            "  (unused)"
            if number not in cell.live
            else "  (constant)"
            if number in cell.constant
            else ""
        )
        lines.append(f"  n{number} = {name}({_sum_text(inputs, names) or '0'}){note}")
    lines += [f"  output = {_sum_text(cell.output, names) or '0'}", "decoder (strides in brackets)"]
    for position, pair in enumerate(decoder.merges, TAPS):
        parts = " + ".join(f"cell({_map_name(end, decoder)})" for end in pair)
        lines.append(f"  {_map_name(position, decoder)} = {parts}")
    lines.append(f"  head reads {', '.join(_map_name(end, decoder) for end in decoder.outputs)}")
    return "\n".join(lines)


def _map_name(number: int, decoder: DecoderGraph) -> str:
    name = f"l{number + 1}" if number < TAPS else f"m{number - TAPS + 1}"
    return f"{name}[{4 << decoder.levels[number]}]"
