"""Shorter ways of int8 values through a graph in ONNX's QDQ form, where their numbers allow them."""

from collections import defaultdict

import onnx
from onnx import TensorProto

from export.simplify import drop_unused

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
    makers = {name: node for node in graph.node for name in node.output}
    images = {
        value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8
    }
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            value = node.input[0]
            while value in makers and makers[value].op_type in _CONVERSIONS:
                value = makers[value].input[0]
            if value in makers and makers[value].input[0] in images:
                for reader in _readers(graph)[node.output[0]]:
                    reader.input[0] = value


def _join_at_one_scale(graph: onnx.GraphProto) -> None:
    """Give values that only a concatenation reads the scale that its result has.

    They are rounded once instead of twice, and joining them is copying.
    """
    makers = {name: node for node in graph.node for name in node.output}
    readers = _readers(graph)
    outputs = {value.name for value in graph.output}

    def alone(reader: onnx.NodeProto, value: str) -> bool:
        return value not in outputs and all(other is reader for other in readers[value])

    for node in graph.node:
        if node.op_type != "Concat":
            continue
        for rounding in readers[node.output[0]]:
            if rounding.op_type != "QuantizeLinear":
                continue
            for name in node.input:
                back = makers[name]
                if back.op_type != "DequantizeLinear" or not alone(node, name):
                    continue
                there = makers[back.input[0]]
                if there.op_type == "QuantizeLinear" and alone(back, back.input[0]):
                    there.input[1:], back.input[1:] = rounding.input[1:], rounding.input[1:]


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers
