import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export.benchmark import sample_feeds
from export.diagnosis import tiny_model
from export.runtimes import open_session


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model())
    return path


@pytest.fixture
def peer(tmp_path: Path) -> Path:
    """Make a file as others make them: float planes of free size, and a second input."""
    nodes = [
        helper.make_node("Conv", ["pixels", "weights"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["flag"], ["one"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["maps", "one"], ["scores"]),
    ]
    weights = np.ones((4, 3, 3, 3), np.float32)
    graph = helper.make_graph(
        nodes,
        "peer",
        [
            helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ("n", 3, "h", "w")),
            helper.make_tensor_value_info("flag", TensorProto.INT64, (1,)),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 4, "h", "w"))],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path / "peer.onnx"
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_document_is_as_promised(cli, tiny: Path, peer: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    result = cli(
        "benchmark", tiny, peer, "--threads", 1, "--seconds", 0.3, "--input-size", 96,
        "--raw", raw, "--json",
    )  # fmt: skip
    assert result.code == 0
    document = result.document
    assert document["environment"]["packages"]["onnxruntime"]
    assert document["settings"] == {"threads": 1}
    first, second = document["models"]
    assert first["path"] == str(tiny)
    assert first["ratio_to_first"] == 1
    assert second["ratio_to_first"] > 1
    samples = json.loads(raw.read_text())
    for model in (first, second):
        latency = model["latency_ms"]
        assert set(latency) == {"median", "p90", "p95", "p99", "iqr"}
        assert 0 < latency["median"] <= latency["p90"] <= latency["p95"] <= latency["p99"]
        assert model["fps"] == pytest.approx(1000 / latency["median"], rel=0.1)
        assert model["size_bytes"] == Path(model["path"]).stat().st_size
        assert model["predicted_ms"] is None
        assert len(samples[model["path"]]) == model["samples"] > 0
        assert np.median(samples[model["path"]]) == pytest.approx(latency["median"], abs=1e-4)


def test_text_has_a_row_for_each(cli, tiny: Path, peer: Path) -> None:
    result = cli("benchmark", tiny, peer, "--seconds", 0.1, "--input-size", 32)
    assert result.code == 0
    assert "tiny.onnx" in result.out
    assert "peer.onnx" in result.out
    assert "on cpu (threads" in result.out


def test_free_axes_and_types_are_filled_in(peer: Path) -> None:
    with open_session(peer) as session:
        feeds = sample_feeds(session, 40)
        assert feeds["pixels"].shape == (1, 3, 40, 40)
        assert feeds["pixels"].dtype == np.float32
        assert feeds["flag"].dtype == np.int64
        assert session.run(feeds)["scores"].shape == (1, 4, 40, 40)


def test_images_are_the_picture_that_was_given(tiny: Path) -> None:
    picture = np.full((20, 30, 3), 77, np.uint8)
    with open_session(tiny) as session:
        assert (sample_feeds(session, picture=picture)["image"] == 77).all()
        first, second = (sample_feeds(session)["image"] for _ in range(2))
    assert (first == second).all()
    assert first.std() > 20


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Missing argument"),
        (["none.onnx"], 2, "none.onnx: does not exist"),
        (["TINY", "none.onnx"], 2, "none.onnx: does not exist"),
        (["TINY", "--runtime", "tensorrt"], 2, "'tensorrt' is not known; known: onnxruntime"),
        (["TINY", "--device", "gpu"], 2, "device 'gpu' is not known"),
        (["TINY", "--threads", "0"], 2, "0 is not in the range"),
        (["TINY", "--seconds", "0"], 2, "0.0 is not in the range"),
        (["TINY", "--latency-table", "none.json"], 2, "none.json"),
        (["TINY", "--latency-table", "TINY"], 2, "tiny.onnx"),
        (["CUT"], 2, "cannot be opened as an ONNX model"),
        (["EMPTY"], 2, "is empty"),
        (["FOLDER"], 2, "is a folder"),
    ],
)
def test_wrong_use_is_one_line(
    cli, tiny: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "cut.onnx").write_bytes(tiny.read_bytes()[:-60])
    (tmp_path / "empty.onnx").touch()
    names = {"TINY": tiny, "CUT": tmp_path / "cut.onnx", "EMPTY": tmp_path / "empty.onnx"}
    names["FOLDER"] = tmp_path
    result = cli("benchmark", *(names.get(argument, argument) for argument in arguments))
    assert result.code == code
    assert words in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not result.out


def test_cuda_on_a_cpu_build_is_unavailable(cli, tiny: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    result = cli("benchmark", tiny, "--device", "cuda:0")
    assert (result.code, result.out) == (3, "")
    assert "pip install onnxruntime-gpu" in result.err
    assert len(result.err.strip().splitlines()) == 1
