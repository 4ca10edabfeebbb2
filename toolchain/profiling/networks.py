"""Whole networks as ONNX models, for fitting and certifying: many a minute, without torch."""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import onnx
from onnx import TensorProto

from export.onnx_file.metadata import Precision
from export.onnx_file.tail import DEFAULT_TAIL
from export.onnx_file.writing import Target
from export.runtimes import open_session
from toolchain.architecture import Architecture, working_image
from toolchain.genotype import TAPS, Genotype
from toolchain.graph import canonical, cell_graph, graphs
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.entry_graphs import Array, GraphBuilder, Map
from toolchain.profiling.face import face_labels, feeds
from toolchain.profiling.parts import encoder_part, tail_part

BRANCHES = (2, 3, 4)
CELLS = (2, 3, 4)


@dataclass(frozen=True)
class Shape:
    """What all networks of one latency table share.

    Attributes:
        classes: number of classes.
        image: height and width of the input, pixels.
        aggregation: channels of the decoder's maps.
        precision: of the networks.
        target: what exported files are for.
        tail: in `export.onnx_file.tail.TAILS`, what turns logits into labels.
    """

    classes: int = 19
    image: tuple[int, int] = (512, 512)
    aggregation: int = 48
    precision: Precision = "fp32"
    target: Target = "cpu"
    tail: str = DEFAULT_TAIL

    def builder(self, seed: int = 0) -> GraphBuilder:
        """Begin a graph in this precision."""
        return GraphBuilder(seed, self.precision, self.target)

    def tail_part(self, size: tuple[int, int]) -> onnx.ModelProto:
        """Return the tail for logits of a height and width."""
        return tail_part(self.classes, size, self.image, self.tail, self.target)

    def tap_sizes(self, working_size: int | None = None) -> list[tuple[int, int]]:
        """Return height and width of the four taps at a working size; see `Architecture`."""
        height, width = working_image(self.image, working_size)
        return [(-(-height // (4 << tap)), -(-width // (4 << tap))) for tap in range(TAPS)]


def random_genotypes(
    count: int, generator: random.Random, avoid: Collection[str] = ()
) -> Iterator[Genotype]:
    """Draw genotypes of mixed branches and cells, no two of which are the same network.

    Args:
        count: how many.
        generator: the source of randomness.
        avoid: canonical forms that are not wanted.
    """
    seen = set(avoid)
    while count:
        genotype = Genotype.sample(generator, generator.choice(BRANCHES), generator.choice(CELLS))
        # A network that ignores its image is no network to measure.
        constant = cell_graph(genotype.operation, genotype.entries).is_constant
        if not constant and canonical(genotype) not in seen:
            seen.add(canonical(genotype))
            count -= 1
            yield genotype


def draw_networks(
    count: int, backbones: Sequence[Backbone], seed: str, avoid: Collection[str] = ()
) -> list[Architecture]:
    """Draw random networks, the backbones in turns; see `random_genotypes`."""
    genotypes = random_genotypes(count, random.Random(seed), avoid)
    return [
        Architecture(genotype, *backbone)
        for genotype, backbone in zip(genotypes, cycle(backbones), strict=False)
    ]


def network_model(architecture: Architecture, shape: Shape | None = None, seed: int = 0) -> bytes:
    """Build the complete network: ``image`` uint8 [1, H, W, 3] -> ``labels`` uint8 [1, H, W].

    The nodes are those of the exported file of the same architecture. The weights are random but
    for the classifier, which is fitted so that the labels look like a face's.
    """
    shape = shape or Shape()
    builder = shape.builder(seed)
    features = _features(builder, architecture, shape)
    weights = _fitted_classifier(builder.model(features), features, shape.classes)
    logits = builder.classifier(features, shape.classes, weights)
    (labels,) = builder.include(shape.tail_part(logits.size), "tail", logits.name)
    return builder.model(labels, dtype=TensorProto.UINT8)


def _features(builder: GraphBuilder, architecture: Architecture, shape: Shape) -> Map:
    """Write the network up to the head's result."""
    cell, decoder = graphs(architecture.genotype)
    part = encoder_part(architecture.encoder, shape.image, architecture.working_size, shape.target)
    sizes = shape.tap_sizes(architecture.working_size)
    taps = builder.include(part, "encoder")
    pool: dict[int, Map] = {}
    for tap in decoder.taps:
        channels = part.graph.output[tap].type.tensor_type.shape.dim[1].dim_value
        pool[tap] = builder.convolution(Map(taps[tap], channels, sizes[tap]), shape.aggregation)
    for number, pair in enumerate(decoder.merges, TAPS):
        small, large = (builder.project(builder.cell(cell, pool[end])) for end in pair)
        if small.size > large.size:
            small, large = large, small
        pool[number] = builder.add(large, builder.upsample(small, large.size))
    ends = [pool[end] for end in decoder.outputs]
    largest = max(end.size for end in ends)
    return builder.head([builder.upsample(end, largest) for end in ends])


def _fitted_classifier(model: bytes, features: Map, classes: int) -> Array:
    """Return the classifier's weights [classes, channels + 1], the bias last, by ridge regression.

    Random logits would have a boundary at every pixel, which no trained network has, and the tail
    would take ten times as long.
    """
    with open_session(model) as session:
        values = session.run(feeds(session.inputs))[features.name][0]
    x = values.reshape(features.channels, -1).astype(np.float64)
    scale = np.abs(x).max() or 1.0
    x = np.vstack([x / scale, np.ones(x.shape[1])])
    labels = face_labels(classes, features.size).ravel()
    # Small classes count more, or else the large ones swallow them.
    weighted = x / np.sqrt(np.bincount(labels, minlength=classes))[labels]
    ridge = 1e-6 * np.trace(weighted @ x.T) / len(x) * np.eye(len(x))
    weights = np.linalg.solve(weighted @ x.T + ridge, weighted @ np.eye(classes)[labels]).T
    weights[:, :-1] /= scale
    return weights.astype(np.float32)
