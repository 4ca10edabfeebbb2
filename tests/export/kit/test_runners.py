"""Runtimes as a kit opens them, against those of `export.runtimes`."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import fake_tensorrt
import numpy as np
import onnx
import pytest

from export.checks.conformance.models import (
    convolution_input,
    convolution_model,
    convolve,
    tiny_model,
)
from export.kit import runners
from export.kit.runners import MissingError, OnnxRuntimeRunner, TensorRtRunner
from export.runtimes import open_session

X = convolution_input()


def feed(name: str, shape: Any, dtype: Any) -> np.ndarray:
    return X.copy()  # which nobody else keeps


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "graph.onnx").write_bytes(convolution_model())
    return tmp_path / "graph.onnx"


def test_onnx_runtime_is_set_as_nastool_sets_it(path: Path) -> None:
    runner = OnnxRuntimeRunner("cpu", 2, "fp32", feed)
    np.testing.assert_array_equal(runner.labels(path), convolve(X))
    opened = runner.open(path)
    assert len(opened.timer(3)) == 3
    opened.close()
    with open_session(path, threads=2) as session:
        assert runner.settings == session.settings
        options = session.native.get_session_options()
    for name in (
        "intra_op_num_threads", "inter_op_num_threads", "graph_optimization_level",
        "execution_mode",
    ):  # fmt: skip
        assert getattr(runner._options, name) == getattr(options, name)
    for key in ("session.intra_op.allow_spinning", "session.force_spinning_stop"):
        assert runner._options.get_session_config_entry(key) == "1"
        assert options.get_session_config_entry(key) == "1"


def test_a_runtime_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for kind in (OnnxRuntimeRunner, TensorRtRunner):
        with pytest.raises(MissingError, match="cannot be loaded"):
            kind("cpu", 1, "fp32", feed)


def test_onnx_runtime_without_cuda_says_how_to_get_it() -> None:
    import onnxruntime

    if runners.CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(MissingError, match="pip install onnxruntime-gpu"):
        OnnxRuntimeRunner("cuda:0", None, "fp32", feed)


class FakeCudaRuntime:
    """CUDA's runtime library whose memory is the host's."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any) -> int:
            self.calls.append(name)
            return 0

        return call

    def cudaMalloc(self, where: Any, size: ctypes.c_size_t) -> int:  # noqa: N802
        memory = ctypes.create_string_buffer(size.value)
        where._obj.value = ctypes.addressof(memory)
        self.kept[where._obj.value] = memory
        return 0

    def cudaMemcpy(self, goal: Any, source: Any, size: Any, _: Any) -> int:  # noqa: N802
        ctypes.memmove(goal, source, size.value)
        return 0

    def cudaFree(self, buffer: ctypes.c_void_p) -> int:  # noqa: N802
        del self.kept[buffer.value]
        return 0

    def cudaStreamCreate(self, where: Any) -> int:  # noqa: N802
        where._obj.value = 1
        return 0


class FakeParser(fake_tensorrt.OnnxParser):
    def parse_from_file(self, path: str) -> bool:
        # Weights may be in another file.
        return self.parse(onnx.load(path).SerializeToString())


def test_tensorrt_as_a_fake_computes_and_frees(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    library = FakeCudaRuntime()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    monkeypatch.setattr(fake_tensorrt, "__version__", "10.3", raising=False)
    monkeypatch.setattr(fake_tensorrt, "OnnxParser", FakeParser)
    monkeypatch.setattr(runners.ctypes, "CDLL", lambda name: library)
    runner = TensorRtRunner("cuda:0", None, "fp32", feed)
    assert runner.version == "10.3"
    np.testing.assert_array_equal(runner.labels(path), convolve(X))
    opened = runner.open(path)
    assert len(opened.timer(3)) == 3
    assert len(library.kept) == 2
    opened.close()
    assert not library.kept
    assert library.calls.count("cudaStreamSynchronize") == 4
    assert library.calls[-1] == "cudaStreamDestroy"
    # Bytes may only feed casts.
    path.write_bytes(tiny_model())
    with pytest.raises(MissingError, match=r"TensorRT 10.3 refuses it"):
        runner.open(path)


def test_an_error_of_cuda_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeCudaRuntime()
    library.cudaSetDevice = lambda index: 101  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    monkeypatch.setattr(fake_tensorrt, "__version__", "10.3", raising=False)
    monkeypatch.setattr(runners.ctypes, "CDLL", lambda name: library)
    with pytest.raises(MissingError, match="cudaSetDevice fails with CUDA's error 101"):
        TensorRtRunner("cuda:9", None, "fp32", feed)
