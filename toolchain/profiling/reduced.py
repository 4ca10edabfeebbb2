"""Timing graphs in half precision and int8, in the node forms that the exported files have.

Latency does not depend on numbers, so nothing is calibrated here: activations get assumed ranges,
and a whole network is converted in less than a tenth of a second. `half.to_fp16` and
`quantisation.Quantiser` of `export.precision` convert what is to be used.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.onnx_file.metadata import Precision
from export.onnx_file.writing import Target
from export.precision.integer_paths import shorten
from export.precision.quantisation import RECIPES, Int8Recipe

Array = np.ndarray[Any, np.dtype[Any]]

RANGE = 6.0
"""Activations are taken for 0 to this after ReLU and Clip, and for minus to plus this elsewhere."""

# What `quantize_static` does with the operators of a network; others stay in float.
_ACTIVATIONS = ("Relu", "Clip")
_ARITHMETIC = ("Add", "Concat", "GlobalAveragePool", "Mul")
# The result has numbers of the input, or means of them, and its scale.
_MOVES = ("MaxPool", "Resize", "Slice", "Reshape", "Transpose")


def reduce(
    model: onnx.ModelProto,
    precision: Precision,
    in_float: Collection[str] = (),
    target: Target = "cpu",
) -> onnx.ModelProto:
    """Convert a graph whose numbers do not matter; its inputs and outputs keep their types.

    Args:
        model: in fp32; may be changed.
        precision: to convert to.
        in_float: names of nodes that stay in fp32.
        target: whose `export.precision.quantisation.RECIPES` int8 follows.
    """
    if precision == "fp16":
        _halve(model.graph, in_float)
    if precision == "int8":
        _Quantisation(model.graph, in_float, RECIPES[target]).write()
    return model


def _halve(graph: onnx.GraphProto, in_float: Collection[str]) -> None:
    """Compute in half precision, with one cast of each value that enters or leaves it."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    left = set(in_float)
    halves = {name for n in graph.node if n.name not in left for name in n.output}
    nodes: list[onnx.NodeProto] = []
    written: set[str] = set()

    def cast(name: str, result: str, to: int) -> str:
        if result not in written:
            written.add(result)
            nodes.append(helper.make_node("Cast", [name], [result], f"{result}/cast", to=to))
        return result

    def half(name: str) -> str:
        result = f"{name}/half"
        if name not in tensors:
            return result if name in halves else cast(name, result, TensorProto.FLOAT16)
        if tensors[name].data_type != TensorProto.FLOAT:
            return name
        if result not in tensors:
            values = numpy_helper.to_array(tensors[name]).astype(np.float16)
            tensors[result] = numpy_helper.from_array(values, result)
        return result

    for node in graph.node:
        in_half = node.name not in left
        for i, name in enumerate(node.input):
            if not in_half and name in halves:
                node.input[i] = cast(f"{name}/half", name, TensorProto.FLOAT)
            elif in_half and name and not (node.op_type == "Resize" and i):
                # The factors of a resize stay in float.
                node.input[i] = half(name)
        nodes.append(node)
        if in_half:
            made = list(node.output)
            node.output[:] = [f"{name}/half" for name in made]
            for name in outputs.intersection(made):
                cast(f"{name}/half", name, TensorProto.FLOAT)
    _replace(graph, nodes, tensors)


def _replace(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], tensors: dict[str, onnx.TensorProto]
) -> None:
    """Give a graph other nodes, and those of the tensors that they read."""
    used = {name for node in nodes for name in node.input}
    used.update(value.name for value in graph.output)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensor for name, tensor in tensors.items() if name in used)


class _Quantisation:
    """Puts QuantizeLinear and DequantizeLinear into a graph where `quantize_static` does."""

    def __init__(self, graph: onnx.GraphProto, in_float: Collection[str], recipe: Int8Recipe):
        self._graph = graph
        self._recipe = recipe
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._outputs = {value.name for value in graph.output}
        left = set(in_float)
        self._quantised = [node for node in graph.node if node.name not in left]
        # Each quantised value, and the one that it has its scale from.
        self._sources: dict[str, str] = {}
        # Values whose activation goes, because their range says the same, and its result.
        self._absorbed: dict[str, str] = {}
        self._nodes: list[onnx.NodeProto] = []
        # What the readers of a quantised value read instead.
        self._dequantised: dict[str, str] = {}

    def write(self) -> None:
        """Change the graph."""
        self._mark()
        convolutions = {node.output[0] for node in self._quantised if node.op_type == "Conv"}
        removed = set(self._absorbed.values())
        for value in self._graph.input:
            self._quantise(value.name, value.name)
        for node in self._graph.node:
            if node.output[0] in removed:
                continue
            for name in node.input:
                if name in self._tensors and name in self._sources:
                    self._quantise_constant(name)
            if node.output[0] in convolutions:
                self._quantise_weights(node)
            node.input[:] = [self._dequantised.get(name, name) for name in node.input]
            made = node.output[0]
            while made in self._absorbed:
                made = self._absorbed[made]
            inner = f"{made}/float" if made in self._sources and made in self._outputs else made
            node.output[0] = inner
            self._nodes.append(node)
            self._quantise(made, inner)
        _replace(self._graph, self._nodes, self._tensors)
        shorten(self._graph, zero_points=not self._recipe.symmetric)

    def _mark(self) -> None:
        """Find the values to quantise and the activations to leave out."""
        readers = Counter(name for node in self._graph.node for name in node.input)
        kept = self._outputs | {value.name for value in self._graph.input}
        for node in self._quantised:
            x, y = node.input[0], node.output[0]
            marked: list[str] = []
            if node.op_type == "Conv":
                marked = [x, y]
            elif node.op_type in _ARITHMETIC:
                marked = [*node.input, y]
            elif node.op_type in _ACTIVATIONS and x in self._sources:
                marked = [y]
                if not self._recipe.symmetric and readers[x] == 1 and x not in kept:
                    self._absorbed[x] = y
                    del self._sources[x]
            elif node.op_type in _MOVES and x in self._sources:
                self._sources[y] = self._sources[x]
            for name in marked:
                self._sources.setdefault(name, name)
        self._positive = {n.output[0] for n in self._graph.node if n.op_type in _ACTIVATIONS}

    def _quantise(self, name: str, made: str) -> None:
        """Round an activation, which the graph makes by the name ``made``."""
        if name not in self._sources:
            return
        scale, zero = self._scale(self._sources[name])
        # A graph output keeps its name, after rounding.
        dequantised = name if made != name else f"{name}/dequantised"
        self._node("QuantizeLinear", [made, scale, zero], f"{name}/quantised")
        self._node("DequantizeLinear", [f"{name}/quantised", scale, zero], dequantised)
        self._dequantised[name] = dequantised

    def _quantise_constant(self, name: str) -> None:
        """Store a constant map in the integers of activations."""
        if name in self._dequantised:
            return
        scale, zero = self._scale(self._sources[name])
        step, offset = (numpy_helper.to_array(self._tensors[n]) for n in (scale, zero))
        limits = np.iinfo(offset.dtype)
        values = np.rint(numpy_helper.to_array(self._tensors[name]) / step) + offset
        stored = self._tensor(f"{name}/stored", values.clip(limits.min, limits.max), offset.dtype)
        self._dequantised[name] = f"{name}/dequantised"
        self._node("DequantizeLinear", [stored, scale, zero], self._dequantised[name])

    def _quantise_weights(self, node: onnx.NodeProto) -> None:
        """Store a convolution's weights in int8 and its bias in int32, a scale a channel."""
        weights = numpy_helper.to_array(self._tensors[node.input[1]])
        largest = np.abs(weights).reshape(len(weights), -1).max(1)
        steps = np.where(largest, largest, 1).astype(np.float32) / np.float32(127)
        values = np.rint(weights / steps.reshape(-1, 1, 1, 1))
        node.input[1] = self._per_channel(node.input[1], values, np.int8, steps)
        if len(node.input) == 3 and not self._recipe.float_bias:
            scale, _ = self._scale(self._sources[node.input[0]])
            bias_steps = steps * numpy_helper.to_array(self._tensors[scale])
            values = np.rint(numpy_helper.to_array(self._tensors[node.input[2]]) / bias_steps)
            # Named by its reader: convolutions may share a bias, but not their scales.
            name = f"{node.output[0]}/bias"
            node.input[2] = self._per_channel(name, values, np.int32, bias_steps)

    def _per_channel(self, name: str, values: Array, dtype: Any, steps: Array) -> str:
        """Store integers with scales along their first axis; return the value in float."""
        result = f"{name}/dequantised"
        if f"{name}/stored" not in self._tensors:
            stored = self._tensor(f"{name}/stored", values, dtype)
            scale = self._tensor(f"{name}/scale", steps, np.float32)
            zero = self._tensor(f"{name}/zero", np.zeros(len(steps)), dtype)
            self._node("DequantizeLinear", [stored, scale, zero], result, axis=0)
        return result

    def _scale(self, source: str) -> tuple[str, str]:
        """Return the scale and the zero point of a range, as names of tensors."""
        signed, symmetric = self._recipe.signed_activations, self._recipe.symmetric
        dtype = np.int8 if signed else np.uint8
        lowest = 0.0 if source in self._positive and not symmetric else -RANGE
        limits = np.iinfo(dtype)
        step = (RANGE - lowest) / (limits.max - limits.min)
        zero = 0 if symmetric else limits.min + round(-lowest / step)
        kind = "positive" if lowest == 0 else "signed"
        return (
            self._tensor(f"{kind}/scale", step, np.float32),
            self._tensor(f"{kind}/zero", zero, dtype),
        )

    def _tensor(self, name: str, values: Any, dtype: Any) -> str:
        if name not in self._tensors:
            self._tensors[name] = numpy_helper.from_array(np.asarray(values).astype(dtype), name)
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(
            helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes)
        )
