from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.benchmarking.feeds import sample_feeds
from export.checks.conformance.models import tiny_model
from export.runtimes import open_session
from export.system.errors import DataError


def model(node: onnx.NodeProto, *inputs: onnx.ValueInfoProto) -> bytes:
    """Build a model of one node whose output is ``y``."""
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", inputs, [output])
    opset = helper.make_opsetid("", 18)
    built = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return built.SerializeToString()


def test_free_axes_and_types_are_filled_in() -> None:
    info = helper.make_tensor_value_info
    where = model(
        helper.make_node("Where", ["mask", "pixels", "scale"], ["y"]),
        info("mask", TensorProto.BOOL, ("n", 3, "h", "w")),
        info("pixels", TensorProto.FLOAT, ("n", 3, "h", "w")),
        info("scale", TensorProto.FLOAT, ()),
    )
    with open_session(where) as session:
        feeds = sample_feeds(session, 40)
        assert session.run(feeds)["y"].shape == (1, 3, 40, 40)
    assert {name: array.dtype for name, array in feeds.items()} == {
        "mask": np.bool_,
        "pixels": np.float32,
        "scale": np.float32,
    }
    assert feeds["pixels"].std() > 0.9


def test_images_are_the_picture_that_was_given(tmp_path: Path) -> None:
    picture = np.full((20, 30, 3), 77, np.uint8)
    with open_session(tiny_model()) as session:
        assert (sample_feeds(session, picture=picture)["image"] == 77).all()
        first, second = (sample_feeds(session)["image"] for _ in range(2))
    assert (first == second).all()
    assert first.std() > 20


def test_free_axes_that_do_not_fit_together_are_named() -> None:
    info = helper.make_tensor_value_info
    product = model(
        helper.make_node("MatMul", ["a", "b"], ["y"]),
        info("a", TensorProto.FLOAT, ("n", "k")),
        info("b", TensorProto.FLOAT, (7, 5)),
    )
    with open_session(product) as session:
        assert sample_feeds(session, 7)["a"].shape == (1, 7)
        words = r"were set to 1 and 40 .*try another --input-size"
        with pytest.raises(DataError, match=words) as caught:
            sample_feeds(session, 40)
    assert str(caught.value).count("model in memory") == 1
