"""What precision a file has, and the same network in half precision.

Only the network is converted. The input conversion and the tail stay in float: their time is in
moving bytes, and rounded logits would tie. `export.precision.quantisation` makes int8.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx

from export.onnx_file.metadata import Precision
from export.onnx_file.writing import LOGITS, PRODUCER, part
from export.system.errors import DataError
from export.system.files import whole_file

# Operators that compute with integers: their scales come with the file, or from each image.
_INTEGER = {
    *("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"),
    *("ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
}


def to_fp16(source: str | Path, path: str | Path) -> Path:
    """Write an exported file again with its network in half precision.

    Raises:
        DataError: ``source`` is not a file of `export.onnx_file.writing.export_onnx`.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = read(source)
    if is_constant(model):
        return write(model, path)
    # Converted alone, the network gets one cast where it begins and one where it ends.
    network = _network(model)
    with quiet():
        half = convert_float_to_float16(network, keep_io_types=True)
    graph = model.graph
    nodes = [node for node in graph.node if part(node) != "network"]
    used = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    names = {tensor.name for tensor in tensors}
    for tensor in half.graph.initializer:
        if tensor.name in names:  # shared with the tail, which keeps its own
            _rename(half.graph, tensor.name, f"{tensor.name}_fp16")
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*nodes, *half.graph.node])
    graph.initializer.extend([*tensors, *half.graph.initializer])
    OnnxModel.graph_topological_sort(graph)
    return write(model, path)


def precision_of(path: str | Path) -> Precision:
    """Tell the precision of a file, ours or another's, by what is in it."""
    graphs = list(_graphs(onnx.load(path, load_external_data=False).graph))
    if any(node.op_type in _INTEGER for graph in graphs for node in graph.node):
        return "int8"
    halves = any(t.data_type == onnx.TensorProto.FLOAT16 for t in _tensors(graphs))
    return "fp16" if halves else "fp32"


def size_of(path: str | Path) -> int:
    """Return the bytes of a file and of those beside it that it keeps weights in."""
    path = Path(path)
    try:
        graphs = _graphs(onnx.load(path, load_external_data=False).graph)
    except Exception:  # an engine
        return path.stat().st_size
    pairs = {(e.key, e.value) for tensor in _tensors(graphs) for e in tensor.external_data}
    beside = {path.parent / place for key, place in pairs if key == "location"}
    return sum(file.stat().st_size for file in {path, *beside} if file.is_file())


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and those in its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _tensors(graphs: Iterable[onnx.GraphProto]) -> Iterator[onnx.TensorProto]:
    for graph in graphs:
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)


def read(source: str | Path) -> onnx.ModelProto:
    """Read a file of `export.onnx_file.writing.export_onnx`, or raise a `DataError`."""
    try:
        model = onnx.load(source)
    except Exception:
        raise DataError(source, "is not an ONNX model") from None
    if model.producer_name != PRODUCER:
        raise DataError(source, f"was made by {model.producer_name or 'others'}, not by nastool")
    return model


def is_constant(model: onnx.ModelProto) -> bool:
    """Tell whether the network has ignored its image and is gone: nothing is left to convert."""
    return not any(LOGITS in node.output for node in model.graph.node)


def _network(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network of an exported file as a model of its own."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    nodes = [node for node in graph.node if part(node) == "network"]
    made = {name for node in nodes for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    read = dict.fromkeys(name for node in nodes for name in node.input if name)
    inputs = [known[name] for name in read if name not in made and name not in tensors]
    inside = [tensors[name] for name in read if name in tensors]
    result = onnx.helper.make_graph(nodes, "network", inputs, [known[LOGITS]], inside)
    return onnx.helper.make_model(
        result, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for tensor in graph.initializer:
        if tensor.name == old:
            tensor.name = new
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new


def write(model: onnx.ModelProto, path: str | Path) -> Path:
    """Check a model and write it, whole or not at all."""
    onnx.checker.check_model(model, full_check=True)
    with whole_file(path) as temporary:
        onnx.save(model, temporary)
    return Path(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the converters' advice, which is meant for their developers."""
    level: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
