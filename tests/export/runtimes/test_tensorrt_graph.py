"""Bytes at the ends of a graph: the same numbers, and nothing but casts beside them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from small_network import SIZE, make_metadata
from torch import nn

from export.checks.conformance.models import tiny_labels, tiny_model
from export.onnx_file.writing import export_onnx, part
from export.precision.half import to_fp16
from export.runtimes import open_session
from export.runtimes.tensorrt.graph import for_engines
from export.system.errors import DataError


def beside_bytes(model: onnx.ModelProto) -> set[str]:
    """Operators that read or write uint8."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    names = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.UINT8}
    return {node.op_type for node in graph.node if names & {*node.input, *node.output}}


def assert_same_labels(path: Path, after: onnx.ModelProto, pictures: list) -> None:
    with (
        open_session(path, threads=1) as session,
        open_session(after.SerializeToString(), threads=1) as changed,
    ):
        for _, picture in pictures:
            feeds = {"image": picture[None]}
            assert np.array_equal(changed.run(feeds)["labels"], session.run(feeds)["labels"])


def test_tiny_model_gives_the_same_labels() -> None:
    before = onnx.load_from_string(tiny_model())
    after = for_engines(before, "tiny")
    onnx.checker.check_model(after, full_check=True)
    assert beside_bytes(before) == {"Transpose", "Cast"}
    assert beside_bytes(after) == {"Cast"}
    assert before == onnx.load_from_string(tiny_model())
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    with open_session(after.SerializeToString(), threads=1) as session:
        assert np.array_equal(session.run({"image": image})["labels"], tiny_labels(image))


@pytest.mark.parametrize("half", [False, True])
def test_exported_file_gives_the_same_labels(
    network: nn.Module, tmp_path: Path, half: bool, pictures: list
) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(network, path, metadata=make_metadata(), input_size=SIZE, tail="resize")
    if half:
        path = to_fp16(path, tmp_path / "half.onnx")
    after = for_engines(onnx.load(path), path)
    onnx.checker.check_model(after, full_check=True)
    assert beside_bytes(after) == {"Cast"}
    assert_same_labels(path, after, pictures)


@pytest.mark.parametrize("size", [None, SIZE // 2])
@pytest.mark.parametrize("tail", ["cells", "boundaries"])
def test_tail_that_moves_bytes_becomes_the_simplest(
    network: nn.Module, tmp_path: Path, tail: str, size: int | None, pictures: list
) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(
        network, path, metadata=make_metadata(), input_size=SIZE, working_size=size, tail=tail
    )
    after = for_engines(onnx.load(path), path)
    onnx.checker.check_model(after, full_check=True)
    assert beside_bytes(after) == {"Cast"}
    tail_nodes = [node.op_type for node in after.graph.node if part(node) == "tail"]
    assert tail_nodes == ["Resize", "ArgMax", "Cast"]
    assert_same_labels(path, after, pictures)


def test_free_sizes_are_refused_with_the_remedy(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(
        network, path, metadata=make_metadata(), input_size=SIZE, any_size=True, tail="boundaries"
    )
    with pytest.raises(DataError, match="nastool export --target gpu") as caught:
        for_engines(onnx.load(path), path)
    assert str(caught.value).startswith(f"{path}: computes with bytes in tail")


@pytest.mark.parametrize("tail", ["resize", "cells"])
def test_a_file_for_gpus_is_left_as_it_is(network: nn.Module, tmp_path: Path, tail: str) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(network, path, metadata=make_metadata(), input_size=SIZE, tail=tail, target="gpu")
    assert beside_bytes(onnx.load(path)) == {"Cast"}
