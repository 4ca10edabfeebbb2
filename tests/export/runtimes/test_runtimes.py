"""The contract of a runtime where it can run here, and what is particular to ONNX Runtime."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from fake_tensorrt import FAKE_TORCH
from onnx import TensorProto, helper

from export.checks.conformance import CHECKS, Check, Target, run_check
from export.checks.conformance.models import (
    convolution_input,
    convolution_model,
    convolve,
    tiny_model,
)
from export.runtimes import RUNTIMES, get_runtime, open_session
from export.system.errors import BrokenError, DataError, UnavailableError, UsageError

IMAGE = np.zeros((1, 8, 8, 3), np.uint8)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_contract_on_the_cpu(check: Check) -> None:
    result = run_check(check, Target("onnxruntime", "cpu"))
    if result.outcome == "skipped":
        pytest.skip(str(result.reason))
    assert result.outcome == "passed", result.reason


def test_settings_of_the_cpu() -> None:
    with open_session(tiny_model(), threads=1) as session:
        assert session.settings == {"threads": 1}


def test_unknown_runtime_lists_the_known() -> None:
    with pytest.raises(UsageError, match="'tensorflow' is not known; known: onnxruntime, tensorrt"):
        get_runtime("tensorflow")


def test_runtime_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "ghost", "export.runtimes.ghost:Ghost")
    with pytest.raises(UnavailableError, match="pip install ghost"):
        get_runtime("ghost")


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


def cuda_session(monkeypatch: pytest.MonkeyPatch, gpus: list[dict[str, str]]) -> dict[str, object]:
    """Pretend that ONNX Runtime was built for CUDA; note how its session is made."""
    import export.runtimes.onnxruntime.runtime as module

    noted: dict[str, object] = {}
    real = onnxruntime.InferenceSession

    def make(model: bytes, _: object, providers: object, **options: object) -> object:
        noted.update(options)
        return real(model, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(module.ort, "get_available_providers", lambda: [module.CUDA])
    monkeypatch.setattr(module.ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(module.ort, "InferenceSession", make)
    monkeypatch.setattr(module.gpus, "describe", lambda: gpus)
    return noted


def test_nothing_falls_back_and_the_loaders_own_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noted = cuda_session(monkeypatch, [{"name": "a GPU"}])
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").write_text("no library")
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(BrokenError, match=r"CUDA cannot be used \(.*(invalid ELF|too short)"):
        open_session(tiny_model(), device="cuda:0")
    assert noted["enable_fallback"] == 0


def test_cuda_that_does_not_start_without_a_gpu_is_missing_not_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda_session(monkeypatch, [])
    with pytest.raises(UnavailableError, match="CUDA cannot be used") as caught:
        open_session(tiny_model(), device="cuda:0")
    assert not isinstance(caught.value, BrokenError)


def test_what_runs_on_a_gpu_only_in_part_is_told_in_onnx_runtimes_words() -> None:
    from export.runtimes.onnxruntime.runtime import _opening_error

    told = _opening_error("m.onnx", "cuda", RuntimeError("[ONNXRuntimeError] : 1 : FAIL : This "
    "session contains graph nodes that are assigned to the default CPU EP, but fallback to CPU EP "
    "has been explicitly disabled by the user."))  # fmt: skip
    assert "nodes that are assigned to the default CPU EP" in str(told)


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("height", [16, "height"])
def test_arrays_of_a_fake_gpu_hold_what_the_model_computes(
    monkeypatch: pytest.MonkeyPatch, pinned: bool, height: int | str
) -> None:
    """ONNX Runtime binds, runs and copies for real, but on arrays of the CPU."""
    import export.runtimes.onnxruntime.cuda as module

    monkeypatch.setattr(module, "CUDA", "cpu")
    monkeypatch.setattr(module, "_torch_has_cuda", lambda: pinned)
    monkeypatch.setitem(sys.modules, "torch", FAKE_TORCH)
    model = convolution_model(axes=(1, 32, height, 16))
    native = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    with module.CudaSession(native, "model", "cuda:0", {"copies": True}) as session:
        assert session.settings["pinned"] is pinned
        for rows, seed in (16, 0), (16, 1), (24 if height == "height" else 16, 2):
            x = convolution_input(height=rows, seed=seed)
            np.testing.assert_array_equal(session.run({"x": x})["y"], convolve(x))
        assert len(session.time({"x": x}, 3)) == 3
