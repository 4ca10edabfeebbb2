"""What a latency table has entries for, and how each is measured: as a difference of two graphs.

A graph with n copies of a unit and the same graph with more copies differ by what the unit costs
inside a network; layout changes at the borders, and the overhead of a session, are in both. Where
a copy cannot be had alone, it comes with units that are measured themselves and subtracted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from toolchain.genotype import OPERATIONS
from toolchain.networks.blueprint import Unit
from toolchain.networks.encoders import describe_encoder
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.entry_graphs import Array, GraphBuilder, Map
from toolchain.profiling.networks import Shape
from toolchain.profiling.parts import encoder_part

HEADS = 4
"""Heads of up to this many maps are measured; wider ones are extrapolated."""

_CHEAP_FLOPS = 2e8
Size = tuple[int, int]
Step = Callable[[GraphBuilder, Map], Map]


@dataclass(frozen=True)
class Recipe:
    """How units are measured.

    Attributes:
        build: makes the graph with a number of copies.
        copies: of the two graphs; a graph of 0 copies that is no graph costs nothing.
        units: the units that the measurement gives, each with those that a copy holds besides.
        method: in words.
    """

    build: Callable[[int], bytes | None]
    copies: tuple[int, int]
    units: Mapping[Unit, tuple[Unit, ...]]
    method: str

    @property
    def models(self) -> list[bytes]:
        """The graphs, the one with fewer copies first."""
        return [model for n in self.copies if (model := self.build(n))]


class Difference(NamedTuple):
    """A measured recipe: milliseconds of one copy, the spread over the turns, their number."""

    latency_ms: float
    iqr_ms: float
    samples: int


def recipes(shape: Shape, backbones: Sequence[Backbone]) -> list[Recipe]:
    """List everything to measure for a table.

    Any genotype on any of the backbones consists of units that these recipes give; heads of more
    than `HEADS` maps apart. What several backbones have in common is listed once.
    """
    taps = {each.working_size: shape.tap_sizes(each.working_size) for each in backbones}
    result: list[Recipe] = []
    for size in dict.fromkeys(size for sizes in taps.values() for size in sizes):
        result += _level(shape, size)
    for large, small in dict.fromkeys(
        pair for sizes in taps.values() for pair in combinations(sizes, 2)
    ):
        if large != small:
            result.append(_upsample(shape, small, large))
    adapted: dict[Unit, Recipe] = {}
    for backbone in backbones:
        result += [_stage(shape, backbone, number) for number in range(1, 5)]
        channels_of_taps = describe_encoder(backbone.encoder).taps
        for channels, size in zip(channels_of_taps, taps[backbone.working_size], strict=True):
            unit = Unit("adapt", channels, shape.aggregation, size, size)
            adapted.setdefault(unit, _adapt(shape, unit))
    return [*result, *adapted.values()]


def solve(measured: Iterable[tuple[Recipe, Difference]]) -> Iterator[tuple[Unit, Difference, str]]:
    """Turn measured recipes into units: subtract what was measured along.

    Yields:
        Each unit, its own latency, and the method in words.
    """
    given = [
        (unit, less, difference, recipe.method)
        for recipe, difference in measured
        for unit, less in recipe.units.items()
    ]
    alone = {unit: difference.latency_ms for unit, less, difference, _ in given if not less}
    for unit, less, difference, method in given:
        rest = difference.latency_ms - sum(alone[other] for other in less)
        words = f"{method}, less {', '.join(sorted({u.kind for u in less}))}" if less else method
        yield unit, difference._replace(latency_ms=max(rest, 0.0)), words


def difference(times: Array, copies: tuple[int, int]) -> Difference:
    """Reduce the times of a recipe's graphs, turn by turn, to what one copy costs.

    Args:
        times: [graphs, turns], milliseconds of each graph in every turn; of the larger graph alone
            where the smaller one is none.
        copies: of the two graphs.
    """
    short = np.array(times[0]) if len(times) == 2 else 0.0
    each = (np.array(times[-1]) - short) / (copies[1] - copies[0])
    low, median, high = np.percentile(each, [25, 50, 75])
    return Difference(float(median), float(high - low), len(each))


def _operate(kind: str, builder: GraphBuilder, x: Map) -> Map:
    return builder.operation(kind, x)


def _project_and_average(builder: GraphBuilder, x: Map) -> Map:
    # A chain of averages alone would be of single pixels; the projection sets the layout.
    x = builder.project(x)
    return builder.add(x, builder.operation("global_average_pool", x))


def _project_and_join(maps: int, builder: GraphBuilder, x: Map) -> Map:
    return builder.head([builder.project(x) for _ in range(maps)])


def _level(shape: Shape, size: Size) -> Iterator[Recipe]:
    """List what is measured at one resolution."""
    c = shape.aggregation
    add, project = Unit("add", c, c, size, size), Unit("project", c, c, size, size)

    def chained(unit: Unit, step: Step, *less: Unit) -> Recipe:
        def build(copies: int) -> bytes:
            builder = shape.builder()
            x = builder.input(c, size)
            for _ in range(copies):
                x = step(builder, x)
            return builder.model(x)

        copies = (2, 8) if unit.flops < _CHEAP_FLOPS else (2, 4)
        return Recipe(build, copies, {unit: less}, f"chain of {copies[1]} - {copies[0]}")

    yield chained(project, GraphBuilder.project)
    for kind in OPERATIONS:
        unit = Unit(kind, c, c, size, size)
        if kind == "global_average_pool":
            yield chained(unit, _project_and_average, project, add)
        elif kind not in ("skip_connect", "none"):
            yield chained(unit, partial(_operate, kind))
    for maps in range(1, HEADS + 1):
        unit = Unit("head", maps * c, c, size, size)
        yield chained(unit, partial(_project_and_join, maps), *[project] * maps)

    def sums(copies: int) -> bytes:
        builder = shape.builder()
        x = builder.input(c, size)
        first, second = builder.project(x), builder.project(x)
        for _ in range(copies):
            first, second = second, builder.add(first, second)
        return builder.model(second)

    yield Recipe(sums, (2, 8), {add: ()}, "chain of 8 - 2")

    def constants(copies: int) -> bytes:
        builder = shape.builder()
        x = builder.input(c, size)
        for position in range(6):
            x = builder.project(x)
            if position < copies:
                x = builder.add(x, builder.constant(c, (1, 1)))
        return builder.model(builder.project(x))

    yield Recipe(
        constants, (0, 6), {Unit("constant", c, c, size, size): ()}, "chain with 6 - without"
    )
    yield from _logits(shape, size)


def _logits(shape: Shape, size: Size) -> Iterator[Recipe]:
    classifier = Unit("classifier", shape.aggregation, shape.classes, size, size)
    labels = Unit("labels", shape.classes, 1, size, shape.image)

    def sums(copies: int) -> bytes:
        builder = shape.builder()
        x = builder.project(builder.input(shape.aggregation, size))
        total = builder.classifier(x, shape.classes)
        for _ in range(copies):
            total = builder.add(total, builder.classifier(x, shape.classes))
        return builder.model(total)

    def tails(copies: int) -> bytes:
        builder = shape.builder()
        x = builder.input(shape.aggregation, size)
        tail = shape.tail_part(size)
        outputs = []
        for copy in range(copies):
            # The feature maps are a face's classes: pick them, and the labels are a face's.
            pick = np.eye(shape.classes, shape.aggregation + 1, dtype=np.float32) * (1 + copy)
            logits = builder.classifier(x, shape.classes, pick)
            outputs += builder.include(tail, f"tail{copy}", logits.name)
        return builder.model(*outputs, dtype=TensorProto.UINT8)

    def constants(copies: int) -> bytes | None:
        if not copies:
            return None
        builder = shape.builder()
        logits = builder.upsample(builder.constant(shape.classes, (1, 1)), size)
        labels = builder.include(shape.tail_part(size), "tail", logits.name)
        return builder.model(*labels, dtype=TensorProto.UINT8)

    ignored = Unit("constant", shape.classes, shape.classes, size, size)
    yield Recipe(constants, (0, 1), {ignored: ()}, "labels that ignore the image")
    # A runtime fuses the sum with the convolution in front of it.
    yield Recipe(sums, (1, 4), {classifier: ()}, "sum of 5 - 2")
    yield Recipe(tails, (1, 2), {labels: (classifier,)}, "2 - 1 classifiers with labels")


def _upsample(shape: Shape, small: Size, large: Size) -> Recipe:
    c = shape.aggregation

    def build(copies: int) -> bytes:
        builder = shape.builder()
        x, total = builder.input(c, small), builder.project(builder.input(c, large))
        for _ in range(copies):
            total = builder.add(total, builder.upsample(builder.project(x), large))
        return builder.model(total)

    project = Unit("project", c, c, small, small)
    add = Unit("add", c, c, large, large)
    units = {
        Unit("upsample_add", c, c, small, large): (project,),
        Unit("upsample", c, c, small, large): (project, add),
    }
    return Recipe(build, (1, 5), units, "chain of 5 - 1")


def _adapt(shape: Shape, unit: Unit) -> Recipe:
    c = shape.aggregation

    def build(copies: int) -> bytes:
        builder = shape.builder()
        x = builder.input(unit.inputs, unit.size)
        total = builder.convolution(x, c)
        for _ in range(copies):
            total = builder.add(total, builder.convolution(x, c))
        return builder.model(total)

    return Recipe(build, (1, 7), {unit: (Unit("add", c, c, unit.size, unit.size),)}, "sum of 8 - 2")


def _stage(shape: Shape, backbone: Backbone, number: int) -> Recipe:
    encoder, working_size = backbone

    def build(stages: int) -> bytes | None:
        if not stages:
            return None
        builder = shape.builder()
        part = encoder_part(encoder, shape.image, working_size, shape.target)
        return builder.model(builder.include(part, "encoder")[stages - 1])

    taps, sizes = describe_encoder(encoder).taps, shape.tap_sizes(working_size)
    first = number == 1
    unit = Unit(
        f"stage{number}",
        3 if first else taps[number - 2],
        taps[number - 1],
        shape.image if first else sizes[number - 2],
        sizes[number - 1],
        encoder,
    )
    method = "image to tap 1" if first else f"image to tap {number} - to tap {number - 1}"
    return Recipe(build, (number - 1, number), {unit: ()}, method)
