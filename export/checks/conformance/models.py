"""Small models whose results NumPy can tell exactly.

Values are small whole numbers: exact in fp32, TF32, fp16 and int8 alike, so that a tolerance need
only cover algorithms that divide within (Winograd's).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

from export.runtimes.base import Array

OPSET = 18
IR_VERSION = 8
CHANNELS = 32
# No whole number is halfway between two multiples of 7: rounding is the same everywhere.
INT8_STEP = 7.0
Axes = Sequence[int | str]


def make(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, Axes]],
    outputs: dict[str, tuple[int, Axes]],
    tensors: dict[str, Array] | None = None,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """Build an ONNX file of nodes, of typed inputs and outputs by name, and of constants."""
    graph = helper.make_graph(
        nodes,
        "conformance",
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, *value) for name, value in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (tensors or {}).items()],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    helper.set_model_props(model, metadata or {})
    return model.SerializeToString()


def tiny_model(metadata: dict[str, str] | None = None) -> bytes:
    """Build the smallest model of the kind that we export: bytes in, convolution, labels out.

    It takes ``image``, uint8 [1, 8, 8, 3], and gives ``labels``, uint8 [1, 8, 8].
    """
    return make(
        [
            helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["planes"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["pixels", "weights"], ["logits"]),
            helper.make_node("ArgMax", ["logits"], ["largest"], axis=1, keepdims=0),
            helper.make_node("Cast", ["largest"], ["labels"], to=TensorProto.UINT8),
        ],
        {"image": (TensorProto.UINT8, (1, 8, 8, 3))},
        {"labels": (TensorProto.UINT8, (1, 8, 8))},
        {"weights": tiny_weights().reshape(3, 3, 1, 1)},
        metadata,
    )


def tiny_weights() -> Array:
    """Return the weights of `tiny_model`, float32 [labels, colours]; zeros win ties for label 0."""
    return np.array([[1, 1, 1], [2, -1, -1], [-1, 3, -2]], np.float32)


def tiny_labels(image: Array) -> Array:
    """Compute what `tiny_model` must give."""
    return (image.astype(np.int64) @ tiny_weights().T.astype(np.int64)).argmax(-1).astype(np.uint8)


def convolution_model(precision: str = "fp32", axes: Axes = (1, CHANNELS, 16, 16)) -> bytes:
    """Build a 3x3 convolution with bias, float32 ``x`` to float32 ``y``, in a precision inside."""
    weights, bias = convolution_weights()
    conv = {"pads": [1, 1, 1, 1]}
    half = TensorProto.FLOAT16
    tensors: dict[str, Any] = {"weights": weights, "bias": bias}
    nodes = [helper.make_node("Conv", ["x", "weights", "bias"], ["y"], **conv)]
    if precision == "fp16":
        tensors = {name: array.astype(np.float16) for name, array in tensors.items()}
        nodes = [
            helper.make_node("Cast", ["x"], ["half"], to=half),
            helper.make_node("Conv", ["half", "weights", "bias"], ["convolved"], **conv),
            helper.make_node("Cast", ["convolved"], ["y"], to=TensorProto.FLOAT),
        ]
    if precision == "int8":
        # The layout that quantisers write and TensorRT asks for: every zero point is 0.
        tensors = {
            "weights": weights.astype(np.int8),
            "bias": bias,
            "one": np.float32(1),
            "ones": np.ones(CHANNELS, np.float32),
            "step": np.float32(INT8_STEP),
            "zero": np.int8(0),
            "zeros": np.zeros(CHANNELS, np.int8),
        }
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["x8"]),
            helper.make_node("DequantizeLinear", ["x8", "one", "zero"], ["xf"]),
            helper.make_node("DequantizeLinear", ["weights", "ones", "zeros"], ["wf"], axis=0),
            helper.make_node("Conv", ["xf", "wf", "bias"], ["convolved"], **conv),
            helper.make_node("QuantizeLinear", ["convolved", "step", "zero"], ["y8"]),
            helper.make_node("DequantizeLinear", ["y8", "step", "zero"], ["y"]),
        ]
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    value = (TensorProto.FLOAT, axes)
    return make(nodes, {"x": value}, {"y": value}, arrays)


def convolution_weights() -> tuple[Array, Array]:
    """Return weights [32, 32, 3, 3] of -1 to 1 and a bias [32] of -3 to 3."""
    generator = np.random.default_rng(1)
    weights = generator.integers(-1, 2, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    return weights, generator.integers(-3, 4, CHANNELS).astype(np.float32)


def convolution_input(batch: int = 1, height: int = 16, width: int = 16, seed: int = 0) -> Array:
    """Return an array for `convolution_model`, of -2 to 2."""
    generator = np.random.default_rng(seed)
    return generator.integers(-2, 3, (batch, CHANNELS, height, width)).astype(np.float32)


def convolve(x: Array, precision: str = "fp32") -> Array:
    """Compute what `convolution_model` must give."""
    weights, bias = convolution_weights()
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), (2, 3))
    y = np.einsum("nchwij,kcij->nkhw", windows, weights) + bias[:, None, None]
    return np.rint(y / INT8_STEP).clip(-128, 127) * INT8_STEP if precision == "int8" else y


def resize_model() -> bytes:
    """Build a bilinear resize, float32 ``x`` [1, 2, 5, 6] to ``y`` [1, 2, 10, 12]."""
    return make(
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear")],
        {"x": (TensorProto.FLOAT, (1, 2, 5, 6))},
        {"y": (TensorProto.FLOAT, (1, 2, 10, 12))},
        {"sizes": np.array([1, 2, 10, 12], np.int64)},
    )


def resize(x: Array) -> Array:
    """Compute what `resize_model` must give: pixel centres at halves, edges repeated."""
    for axis in (2, 3):
        size = x.shape[axis]
        at = ((np.arange(2 * size) + 0.5) / 2 - 0.5).clip(0, size - 1)
        left = np.floor(at).astype(int)
        right = np.minimum(left + 1, size - 1)
        share = (at - left).reshape(-1, *(1,) * (3 - axis))
        x = np.take(x, left, axis) * (1 - share) + np.take(x, right, axis) * share
    return x


def text_model() -> bytes:
    """Build a model that goes through text, which no GPU computes: ``x`` to ``y``, float32 [4]."""
    return make(
        [
            helper.make_node("Cast", ["x"], ["text"], to=TensorProto.STRING),
            helper.make_node("Cast", ["text"], ["y"], to=TensorProto.FLOAT),
        ],
        {"x": (TensorProto.FLOAT, (4,))},
        {"y": (TensorProto.FLOAT, (4,))},
    )
