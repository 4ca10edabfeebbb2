"""Shorter ways of int8 values through a graph in ONNX's QDQ form, where the numbers allow them."""

from collections import Counter

import onnx
from onnx import TensorProto

from export.onnx_file.simplify import drop_unused

# From bytes to the floats that a network reads; the order of the axes is changed before.
_CONVERSIONS = ("Cast", "Mul", "Sub", "Add")


def shorten(graph: onnx.GraphProto, *, zero_points: bool) -> None:
    """Change a quantised graph, in place.

    Args:
        graph: every quantised value is a QuantizeLinear and a DequantizeLinear.
        zero_points: whether they may be other than 0.
    """
    if zero_points:
        _read_bytes(graph)
    _join_at_one_scale(graph)
    drop_unused(graph)


def _read_bytes(graph: onnx.GraphProto) -> None:
    """Let the network read the image's bytes where it rounded their floats to bytes again.

    An image of -1 to 1 in 255 steps is what it was, but for half a step: its middle, 127.5, is no
    whole number.
    """
    makers = _makers(graph)
    bytes_in = {
        value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8
    }
    same: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            value = node.input[0]
            while value in makers and makers[value].op_type in _CONVERSIONS:
                value = makers[value].input[0]
            if value in makers and makers[value].input[0] in bytes_in:
                same[node.output[0]] = value
        node.input[:] = [same.get(name, name) for name in node.input]


def _join_at_one_scale(graph: onnx.GraphProto) -> None:
    """Give values that only a concatenation reads the scale that its result has.

    They are rounded once instead of twice, and joining them is copying.
    """
    makers = _makers(graph)
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    # Quantised values with the two nodes that they consist of.
    pairs = {}
    for back in graph.node:
        if back.op_type == "DequantizeLinear":
            there = makers.get(back.input[0])
            alone = readers[back.input[0]] == readers[back.output[0]] == 1
            if alone and there and there.op_type == "QuantizeLinear":
                pairs[back.output[0]] = (there, back)
    for node in graph.node:
        joint = makers.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if joint and joint.op_type == "Concat":
            for value in joint.input:
                for half in pairs.get(value, ()):
                    half.input[1:] = node.input[1:]


def _makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.node for name in node.output}
