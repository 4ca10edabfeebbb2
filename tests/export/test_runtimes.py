"""What every runtime must do, and what happens to files that are no models."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export.diagnosis import tiny_model
from export.errors import DataError, UnavailableError, UsageError
from export.runtimes import RUNTIMES, get_runtime, open_session

IMAGE = np.zeros((1, 8, 8, 3), np.uint8)


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return request.param


def test_session_describes_itself(runtime: str) -> None:
    with open_session(tiny_model(), runtime, threads=1) as session:
        (image,), (labels,) = session.inputs, session.outputs
    assert (image.name, image.shape, image.dtype) == ("image", (1, 8, 8, 3), np.uint8)
    assert (labels.name, labels.shape, labels.dtype) == ("labels", (1, 8, 8), np.uint8)
    assert session.device == "cpu"
    assert session.settings == {"threads": 1}


def test_run_gives_labels(runtime: str) -> None:
    with open_session(tiny_model(), runtime) as session:
        labels = session.run({"image": IMAGE + 7})["labels"]
    assert labels.shape == (1, 8, 8)
    assert not labels.any()


def test_run_takes_arrays_that_are_not_contiguous(runtime: str) -> None:
    with open_session(tiny_model(), runtime) as session:
        assert session.run({"image": (IMAGE + 7)[:, :, ::-1]})["labels"].shape == (1, 8, 8)


def test_time_gives_one_positive_number_a_run(runtime: str) -> None:
    with open_session(tiny_model(), runtime) as session:
        times = session.time({"image": IMAGE}, 7)
    assert len(times) == 7
    assert min(times) > 0


def test_closing_twice_is_harmless(runtime: str) -> None:
    session = open_session(tiny_model(), runtime)
    session.close()
    session.close()


def test_metadata_and_path(runtime: str, exported: Path) -> None:
    with open_session(exported, runtime) as session:
        assert session.metadata["encoder"] == "mobilenetv2"
        assert session.source == str(exported)


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, "input 'image' is missing"),
        ({"image": IMAGE, "mask": IMAGE}, "no input 'mask'; it takes image uint8 [1, 8, 8, 3]"),
        ({"image": IMAGE.astype(np.float32)}, "was given image float32 [1, 8, 8, 3]"),
        ({"image": IMAGE[:, :4]}, "was given image uint8 [1, 4, 8, 3]"),
        ({"image": IMAGE[0]}, "was given image uint8 [8, 8, 3]"),
    ],
)
def test_wrong_feeds(runtime: str, feeds: dict[str, np.ndarray], words: str) -> None:
    with open_session(tiny_model(), runtime) as session:
        for call in (session.run, lambda feeds: session.time(feeds, 1)):
            with pytest.raises(UsageError) as caught:
                call(feeds)
            assert words in str(caught.value)


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    def write(name: str, content: bytes) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    model = onnx.load_from_string(tiny_model())
    future = onnx.ModelProto()
    future.CopyFrom(model)
    future.opset_import[0].version = 99
    unknown = onnx.ModelProto()
    unknown.CopyFrom(model)
    unknown.graph.node[2].op_type = "Convolve"
    return {
        "missing": (folder / "none.onnx", "does not exist"),
        "folder": (folder, "is a folder"),
        "empty": (write("empty.onnx", b""), "is empty"),
        "not ONNX": (write("text.onnx", b"not a model at all"), "cannot be opened as an ONNX"),
        "truncated": (write("cut.onnx", tiny_model()[:-60]), "cannot be opened as an ONNX"),
        "unknown operator": (
            write("operator.onnx", unknown.SerializeToString()),
            "cannot be opened as an ONNX",
        ),
        "opset too new": (
            write("future.onnx", future.SerializeToString()),
            "is newer than onnxruntime",
        ),
    }


KINDS = ("missing", "folder", "empty", "not ONNX", "truncated", "unknown operator", "opset too new")


@pytest.mark.parametrize("kind", KINDS)
def test_broken_file_is_one_line_with_its_name(runtime: str, kind: str, tmp_path: Path) -> None:
    path, words = broken_files(tmp_path)[kind]
    with pytest.raises(DataError) as caught:
        open_session(path, runtime)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_model_in_memory_is_named_so(runtime: str) -> None:
    with pytest.raises(DataError, match="model in memory: cannot be opened"):
        open_session(b"nothing", runtime)


def test_unknown_runtime_lists_the_known() -> None:
    with pytest.raises(UsageError, match="'tensorflow' is not known; known: onnxruntime"):
        get_runtime("tensorflow")


def test_runtime_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "ghost", "export.runtimes.ghost:Ghost")
    with pytest.raises(UnavailableError, match="pip install ghost"):
        get_runtime("ghost")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "cpu:0", ""])
def test_unknown_device(runtime: str, device: str) -> None:
    with pytest.raises(UsageError, match="give cpu, cuda or cuda:N"):
        open_session(tiny_model(), runtime, device)


def test_threads_below_one(runtime: str) -> None:
    with pytest.raises(UsageError, match="threads must be at least 1"):
        open_session(tiny_model(), runtime, threads=0)


def test_cuda_without_support_says_how_to_get_it() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(UnavailableError, match="pip install onnxruntime-gpu") as caught:
        open_session(tiny_model(), device="cuda:0")
    assert caught.value.exit_code == 3


def test_model_that_fails_when_run() -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    graph = helper.make_graph(
        [node],
        "reshape",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n",))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("a", "b"))],
        [helper.make_tensor("shape", TensorProto.INT64, (2,), [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with open_session(model.SerializeToString()) as session:
        assert session.run({"x": np.zeros(6, np.float32)})["y"].shape == (2, 3)
        with pytest.raises(DataError, match="fails when run"):
            session.run({"x": np.zeros(5, np.float32)})


def test_input_without_an_array_form() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    value = helper.make_tensor_sequence_value_info
    graph = helper.make_graph(
        [node], "sequence", [value("x", TensorProto.FLOAT, None)], [value("y", 1, None)]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(DataError, match="'x' is of type seq"):
        open_session(model.SerializeToString())


def test_profile_is_written_on_closing(tmp_path: Path) -> None:
    with open_session(tiny_model(), profile=tmp_path / "profile") as session:
        session.run({"image": IMAGE})
    (profile,) = tmp_path.glob("profile*.json")
    assert "Conv" in profile.read_text()


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("copies", [False, True])
def test_cuda_agrees_with_the_cpu(cuda_graph: bool, copies: bool) -> None:
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("needs onnxruntime-gpu and a GPU")
    generator = np.random.default_rng(0)
    with (
        open_session(tiny_model()) as cpu,
        open_session(tiny_model(), device="cuda:0", cuda_graph=cuda_graph, copies=copies) as gpu,
    ):
        for _ in range(3):
            feeds = {"image": generator.integers(0, 256, IMAGE.shape, np.uint8)}
            assert (gpu.run(feeds)["labels"] == cpu.run(feeds)["labels"]).all()
        assert len(gpu.time(feeds, 5)) == 5
