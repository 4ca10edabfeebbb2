"""Ranges of int8 weights that no x86 processor's arithmetic cuts off.

Without VNNI instructions, ONNX Runtime's kernels multiply activations (0 to 255) by weights (-127
to 127) and add the products of two neighbours in 16 bits, saturating (Intel, "Intrinsics Guide",
``_mm256_maddubs_epi16``). Two large weights of one sign next to each other can exceed that. The
usual cure, 7 bits for everything (ONNX Runtime, "Quantize ONNX models", ``reduce_range``), halves
the resolution of activations and weights alike. Here a channel's scale grows only as far as its own
largest pair demands, by a sixth on average, and nothing can be cut off.
"""

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from export.onnx_file.writing import part

Array = np.ndarray[Any, np.dtype[Any]]


def weight_ranges(model: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Return the range of the network's weights by channel, as overrides of the quantiser."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    ranges = {}
    for node in model.graph.node:
        if node.op_type == "Conv" and part(node) == "network" and node.input[1] in weights:
            limits = channel_limits(numpy_helper.to_array(weights[node.input[1]]))
            ranges[node.input[1]] = [
                {"axis": 0, "rmin": -float(limit), "rmax": float(limit)} for limit in limits
            ]
    return ranges


def channel_limits(weights: Array) -> Array:
    """Return, for each output channel, the magnitude that is to become 127.

    255 x 128 is the most that 16 bits hold, and rounding may add 1 to a pair.

    Args:
        weights: of a convolution, [outputs, inputs of a group, height, width].
    """
    flat = weights.reshape(len(weights), -1)
    largest = np.abs(flat).max(1)
    if weights.shape[1] > 1:
        # Neighbours are channels or pixels, depending on the layout that the runtime chooses.
        # Depthwise kernels add in 32 bits.
        channels_last = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)
        pairs = np.maximum(_largest_pair(flat), _largest_pair(channels_last))
        largest = np.maximum(largest, pairs)
    return np.maximum(largest, np.finfo(np.float32).tiny)


def _largest_pair(rows: Array) -> Array:
    """Return the largest sum in magnitude of two neighbours of one sign, by row."""
    even = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    first, second = even[:, ::2], even[:, 1::2]
    return np.where(first * second > 0, np.abs(first + second), 0).max(1)
