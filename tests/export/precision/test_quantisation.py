from collections.abc import Collection
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from export.onnx_file.writing import part
from export.precision.quantisation import Quantiser, choose_float_parts
from export.runtimes.base import Array

GAIN = {"first": 0.01, "second": 0.06, "third": 0.03}


def score(in_float: Collection[str]) -> float:
    return 0.7 + sum(GAIN[name] for name in in_float)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (0.69, ()),
        (0.75, ("second",)),
        (0.78, ("second", "third")),
        (0.795, ("second", "third", "first")),
        (0.99, ("second", "third", "first")),
    ],
)
def test_few_parts_with_the_largest_gain_are_chosen(wanted: float, chosen: tuple[str]) -> None:
    found = choose_float_parts(list(GAIN), score, wanted)
    assert found.names == chosen
    assert found.score == pytest.approx(score(chosen))
    assert found.all_int8 == 0.7
    assert bool(found.alone) == bool(chosen)


def test_parts_are_named_by_modules(exported: Path, pictures: list[tuple[str, Array]]) -> None:
    images = [image for _, image in pictures]
    with Quantiser(exported, images) as quantiser:
        names = [f"{unit}.{i}" for unit in ("first", "second", "deep") for i in (1, 2)]
        assert quantiser.parts == [*names, "head"]


def test_any_parts_stay_in_float(
    exported: Path, pictures: list[tuple[str, Array]], tmp_path: Path
) -> None:
    with Quantiser(exported, [image for _, image in pictures]) as quantiser:
        for in_float in ((), ("first.1",), ("head", "deep.1")):
            path = quantiser.write(tmp_path / "model.onnx", in_float)
            nodes = onnx.load(path).graph.node
            dequantised = {n.output[0] for n in nodes if n.op_type == "DequantizeLinear"}
            found = {n.name for n in nodes if n.op_type == "Conv" and n.input[1] not in dequantised}
            assert found == {f"network.{name}/Conv_0" for name in in_float}


def test_a_gpus_file_computes_nothing_of_the_network_in_float(
    exported: Path, pictures: list[tuple[str, Array]], tmp_path: Path
) -> None:
    """TensorRT computes in int8 what stands between a DequantizeLinear and a QuantizeLinear."""
    with Quantiser(exported, (image for _, image in pictures), "gpu") as quantiser:
        graph = onnx.load(quantiser.write(tmp_path / "int8.onnx")).graph
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if part(node) == "network" and not node.op_type.endswith(("Linear", "Cast")):
            before = makers.get(node.input[0])
            assert before is None or before.op_type == "DequantizeLinear", node.name
    zero_points = {
        name
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in node.input[2:]
    }
    for tensor in graph.initializer:
        if tensor.name in zero_points:
            assert not numpy_helper.to_array(tensor).any(), tensor.name
