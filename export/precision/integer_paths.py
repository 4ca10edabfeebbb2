"""Shorter ways of int8 values through a graph in ONNX's QDQ form, where the numbers allow them."""

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.onnx_file.simplify import drop_unused
from export.onnx_file.writing import part

# From bytes to the floats that a network reads; the order of the axes is changed before.
_CONVERSIONS = ("Cast", "Mul", "Sub", "Add")
_MOVES = ("Reshape", "Transpose")


def shorten(graph: onnx.GraphProto, *, zero_points: bool) -> None:
    """Change a quantised graph, in place.

    Args:
        graph: every quantised value is a QuantizeLinear and a DequantizeLinear.
        zero_points: whether they may be other than 0.
    """
    if zero_points:
        _add_up_bytes(graph)
        _read_bytes(graph)
    _join_at_one_scale(graph)
    drop_unused(graph)


def _add_up_bytes(graph: onnx.GraphProto) -> None:
    """Average the columns of an image in integers: their shares are whole numbers.

    It is exact, and the image's bytes, of which there are many, never become floats.
    """
    makers, images = _makers(graph), _images(graph)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for product in [node for node in graph.node if node.op_type == "MatMul"]:
        blocks = makers.get(product.input[0])
        if blocks is None or blocks.op_type != "Reshape":
            continue
        cast = makers.get(blocks.input[0])
        if cast is None or cast.op_type != "Cast" or cast.input[0] not in images:
            continue
        whole = numpy_helper.to_array(tensors[product.input[1]])
        if whole.max() > np.iinfo(np.int8).max:
            continue
        sums, weights = f"{product.output[0]}_int32", f"{product.input[1]}_int8"
        graph.initializer.append(numpy_helper.from_array(whole.astype(np.int8), weights))
        back = helper.make_node(
            "Cast", [sums], list(product.output), f"{product.name}_float", to=TensorProto.FLOAT
        )
        graph.node.insert(list(graph.node).index(product) + 1, back)
        # The blocks had the name of floats, and nothing else reads them.
        blocks.input[0], blocks.output[0] = cast.input[0], f"{blocks.output[0]}_uint8"
        product.op_type = "MatMulInteger"
        product.input[:], product.output[:] = [blocks.output[0], weights], [sums]


def _read_bytes(graph: onnx.GraphProto) -> None:
    """Let the network read the image's bytes where it rounded their floats to bytes again.

    An image of -1 to 1 in 255 steps is what it was, but for half a step: its middle, 127.5, is no
    whole number. Of an averaged image the means are rounded, and moved as bytes.
    """
    makers, images = _makers(graph), _images(graph)
    same: dict[str, str] = {}
    for node in list(graph.node):
        if node.op_type == "QuantizeLinear":
            value = node.input[0]
            while value in makers and makers[value].op_type in _CONVERSIONS:
                value = makers[value].input[0]
            maker = makers.get(value)
            if maker and maker.input[0] in images:
                same[node.output[0]] = value
            elif maker and value != node.input[0] and part(maker) == "input":
                same[node.output[0]] = _round(graph, value)
        node.input[:] = [same.get(name, name) for name in node.input]


def _round(graph: onnx.GraphProto, value: str) -> str:
    """Round floats of 0 to 255 to bytes, before they are moved; return what is moved then."""
    makers, moves = _makers(graph), []
    while makers[value].op_type in _MOVES:
        moves.append(makers[value])
        value = makers[value].input[0]
    maker = makers[value]
    place = list(graph.node).index(maker) + 1
    scale, zero, moved = f"{value}_scale", f"{value}_zero", f"{value}_uint8"
    graph.initializer.append(numpy_helper.from_array(np.float32(1), scale))
    graph.initializer.append(numpy_helper.from_array(np.uint8(0), zero))
    name = f"{maker.name}_round"
    nodes = [helper.make_node("QuantizeLinear", [value, scale, zero], [moved], name)]
    for move in reversed(moves):
        node = onnx.NodeProto()
        node.CopyFrom(move)
        node.name, node.input[0], node.output[0] = f"{move.name}_uint8", moved, f"{moved}_moved"
        moved = node.output[0]
        nodes.append(node)
    for node in reversed(nodes):
        graph.node.insert(place, node)
    return moved


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


def _images(graph: onnx.GraphProto) -> set[str]:
    return {
        value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8
    }


def _makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.node for name in node.output}
