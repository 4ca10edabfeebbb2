import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.benchmarking.feeds import sample_feeds
from export.benchmarking.node_profile import (
    ADDED,
    NodeProfile,
    group_label,
    module_label,
    operator_label,
    profile_nodes,
)
from export.runtimes import Session, open_session
from export.runtimes.onnxruntime.node_times import node_times
from export.system.errors import DataError, UnavailableError


def event(name: str, start: int, duration: int, **arguments: Any) -> dict[str, Any]:
    kind = "Session" if name == "model_run" else "Node"
    return {"cat": kind, "name": name, "ts": start, "dur": duration, "args": arguments}


def write_profile(folder: Path, *events: dict[str, Any]) -> Path:
    path = folder / "profile.json"
    path.write_text(json.dumps(events))
    return path


def test_times_are_medians_over_the_last_runs(tmp_path: Path) -> None:
    events = []
    for run, (a, b) in enumerate([(9000, 9000), (100, 20), (300, 40), (110, 30)]):
        start = 20_000 * run
        events += [event("a_kernel_time", start, a), event("b_kernel_time", start + a, b)]
        events += [event("b_fence_before", start, 5), event("model_run", start, a + b)]
    found = node_times(write_profile(tmp_path, *events), 3)
    assert found == {"a": pytest.approx(0.11), "b": pytest.approx(0.03)}
    assert list(found) == ["a", "b"]


def test_nodes_in_a_subgraph_count_once(tmp_path: Path) -> None:
    events = [
        event("inside_kernel_time", 10, 20, op_name="Add"),
        event("inside_kernel_time", 40, 20, op_name="Add"),
        event("loop_kernel_time", 5, 90, op_name="Loop"),
        event("after_kernel_time", 100, 7, op_name="Add"),
        event("model_run", 0, 110),
    ]
    found = node_times(write_profile(tmp_path, *events), 1)
    assert found == {"loop": pytest.approx(0.09), "after": pytest.approx(0.007)}


@pytest.fixture(scope="module")
def profile(exported: Path) -> NodeProfile:
    with open_session(exported, threads=1) as session:
        return profile_nodes(session, sample_feeds(session), turns=2, runs=5)


def test_parts_add_up_to_the_nodes(profile: NodeProfile) -> None:
    assert profile.sum_ms > 0
    assert profile.session_ms > 0
    for label in (module_label, group_label, operator_label):
        parts = profile.parts(label)
        assert sum(part.ms for part in parts) == pytest.approx(profile.sum_ms)
        assert sum(part.share for part in parts) == pytest.approx(1)
        assert sum(part.nodes for part in parts) == len(profile.nodes)
        assert [part.ms for part in parts] == sorted((p.ms for p in parts), reverse=True)


def test_modules_of_the_network_are_found_whatever_was_fused(profile: NodeProfile) -> None:
    # The exporter gives a convolution the name of the batch norm that it folded into it.
    modules = {node.module for node in profile.nodes}
    assert {"first.1", "second.1", "deep.1", "head"} <= modules
    convolutions = Counter(node.module for node in profile.nodes if node.operator == "Conv")
    assert convolutions == {"first.1": 1, "second.1": 1, "deep.1": 1, "head": 1}
    assert {"input", "tail", "probabilities", "first", "head"} <= {
        part.name for part in profile.parts(group_label)
    }
    shapes = {node.module: node.output_shape for node in profile.nodes if node.operator == "Conv"}
    assert shapes["second.1"] == (1, 16, 16, 16)


def test_document_lists_every_node(profile: NodeProfile) -> None:
    document = json.loads(json.dumps(profile.document()))
    assert set(document) == {"sum_ms", "session_ms", "groups", "parts", "operators", "nodes"}
    assert len(document["nodes"]) == len(profile.nodes)
    assert sum(node["ms"] for node in document["nodes"]) == pytest.approx(
        document["sum_ms"], abs=0.01
    )


class Told(Session):
    """A session that says of its nodes what a test wants."""

    device = "cpu"

    def __init__(self, source: Path | str, times: dict[str, float]):
        self.source, self.times = str(source), times

    def time(self, feeds: Any, count: int) -> list[float]:
        return [10.0] * count

    def layer_times(self, feeds: Any, runs: int) -> dict[str, float]:
        return self.times

    def run_impl(self, feeds: Any) -> Any:
        raise AssertionError

    timer_impl = close_impl = run_impl  # type: ignore[assignment]


def trace(source: Path | str, *names: str) -> list[tuple[str, str | None]]:
    found = profile_nodes(Told(source, dict.fromkeys(names, 1.0)), {}, turns=1, runs=1)
    assert found.session_ms == 10
    return [(node.module, node.operator) for node in found.nodes]


@pytest.fixture(scope="module")
def convolution(exported: Path) -> onnx.NodeProto:
    nodes = onnx.load(exported).graph.node
    return next(node for node in nodes if node.name == "network.deep.1/Conv_0")


def test_grown_names_are_traced(exported: Path, convolution: onnx.NodeProto) -> None:
    name, value = convolution.name, convolution.output[0]
    nodes = onnx.load(exported).graph.node
    activation = next(node for node in nodes if value in node.input)
    grown = [
        name,
        f"{name}_token_32",
        f"{value}_nchwc",
        f"{activation.output[0]}_nchwc",
        f"InsertedPrecisionFreeCast_{value}_nchwc_token_7",
        f"{value}_quant",
        f"{name} + {activation.name}",
    ]
    assert trace(exported, *grown) == [("deep.1", "Conv")] * len(grown)


def test_what_cannot_be_traced_is_kept(exported: Path) -> None:
    assert trace(exported, "ReorderOutput_token_5", "Conv_9999") == [("", None)] * 2
    profile = profile_nodes(Told(exported, {"ReorderOutput": 2.0, "tail/Cast_0": 1.0}), {})
    assert [(part.name, part.ms) for part in profile.parts(group_label)] == [
        (ADDED, 2),
        ("tail", 1),
    ]


def test_layers_of_an_engine_go_by_their_names(tmp_path: Path) -> None:
    engine = tmp_path / "model.engine"
    engine.write_bytes(b"\x00engine")
    names = ["network.deep.1/Conv_0 + network.deep.2/Clip_0", "Reformatting CopyNode for x"]
    assert trace(engine, *names) == [("deep.1", None), ("", None)]
    assert trace("model in memory", "/backbone/stem/Conv") == [("backbone.stem", None)]


def test_nodes_without_names_are_found_by_number(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], value_float=2.0),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Softmax", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "c"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "unnamed",
        [info("x", TensorProto.FLOAT, (1, 4, 8, 8))],
        [info("y", TensorProto.FLOAT, (1, 4, 8, 8))],
    )
    path = tmp_path / "unnamed.onnx"
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    with open_session(path, threads=1) as session:
        feeds = {"x": np.ones((1, 4, 8, 8), np.float32)}
        profile = profile_nodes(session, feeds, turns=1, runs=3)
    assert [node.operator for node in profile.nodes] == ["Relu", "Softmax", "Mul"]
    assert {part.name for part in profile.parts()} == {"Relu", "Softmax", "Mul"}


def test_runtime_that_does_not_tell() -> None:
    session = Told("model.onnx", {})
    with pytest.raises(UnavailableError, match=r"model\.onnx: .* leave out --profile"):
        Session.layer_times(session, {}, 3)


def test_a_full_disk_for_temporary_files_is_said(
    exported: Path, mount: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime writes as much of its profile as there is room for, without a word."""
    disk = mount("tmpfs", "size=12k")
    with open_session(exported, threads=1) as session:
        feeds = sample_feeds(session)
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(DataError, match=r"mounted: .* make room, or let TMPDIR name another"):
            session.layer_times(feeds, 50)
    assert not list(disk.iterdir())
