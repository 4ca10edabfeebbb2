"""What torch's exporter leaves longer than by hand, made as short; in place."""

import onnx
import sympy
from onnx import TensorProto, helper, numpy_helper


def simplify(model: onnx.ModelProto) -> None:
    """Rewrite a fresh export, whose tensors' shapes the exporter has noted."""
    _pool_globally(model.graph)
    _scale_by_constants(model.graph)
    drop_unused(model.graph)


def _pool_globally(graph: onnx.GraphProto) -> None:
    """Write means over all pixels as global average pools.

    ONNX Runtime's CPU leaves its blocks of channels for a ReduceMean, and returns afterwards.
    """
    axes = {
        tensor.name: numpy_helper.to_array(tensor).tolist()
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.INT64
    }
    for node in graph.node:
        kept = {"keepdims": 1} | {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "ReduceMean" and kept["keepdims"] and axes[node.input[1]] == [2, 3]:
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]


def _scale_by_constants(graph: onnx.GraphProto) -> None:
    """Give resizes to a computed size a factor, where it is the same for every picture.

    Sizes are computed where an axis is free; a factor needs no chain of Shape nodes. It must be a
    number that float32 holds: the product is rounded down, so a factor slightly too small would
    lose a row.
    """
    known = {tensor.name for tensor in graph.initializer}
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in graph.value_info
    }
    for node in graph.node:
        if node.op_type != "Resize" or len(node.input) < 4 or node.input[3] in known:
            continue
        before, after = (
            map(sympy.sympify, shapes[name]) for name in (node.input[0], node.output[0])
        )
        factors = [sympy.simplify(b / a) for a, b in zip(before, after, strict=True)]
        if all(factor.is_number and (factor * 2**8).is_integer for factor in factors):
            name = f"{node.output[0]}_scales"
            values = [float(factor) for factor in factors]
            graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [4], values))
            node.input[2:] = [name]


def drop_unused(graph: onnx.GraphProto) -> None:
    """Drop nodes and tensors that no output needs."""
    needed = {value.name for value in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(tensors)
