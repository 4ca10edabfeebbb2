"""Bytes where TensorRT takes them: next to a cast, at the ends of a graph.

TensorRT moves no uint8 (a transpose of bytes is refused) and documents casts to uint8 from floats
only, whereas ONNX files for CPUs transpose bytes first, which is cheaper there. The graph that
TensorRT parses is put right in memory; numbers of 0 to 255 stay what they are.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from export.errors import DataError

SUFFIX = "__float"


def bytes_at_the_ends(model: onnx.ModelProto, source: str | Path) -> onnx.ModelProto:
    """Return the same model with uint8 only between an input or output and a cast.

    Args:
        model: any model; not changed.
        source: the file's path, for messages.

    Raises:
        DataError: a node inside computes with bytes.
    """
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
    _refuse_bytes_inside(result, labels, source)
    return result


def _refuse_bytes_inside(model: onnx.ModelProto, labels: set[str], source: str | Path) -> None:
    graph = onnx.shape_inference.infer_shapes(model).graph
    inside = {value.name for value in graph.value_info if _is_bytes(value)} | labels
    inside |= {t.name for t in graph.initializer if t.data_type == TensorProto.UINT8}
    for node in graph.node:
        if node.op_type != "Cast" and inside & {*node.input, *node.output}:
            raise DataError(
                source,
                f"computes with bytes in {node.name or node.op_type}, and TensorRT takes them only "
                "as inputs and outputs; export with --tail resize, and int8 for GPUs",
            )


def _is_bytes(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == TensorProto.UINT8


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=target, to=to)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    result = onnx.NodeProto()
    result.CopyFrom(node)
    return result
