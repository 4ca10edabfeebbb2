from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.benchmarking.footprint import Footprint, measure_footprint
from export.checks.conformance.models import tiny_model
from export.system.errors import UnavailableError

MEGABYTES = 60


@pytest.fixture
def heavy(tmp_path: Path) -> Path:
    """Make a model whose weights take 60 MB."""
    weights = np.ones((MEGABYTES * 250, 1000), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, MEGABYTES * 250))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1000))],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "heavy.onnx"
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def footprint(path: Path, **feeds: np.ndarray) -> Footprint:
    return measure_footprint(path, feeds, "onnxruntime", "cpu", 1)


def test_memory_is_that_of_the_weights_and_more(heavy: Path, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.onnx"
    tiny.write_bytes(tiny_model())
    large = footprint(heavy, x=np.ones((1, MEGABYTES * 250), np.float32))
    small = footprint(tiny, image=np.zeros((1, 8, 8, 3), np.uint8))
    assert 0.9e6 * MEGABYTES < large.memory_bytes < 6e6 * MEGABYTES
    assert small.memory_bytes < 0.5e6 * MEGABYTES
    assert large.gpu_memory_bytes is None
    for found in (large, small):
        assert min(found.import_ms, found.open_ms, found.first_run_ms) > 0
    assert large.open_ms > small.open_ms


def test_document_names_its_units(tmp_path: Path) -> None:
    assert Footprint(1.234, 2, 3, 4, None).document() == {
        "memory_bytes": 4,
        "gpu_memory_bytes": None,
        "cold_start_ms": {"import": 1.23, "open": 2, "first_run": 3},
    }


def test_process_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"none\.onnx.*leave out --cold") as caught:
        footprint(tmp_path / "none.onnx")
    assert "\n" not in str(caught.value)
