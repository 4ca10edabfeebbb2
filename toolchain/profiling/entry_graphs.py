"""ONNX graphs of decoder pieces, in the node forms that the exported file has.

Exporting through torch takes seconds a network; these graphs are written directly, in a
millisecond. Weights are random, because latency does not depend on them; fp16 and int8 are made
from them by `toolchain.profiling.reduced`. What torch alone knows (the encoder, the tail) is taken
from `toolchain.profiling.parts` and included as it is.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.onnx_file.metadata import Precision
from export.onnx_file.writing import Target, part
from toolchain.graph import CellGraph, Sum
from toolchain.profiling.reduced import reduce

Array = np.ndarray[Any, np.dtype[Any]]

OPSET = 18
IR_VERSION = 10

# kernel, dilation, separable
_CONVOLUTIONS = {
    "conv1x1": (1, 1, False),
    "conv3x3": (3, 1, False),
    "sep_conv_3x3": (3, 1, True),
    "sep_conv_5x5": (5, 1, True),
    "conv3x3_dil3": (3, 3, False),
    "conv3x3_dil12": (3, 12, False),
    "sep_conv_3x3_dil3": (3, 3, True),
    "sep_conv_5x5_dil6": (5, 6, True),
}


class Map(NamedTuple):
    """A feature map in a graph: its value's name, its channels, its height and width."""

    name: str
    channels: int
    size: tuple[int, int]


class GraphBuilder:
    """Writes an ONNX graph node by node.

    Equal nodes on equal inputs are written once, as the exporter does; `model` keeps only what
    its outputs need. Each convolution has weights of its own.

    Args:
        seed: of the weights.
        precision: of the models. The input conversion and the tail stay in float, as in exported
            files.
        target: what exported files are for.
    """

    def __init__(self, seed: int = 0, precision: Precision = "fp32", target: Target = "cpu"):
        self._precision: Precision = precision
        self._target: Target = target
        # Names of nodes that stay in float.
        self._in_float: set[str] = set()
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._written: dict[Any, str] = {}

    def input(self, channels: int, size: tuple[int, int]) -> Map:
        """Add a float input [1, channels, height, width]."""
        name = f"input{len(self._inputs)}"
        shape = [1, channels, *size]
        self._inputs[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        return Map(name, channels, size)

    def include(self, model: onnx.ModelProto, prefix: str, *inputs: str) -> list[str]:
        """Add a copy of another model.

        Args:
            model: its nodes are named by their part of an exported file.
            prefix: of the names of its values here.
            inputs: values for its inputs, in order; those left out become inputs of this graph.

        Returns:
            The names of its outputs.
        """
        names = dict(zip((value.name for value in model.graph.input), inputs, strict=False))
        for value in model.graph.input[len(inputs) :]:
            names[value.name] = value.name
            self._inputs[value.name] = value

        def renamed(name: str) -> str:
            return names.get(name, f"{prefix}/{name}") if name else ""

        for tensor in model.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = renamed(tensor.name)
            self._initializers[copy.name] = copy
        for node in model.graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = map(renamed, node.input)
            copy.output[:] = map(renamed, node.output)
            copy.name = f"{prefix}/{node.name}"
            self._nodes.append(copy)
            if part(node) != "network":
                self._in_float.add(copy.name)
        return [renamed(value.name) for value in model.graph.output]

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, unless there is an equal one; return the output's name."""
        key = (kind, inputs, str(attributes))
        if key not in self._written:
            name = f"{kind.lower()}{len(self._nodes)}"
            self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
            self._written[key] = name
        return self._written[key]

    def tensor(self, values: Any) -> str:
        """Add an initializer and return its name; equal short lists are stored once."""
        key = tuple(values) if isinstance(values, list) else None
        if key is None or key not in self._written:
            name = f"tensor{len(self._initializers)}"
            self._initializers[name] = numpy_helper.from_array(np.asarray(values), name)
            if key is None:
                return name
            self._written[key] = name
        return self._written[key]

    def convolution(
        self,
        x: Map,
        outputs: int,
        kernel: int = 1,
        dilation: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> Map:
        """Convolve at stride 1 with 'same' padding, random weights and a bias."""
        shape = (outputs, x.channels // groups, kernel, kernel)
        # He et al., ICCV 2015: the variance stays the same from layer to layer.
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        weights = self._random.standard_normal(shape, np.float32) * scale
        bias = self._random.standard_normal(outputs, np.float32) * np.float32(0.1)
        y = self._convolution(x, weights, bias, dilation, groups)
        return y._replace(name=self.node("Relu", y.name)) if relu else y

    def _convolution(
        self, x: Map, weights: Array, bias: Array, dilation: int = 1, groups: int = 1
    ) -> Map:
        kernel = weights.shape[2]
        name = self.node(
            "Conv",
            x.name,
            self.tensor(weights),
            self.tensor(bias),
            group=groups,
            pads=[dilation * (kernel // 2)] * 4,
            strides=[1, 1],
            dilations=[dilation] * 2,
            kernel_shape=[kernel] * 2,
        )
        return Map(name, len(weights), x.size)

    def operation(self, kind: str, x: Map) -> Map:
        """Apply an operation of the context cell; the global average is one pixel."""
        if kind == "global_average_pool":
            mean = self.node("GlobalAveragePool", x.name)
            return self.convolution(Map(mean, x.channels, (1, 1)), x.channels)
        kernel, dilation, separable = _CONVOLUTIONS[kind]
        if not separable:
            return self.convolution(x, x.channels, kernel, dilation)
        depthwise = self.convolution(x, x.channels, kernel, dilation, x.channels, relu=False)
        return self.convolution(depthwise, x.channels)

    def project(self, x: Map) -> Map:
        """Apply a 1x1 convolution unit that keeps the channels."""
        return self.convolution(x, x.channels)

    def constant(self, channels: int, size: tuple[int, int]) -> Map:
        """Add a map that is the same for every image, of one pixel or full size."""
        values = self._random.standard_normal((1, channels, *size), np.float32)
        return Map(self.tensor(values), channels, size)

    def add(self, first: Map, second: Map) -> Map:
        """Add two maps; one of a single pixel is spread."""
        size = max(first.size, second.size)
        first, second = self.upsample(first, size), self.upsample(second, size)
        return Map(self.node("Add", first.name, second.name), first.channels, size)

    def upsample(self, x: Map, size: tuple[int, int]) -> Map:
        """Resize bilinearly, which repeats a single pixel; nothing where the sizes agree."""
        if x.size == size:
            return x
        sizes = self.tensor([1, x.channels, *size])
        form = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return Map(self.node("Resize", x.name, "", "", sizes, **form), x.channels, size)

    def cell(self, graph: CellGraph, x: Map) -> Map:
        """Apply a context cell in its pruned form."""
        values = {0: x}
        sums: dict[Sum, Map] = {}
        for number in graph.computed:
            kind, inputs = graph.operations[number]
            values[number] = self.operation(kind, self._sum(graph, inputs, values, sums))
        return self._sum(graph, graph.output, values, sums)

    def _sum(
        self, graph: CellGraph, terms: Sum, values: dict[int, Map], sums: dict[Sum, Map]
    ) -> Map:
        if terms not in sums:
            x = values[0]
            parts = [values[term] for term in terms if term in values]
            if constants := [term for term in terms if term in graph.constant]:
                pixel = all(_is_pixel(graph, term) for term in constants)
                parts.append(self.constant(x.channels, (1, 1) if pixel else x.size))
            total, *others = (self.upsample(part, x.size) for part in parts)
            for part in others:
                total = self.add(total, part)
            sums[terms] = total
        return sums[terms]

    def head(self, ends: Sequence[Map]) -> Map:
        """Join maps of one size, then ReLU and a 1x1 convolution unit."""
        joined = ends[0].name
        if ends[1:]:
            joined = self.node("Concat", *(end.name for end in ends), axis=1)
        channels = sum(end.channels for end in ends)
        relu = self.node("Relu", joined)
        return self.convolution(Map(relu, channels, ends[0].size), ends[0].channels)

    def classifier(self, x: Map, classes: int, centre: Array | None = None) -> Map:
        """Turn a map into logits.

        Args:
            x: the head's result.
            classes: number of classes.
            centre: weights of the kernel's centre and biases, [classes, channels + 1]; the other
                weights are then 0. Random when left out.
        """
        if centre is None:
            return self.convolution(x, classes, kernel=3, relu=False)
        kernel = np.zeros((classes, x.channels, 3, 3), np.float32)
        kernel[:, :, 1, 1] = centre[:, :-1]
        return self._convolution(x, kernel, centre[:, -1])

    def model(self, *outputs: Map | str, dtype: int = TensorProto.FLOAT) -> bytes:
        """Return the serialised model of what the outputs need."""
        names = [output.name if isinstance(output, Map) else output for output in outputs]
        needed, nodes = set(names), []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(node.input)
        graph = helper.make_graph(
            nodes[::-1],
            "piece",
            [value for name, value in self._inputs.items() if name in needed],
            [helper.make_tensor_value_info(name, dtype, None) for name in names],
            [tensor for name, tensor in self._initializers.items() if name in needed],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        return reduce(model, self._precision, self._in_float, self._target).SerializeToString()


def _is_pixel(graph: CellGraph, term: int) -> bool:
    """Say whether a constant operation's result is the same in every pixel."""
    kind, inputs = graph.operations[term]
    # A larger kernel sees the zeros of the padding wherever its input is not zero.
    local = kind in ("conv1x1", "global_average_pool")
    return not inputs or (local and all(_is_pixel(graph, source) for source in inputs))
