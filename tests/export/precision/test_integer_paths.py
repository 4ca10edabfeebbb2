from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.precision import quantisation
from export.precision.integer_paths import shorten
from export.precision.quantisation import Quantiser
from export.runtimes import open_session
from export.runtimes.base import Array

SCALES = {"first": 0.1, "second": 0.2, "joined": 0.15}


def joining(*others: str) -> onnx.GraphProto:
    """Make a graph that joins two rounded values; ``others`` of them are outputs as well."""
    nodes, tensors = [], [numpy_helper.from_array(np.uint8(0), "zero")]

    def rounded(name: str, made: str) -> None:
        tensors.append(numpy_helper.from_array(np.float32(SCALES[name]), f"{name}/scale"))
        parameters = [f"{name}/scale", "zero"]
        nodes.append(helper.make_node("QuantizeLinear", [made, *parameters], [f"{name}/int8"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}/int8", *parameters], [name]))

    rounded("first", "x")
    rounded("second", "y")
    nodes.append(helper.make_node("Concat", ["first", "second"], ["both"], axis=1))
    rounded("joined", "both")
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels])
        for name, channels in (("x", 3), ("y", 3), ("joined", 6), ("first", 3), ("second", 3))
    }
    outputs = [values[name] for name in ("joined", *others)]
    return helper.make_graph(nodes, "joining", [values["x"], values["y"]], outputs, tensors)


def scales(graph: onnx.GraphProto) -> dict[str, float]:
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {
        node.output[0].partition("/")[0]: float(tensors[node.input[1]])
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    }


def computed(graph: onnx.GraphProto, **feeds: Array) -> dict[str, Array]:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    with open_session(model.SerializeToString()) as session:
        return session.run(feeds)


def test_values_are_joined_at_the_scale_of_the_result() -> None:
    graph = joining()
    shorten(graph, zero_points=True)
    assert scales(graph) == pytest.approx(dict.fromkeys(SCALES, 0.15))
    x, y = np.random.default_rng(0).random((2, 1, 3), np.float32)
    joined = computed(graph, x=x, y=y)["joined"]
    # Rounded once: nearer than with the other scales before.
    np.testing.assert_allclose(joined, np.hstack([x, y]), atol=0.15 / 2 + 1e-6)


def test_a_value_that_others_read_keeps_its_scale() -> None:
    graph = joining("second")
    shorten(graph, zero_points=True)
    assert scales(graph) == pytest.approx({"first": 0.15, "second": 0.2, "joined": 0.15})


def test_the_network_reads_the_image_without_converting_it(
    exported: Path,
    pictures: list[tuple[str, Array]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Their ranges are narrower than an image's can be: the bytes' scale must not follow them.
    images = [image for _, image in pictures]
    assert max(image.max() for image in images) < 200
    with Quantiser(exported, images) as quantiser:
        short = onnx.load(quantiser.write(tmp_path / "short.onnx"))
        monkeypatch.setattr(quantisation, "shorten", lambda *_, **__: None)
        long = onnx.load(quantiser.write(tmp_path / "long.onnx"))

    def conversions(model: onnx.ModelProto) -> list[str]:
        return [node.op_type for node in model.graph.node if node.name.startswith("input/")]

    assert conversions(long) == ["Transpose", "Cast", "Mul", "Sub"]
    assert conversions(short) == ["Transpose"]
    first, second = (
        computed(model.graph, image=images[0][None])["probabilities"] for model in (short, long)
    )
    np.testing.assert_allclose(first, second, atol=0.05)


def test_a_symmetric_network_reads_floats(
    exported: Path, pictures: list[tuple[str, Array]], tmp_path: Path
) -> None:
    with Quantiser(exported, [image for _, image in pictures], "gpu") as quantiser:
        model = onnx.load(quantiser.write(tmp_path / "model.onnx"))
    assert any(node.name == "input/Cast_0" for node in model.graph.node)
