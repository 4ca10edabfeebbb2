from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.onnx_file.writing import LOGITS, part
from export.precision.half import precision_of, size_of, to_fp16
from export.precision.quantisation import Quantiser
from export.runtimes import open_session
from export.runtimes.base import Array
from export.system.errors import DataError, UsageError

Pictures = list[tuple[str, Array]]


@pytest.fixture(scope="module")
def fp16(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return to_fp16(exported, tmp_path_factory.mktemp("fp16") / "half.onnx")


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def int8(
    request: pytest.FixtureRequest,
    exported: Path,
    pictures: Pictures,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("int8") / "eighth.onnx"
    return request.param, to_int8(exported, path, [image for _, image in pictures], request.param)


def to_int8(source: Path, path: Path, images: list[Array], target: Any = "cpu") -> Path:
    with Quantiser(source, images, target) as quantiser:
        return quantiser.write(path, ("head",))


def agreement(first: Path, second: Path, pictures: Pictures) -> float:
    with open_session(first) as one, open_session(second, float_quantised=True) as other:
        feeds = [{"image": image[None]} for _, image in pictures]
        same = [one.run(feed)["labels"] == other.run(feed)["labels"] for feed in feeds]
    return float(np.mean(same))


def test_fp16_is_half_as_large_and_nearly_the_same(
    exported: Path, fp16: Path, pictures: Pictures
) -> None:
    def weights(path: Path) -> int:
        return sum(
            numpy_helper.to_array(tensor).nbytes
            for tensor in onnx.load(path).graph.initializer
            if "weight" in tensor.name
        )

    assert weights(fp16) * 2 == weights(exported)
    assert agreement(exported, fp16, pictures) > 0.99


def test_fp16_has_one_cast_on_each_side_of_the_network(exported: Path, fp16: Path) -> None:
    def casts(path: Path) -> int:
        return Counter(node.op_type for node in onnx.load(path).graph.node)["Cast"]

    assert casts(fp16) == casts(exported) + 2


def test_int8_is_nearly_the_same(
    exported: Path, int8: tuple[str, Path], pictures: Pictures
) -> None:
    target, path = int8
    # Symmetric activations waste half their range where values are never negative.
    assert agreement(exported, path, pictures) > (0.95 if target == "cpu" else 0.9)


def test_int8_for_cpus_does_not_overflow(int8: tuple[str, Path], pictures: Pictures) -> None:
    target, path = int8
    if target == "gpu":
        pytest.skip("may overflow on CPUs")
    feeds = {"image": pictures[0][1][None]}
    with open_session(path) as fast, open_session(path, float_quantised=True) as exact:
        labels = fast.run(feeds)["labels"], exact.run(feeds)["labels"]
    assert np.mean(labels[0] == labels[1]) > 0.99


def test_int8_keeps_input_tail_and_last_convolution_in_float(int8: tuple[str, Path]) -> None:
    nodes = onnx.load(int8[1]).graph.node
    dequantised = {
        name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output
    }
    for node in nodes:
        if node.name.startswith(("input/", "tail/")):
            assert not dequantised & set(node.input)
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    in_float = [node for node in convolutions if node.input[1] not in dequantised]
    assert [list(node.output) for node in in_float] == [[LOGITS]]
    assert len(convolutions) == 4


def test_int8_types_follow_the_target(int8: tuple[str, Path]) -> None:
    target, path = int8
    graph = onnx.load(path).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    points = [
        numpy_helper.to_array(tensors[node.input[2]])
        for node in graph.node
        if node.op_type == "QuantizeLinear"
    ]
    assert {point.dtype.name for point in points} == {"uint8" if target == "cpu" else "int8"}
    if target == "gpu":
        assert not any(point.any() for point in points)
    scales = [
        numpy_helper.to_array(tensors[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0].endswith("weight_quantized")
    ]
    assert sorted(scale.size for scale in scales) == [8, 16, 16]  # one a channel


def test_metadata_survives(exported: Path, fp16: Path, int8: tuple[str, Path]) -> None:
    with open_session(exported) as session:
        expected = session.metadata
    with open_session(fp16) as session:
        assert session.metadata == expected
    with open_session(int8[1]) as session:
        assert session.metadata == expected | {"float_parts": '["head"]'}


def test_precision_is_read_from_the_file(
    exported: Path, fp16: Path, int8: tuple[str, Path]
) -> None:
    assert [precision_of(path) for path in (exported, fp16, int8[1])] == ["fp32", "fp16", "int8"]


def test_the_source_is_untouched(exported: Path, fp16: Path, int8: tuple[str, Path]) -> None:
    parts = {part(node) for node in onnx.load(exported).graph.node}
    assert parts == {"input", "network", "tail", "probabilities"}
    assert precision_of(exported) == "fp32"


def test_int8_without_images(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--calibration DATA"):
        to_int8(exported, tmp_path / "q.onnx", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("convert", [to_fp16, lambda s, p: to_int8(s, p, [])])
def test_only_our_own_files(convert, exported: Path, tmp_path: Path) -> None:
    peer = onnx.load(exported)
    peer.producer_name = "pytorch"
    source = tmp_path / "peer.onnx"
    onnx.save(peer, source)
    with pytest.raises(DataError, match="was made by pytorch, not by nastool"):
        convert(source, tmp_path / "out.onnx")
    source.write_text("nothing")
    with pytest.raises(DataError, match="is not an ONNX model"):
        convert(source, tmp_path / "out.onnx")


def product(path: Path, kind: int = TensorProto.FLOAT) -> Path:
    """Write a product with 64 x 64 weights of a kind, in a branch of an If."""
    ends = [helper.make_tensor_value_info(name, kind, [1, 64]) for name in ("x", "y", "z")]
    weights = helper.make_tensor("w", kind, [64, 64], np.zeros(64 * 64))
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "then", [], [ends[1]], [weights]
    )
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "else", [], [ends[1]])
    choice = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=other)
    yes = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    graph = helper.make_graph([choice], "product", [ends[0]], [ends[2]], [yes])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_weights_in_a_branch_have_a_precision(tmp_path: Path) -> None:
    assert precision_of(product(tmp_path / "a.onnx")) == "fp32"
    assert precision_of(product(tmp_path / "b.onnx", TensorProto.FLOAT16)) == "fp16"


def test_dynamic_int8_is_int8(tmp_path: Path) -> None:
    """Scales of activations are taken from each image: nothing is quantised but by operators."""
    from onnxruntime.quantization import quantize_dynamic

    source = onnx.load(product(tmp_path / "a.onnx"))
    (inner,) = (a.g for a in source.graph.node[0].attribute if a.name == "then_branch")
    plain = helper.make_graph(
        inner.node, "plain", source.graph.input, inner.output, inner.initializer
    )
    onnx.save(
        helper.make_model(plain, opset_imports=source.opset_import, ir_version=8),
        tmp_path / "plain.onnx",
    )
    quantize_dynamic(tmp_path / "plain.onnx", tmp_path / "dynamic.onnx")
    found = {node.op_type for node in onnx.load(tmp_path / "dynamic.onnx").graph.node}
    assert "QuantizeLinear" not in found
    assert precision_of(tmp_path / "dynamic.onnx") == "int8"


@pytest.mark.parametrize("one", [True, False])
def test_weights_in_other_files_count(exported: Path, tmp_path: Path, one: bool) -> None:
    path = tmp_path / "a.onnx"
    place = {"location": "weights.bin"} if one else {}
    onnx.save(
        onnx.load(exported),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=one,
        size_threshold=1024,
        **place,
    )
    files = list(tmp_path.iterdir())
    assert len(files) > (1 if one else 2)
    assert size_of(path) == sum(file.stat().st_size for file in files)
    assert path.stat().st_size < size_of(path)
    with open_session(path) as session:
        assert session.outputs


def test_a_file_that_is_no_onnx_has_its_own_size(tmp_path: Path) -> None:
    (tmp_path / "a.engine").write_bytes(b"\xff" * 99)
    assert size_of(tmp_path / "a.engine") == 99
