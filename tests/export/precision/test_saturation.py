import numpy as np
import pytest
from onnx import helper, numpy_helper

from export.precision.saturation import channel_limits, weight_ranges

MOST = 2**15 - 1


def stored(weights):
    steps = channel_limits(weights) / 127
    return np.rint(weights / steps.reshape(-1, 1, 1, 1)).astype(int)


def worst_sums(weights):
    """Return the largest sums of two neighbouring products with activations of 0 to 255."""
    for rows in (
        weights.reshape(len(weights), -1),
        weights.transpose(0, 2, 3, 1).reshape(len(weights), -1),
    ):
        for row in rows:
            for first, second in zip(row[::2], row[1::2], strict=False):
                for a in (0, 255):
                    yield from (abs(a * first + b * second) for b in (0, 255))


@pytest.mark.parametrize("shape", [(8, 16, 1, 1), (4, 6, 3, 3), (3, 5, 3, 3), (2, 3, 5, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_no_two_products_exceed_16_bits(shape, seed):
    weights = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    found = stored(weights)
    assert max(worst_sums(found)) <= MOST
    assert np.abs(found).max() <= 127
    # As much of the range is used as can be: one more step a channel, and something exceeds it.
    assert max(np.abs(found).max(), max(worst_sums(found)) / 255) > 125


def test_plain_scales_do_exceed_them():
    weights = np.ones((1, 4, 1, 1), np.float32)
    assert max(worst_sums(np.rint(weights * 127).astype(int))) > MOST
    assert max(worst_sums(stored(weights))) <= MOST


def test_neighbours_of_opposite_sign_and_depthwise_weights_keep_the_full_range():
    opposite = np.array([1, -1, 1, -1], np.float32).reshape(1, 4, 1, 1)
    assert stored(opposite).ravel().tolist() == [127, -127, 127, -127]
    assert stored(np.ones((4, 1, 3, 3), np.float32)).min() == 127


def test_a_channel_of_zeros_has_a_range():
    assert channel_limits(np.zeros((2, 4, 1, 1), np.float32)).min() > 0


def test_ranges_are_given_for_convolutions_by_the_name_of_their_weights():
    weights = np.random.default_rng(0).standard_normal((4, 6, 1, 1)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    other = helper.make_node("Add", ["y", "b"], ["z"])
    tensors = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(weights, "b")]
    model = helper.make_model(helper.make_graph([node, other], "g", [], [], tensors))
    ranges = weight_ranges(model)
    assert list(ranges) == ["w"]
    assert [r["rmax"] for r in ranges["w"]] == pytest.approx(channel_limits(weights))
    assert all(r["rmin"] == -r["rmax"] and r["axis"] == 0 for r in ranges["w"])
