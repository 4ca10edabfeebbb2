"""ONNX files for CPUs as NVIDIA's parsers take them; files for GPUs need nothing of this.

TensorRT moves no uint8 (a transpose of bytes is refused) and documents casts to uint8 from floats
only, whereas files for CPUs transpose bytes first, which is cheaper there, and end in operators
that it does not have. The graph that it parses is put right in memory: the tail of a file of ours
becomes the one of three operators, which gives the same labels; then bytes stand next to casts
only, and numbers of 0 to 255 stay what they are.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from export.onnx_file.simplify import drop_unused
from export.onnx_file.writing import LOGITS, part
from export.system.errors import DataError

SUFFIX = "__float"


def for_engines(model: onnx.ModelProto, source: str | Path) -> onnx.ModelProto:
    """Return a model that gives the same, as NVIDIA's parsers take it.

    Args:
        model: any model; not changed.
        source: the file's path, for messages.

    Raises:
        DataError: a node inside computes with bytes.
    """
    result = bytes_at_the_ends(model)
    node = _computes_with_bytes(result)
    if node is not None and part(node) == "tail":
        result.CopyFrom(model)
        _simplest_tail(result.graph)
        result = bytes_at_the_ends(result)
        node = _computes_with_bytes(result)
    if node is not None:
        raise DataError(
            source,
            f"computes with bytes in {node.name or node.op_type}, and TensorRT takes them only as "
            "inputs and outputs; write it again with nastool export --target gpu",
        )
    return result


def bytes_at_the_ends(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same model with a cast after each input and before each output of bytes."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    images = {value.name for value in graph.input if _is_bytes(value)}
    labels = {value.name for value in graph.output if _is_bytes(value)}
    nodes = [_cast(name, name + SUFFIX, TensorProto.FLOAT) for name in sorted(images)]
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in images:
                node.input[position] = name + SUFFIX
        if node.op_type == "Cast" and node.output[0] in labels:
            between = node.output[0] + SUFFIX
            nodes.append(_cast(node.input[0], between, TensorProto.FLOAT))
            node.input[0] = between
        nodes.append(node)
    nodes = [_copy(node) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return result


def _computes_with_bytes(model: onnx.ModelProto) -> onnx.NodeProto | None:
    graph = onnx.shape_inference.infer_shapes(model).graph
    inside = {value.name for value in (*graph.value_info, *graph.output) if _is_bytes(value)}
    inside |= {t.name for t in graph.initializer if t.data_type == TensorProto.UINT8}
    for node in graph.node:
        if node.op_type != "Cast" and inside & {*node.input, *node.output}:
            return node
    return None


def _simplest_tail(graph: onnx.GraphProto) -> None:
    """End a file of ours by upsampling all maps and taking the largest, where sizes are fixed."""
    known = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph)).graph
    sizes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*known.value_info, *known.output)
    }
    (labels,) = (value.name for value in graph.output if _is_bytes(value))
    before, after = sizes[LOGITS][2:], sizes[labels][1:]
    if not all((*before, *after)):
        return
    scales = [1.0, 1.0, *(b / a for a, b in zip(before, after, strict=True))]
    nodes = [_copy(node) for node in graph.node if part(node) != "tail"]
    nodes += [
        helper.make_node(
            "Resize",
            [LOGITS, "", "scales__tail"],
            ["full__tail"],
            name="tail/Resize_0",
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node(
            "ArgMax", ["full__tail"], ["largest__tail"], name="tail/ArgMax_0", axis=1, keepdims=0
        ),
        helper.make_node(
            "Cast", ["largest__tail"], [labels], name="tail/Cast_0", to=TensorProto.UINT8
        ),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(helper.make_tensor("scales__tail", TensorProto.FLOAT, [4], scales))
    drop_unused(graph)


def _is_bytes(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == TensorProto.UINT8


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=target, to=to)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    result = onnx.NodeProto()
    result.CopyFrom(node)
    return result
