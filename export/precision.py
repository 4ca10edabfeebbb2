"""The same network in fewer bits: fp16, and int8 with scales from the user's own images.

Only the network is converted. The input conversion and the tail stay in float: their time is in
moving bytes, and rounded logits would tie.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from export.errors import DataError, UsageError
from export.files import whole_file
from export.onnx import LOGITS, PRODUCER, part
from export.runtimes.base import Array

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Int8Recipe:
    """How a target wants its integers.

    Attributes:
        signed_activations: int8 instead of uint8.
        symmetric: every zero point 0.
        seven_bit_weights: keep weights within -64 to 64.
        float_bias: leave the biases as they are.
    """

    signed_activations: bool
    symmetric: bool
    seven_bit_weights: bool
    float_bias: bool


RECIPES: dict[Target, Int8Recipe] = {
    # x86 kernels multiply uint8 by int8. Without VNNI they add two products in 16 bits, which
    # full-range weights overflow (ONNX Runtime, "Quantize ONNX models", reduce_range).
    "cpu": Int8Recipe(False, False, True, False),
    # TensorRT takes zero points of 0 only, and adds biases in float.
    "gpu": Int8Recipe(True, True, False, True),
}


def to_fp16(source: str | Path, path: str | Path) -> Path:
    """Write an exported file again with its network in half precision.

    Raises:
        DataError: ``source`` is not a file of `export.onnx.export_onnx`.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = _read(source)
    if _is_constant(model):
        return _write(model, path)
    # Converted alone, the network gets one cast where it begins and one where it ends.
    network = _network(model)
    with _quiet():
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
    return _write(model, path)


def to_int8(
    source: str | Path,
    path: str | Path,
    images: Iterable[Array],
    *,
    target: Target = "cpu",
) -> Path:
    """Write an exported file again with its convolutions in int8 (QDQ, one scale a channel).

    The last convolution stays in float: the argmax compares its outputs directly.

    Args:
        source: a file of `export.onnx.export_onnx`.
        path: where to write.
        images: uint8 [H, W, 3] of the file's size, to take the ranges of activations from; tens
            to hundreds, like those that the model will see.
        target: whose `RECIPES` to follow.

    Raises:
        DataError: ``source`` is not such a file.
        UsageError: there are no images.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = _read(source)
    if _is_constant(model):
        return _write(model, path)
    recipe = RECIPES[target]
    images = iter(images)
    first = next(images, None)
    if first is None:
        raise UsageError("int8 needs images to take its ranges from; give --calibration DATA")
    metadata = list(model.metadata_props)
    in_float = [
        node.name for node in model.graph.node if part(node) != "network" or LOGITS in node.output
    ]
    with whole_file(path) as temporary:
        with _quiet():
            quantize_static(
                model,
                temporary,
                _Calibration(chain([first], images)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=recipe.seven_bit_weights,
                activation_type=QuantType.QInt8 if recipe.signed_activations else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=in_float,
                extra_options={
                    "ActivationSymmetric": recipe.symmetric,
                    "WeightSymmetric": True,
                    "QuantizeBias": not recipe.float_bias,
                },
            )
        result = onnx.load(temporary)
        del result.metadata_props[:]
        result.metadata_props.extend(metadata)
        result.producer_name, result.producer_version = PRODUCER, ""
        onnx.checker.check_model(result)
        onnx.save(result, temporary)
    return Path(path)


def precision_of(path: str | Path) -> Precision:
    """Tell the precision of a file by what is in it."""
    graph = onnx.load(path, load_external_data=False).graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    return "fp16" if halves else "fp32"


class _Calibration:
    """Feeds images one by one, as ONNX Runtime's calibrator asks for them."""

    def __init__(self, images: Iterable[Array]):
        self.images = iter(images)

    def get_next(self) -> dict[str, Array] | None:
        image = next(self.images, None)
        return None if image is None else {"image": np.ascontiguousarray(image[None])}


def _read(source: str | Path) -> onnx.ModelProto:
    try:
        model = onnx.load(source)
    except Exception:
        raise DataError(source, "is not an ONNX model") from None
    if model.producer_name != PRODUCER:
        raise DataError(source, f"was made by {model.producer_name or 'others'}, not by nastool")
    return model


def _is_constant(model: onnx.ModelProto) -> bool:
    """Tell whether the network has ignored its image and is gone: nothing is left to convert."""
    return not any(LOGITS in node.output for node in model.graph.node)


def _network(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network of an exported file as a model of its own."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name: value for value in [*graph.value_info, *graph.output]}
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


def _write(model: onnx.ModelProto, path: str | Path) -> Path:
    onnx.checker.check_model(model, full_check=True)
    with whole_file(path) as temporary:
        onnx.save(model, temporary)
    return Path(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the converters' advice, which is meant for their developers."""
    level: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
