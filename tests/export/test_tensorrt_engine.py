"""TensorRT without TensorRT: pure functions, and the order of calls against a fake.

What passes here has not run on TensorRT: `nastool doctor --selftest` does that.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_tensorrt
import pytest

# Loaded before torch is replaced.
import export.precision  # noqa: F401
from export.conformance import CHECKS, Check, Target, run_check
from export.conformance.models import convolution_model, tiny_model
from export.engine_record import EngineRecord
from export.errors import DataError, GateError, UnavailableError, UsageError
from export.runtimes import open_session
from export.tensorrt_engine import build_engine, free_shapes, read_onnx
from export.tensorrt_library import layer_precisions, load_tensorrt

VERSIONS = {10: "10.16.1.11", 11: "11.4.0.106"}


@pytest.fixture(params=VERSIONS)
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(fake_tensorrt, "__version__", VERSIONS[request.param], raising=False)
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "version", request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    monkeypatch.setitem(sys.modules, "torch", fake_tensorrt.FAKE_TORCH)
    return fake_tensorrt


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(convolution_model("fp16"))
    return path


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_contract_on_the_fake(fake: Any, check: Check) -> None:
    result = run_check(check, Target("tensorrt", "cuda:0"))
    assert result.outcome == "passed", result.reason


def test_engine_file_tells_what_was_built(fake: Any, model: Path, tmp_path: Path) -> None:
    built = build_engine(model, tmp_path / "engines", workspace_bytes=1 << 20)
    assert built.path.parent == tmp_path / "engines"
    assert built.path.name.startswith(f"model.trt{fake.__version__}-sm89-fp16-")
    assert (built.precision, built.layers, built.reused) == ("fp16", {"fp16": 1}, False)
    assert built.size_bytes == built.path.stat().st_size
    assert EngineRecord.read(built.path).workspace_bytes == 1 << 20
    again = build_engine(model, tmp_path / "engines", workspace_bytes=1 << 20, reuse=True)
    assert again.reused
    assert again.path == built.path
    assert not build_engine(model, tmp_path / "engines", reuse=True).reused


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_engine_in_fp32_of_another_file_fails_the_gate(
    fake: Any, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake.ICudaEngine, "sabotage", "fp32")
    path = tmp_path / "model.onnx"
    path.write_bytes(convolution_model(precision))
    with pytest.raises(GateError, match=f"is in {precision}, but its engine computes in fp32"):
        build_engine(path, tmp_path)
    assert not list(tmp_path.glob("*.engine*"))


def test_timing_cache_grows_and_that_of_another_gpu_is_dropped(
    fake: Any, model: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "timing.cache"
    build_engine(model, tmp_path, timing_cache=cache)
    build_engine(model, tmp_path, timing_cache=cache)
    assert cache.read_bytes() == b".."
    cache.write_bytes(b"another GPU")
    build_engine(model, tmp_path, timing_cache=cache)
    assert cache.read_bytes() == b"."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimisation_level": 6}, "must be 0 to 5, not 6"),
        ({"workspace_bytes": 0}, "at least 1 byte"),
    ],
)
def test_numbers_out_of_range(model: Path, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_engine(model, model.parent, **options)


def test_hardware_compatible_needs_ampere(
    fake: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake.FakeCuda, "get_device_capability", lambda index: (7, 5))
    with pytest.raises(UnavailableError, match="need an Ampere GPU, not a fake GPU"):
        build_engine(model, model.parent, hardware_compatible=True)


def test_size_outside_the_engine_is_refused_with_the_range(fake: Any) -> None:
    from export.conformance.models import CHANNELS, convolution_input

    model = convolution_model("fp32", ("batch", CHANNELS, 16, 16))
    with open_session(model, "tensorrt", "cuda:0") as session:
        words = r"takes 'x' of \[1, 32, 16, 16\] to \[4, 32, 16, 16\], not \[5, 32, 16, 16\]"
        with pytest.raises(DataError, match=words):
            session.run({"x": convolution_input(5)})


def test_failure_inside_tensorrt_is_one_line(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake.Builder, "build_serialized_network", lambda *_: None)
    with pytest.raises(DataError, match="model in memory: TensorRT cannot build an engine"):
        open_session(tiny_model(), "tensorrt", "cuda:0")


def test_driver_that_is_too_old(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(logger: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(fake, "Builder", nothing)
    with pytest.raises(UnavailableError, match="update the NVIDIA driver"):
        open_session(tiny_model(), "tensorrt", "cuda:0")


@pytest.mark.parametrize("device", ["cuda:0", "cpu"])
def test_without_tensorrt_the_remedy_is_told(
    model: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for call in (
        lambda: open_session(tiny_model(), "tensorrt", device),
        lambda: build_engine(model, model.parent),
    ):
        with pytest.raises(UnavailableError, match="pip install tensorrt") as caught:
            call()
        assert "NVIDIA's own index" in str(caught.value)


def test_cpu_is_refused_with_another_way(fake: Any) -> None:
    with pytest.raises(UnavailableError, match="runs on NVIDIA GPUs only: use --device cuda:0"):
        open_session(tiny_model(), "tensorrt", "cpu")


def test_old_tensorrt_is_refused(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "__version__", "8.6.1")
    with pytest.raises(UnavailableError, match=r"TensorRT 8\.6\.1 is too old, 10 is needed"):
        load_tensorrt()


def test_free_axes_get_three_sizes() -> None:
    assert free_shapes((-1, 3, -1, 64)) == ((1, 3, 1, 64), (1, 3, 512, 64), (4, 3, 1024, 64))


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "model.onnx"
    options = {"save_as_external_data": True, "size_threshold": 0, "location": "weights.bin"}
    onnx.save(onnx.load_from_string(tiny_model()), path, **options)
    with pytest.raises(DataError, match="keeps weights in another file; save it as one"):
        read_onnx(path)


def layer(kind: str, *inputs: str, field: str = "Format/Datatype") -> dict[str, Any]:
    return {
        "Name": "n",
        "LayerType": kind,
        "Inputs": [{"Name": "x", field: text} for text in inputs],
    }


@pytest.mark.parametrize(
    ("layers", "precisions"),
    [
        # TensorRT 10: format and type in one text.
        ([layer("CaskConvolution", "Row major linear FP32")], {"fp32": 1}),
        (
            [
                layer("CaskConvolution", "Channel major FP16 format where channel % 8 == 0"),
                layer(
                    "CaskConvolution", "Thirty-two wide channel vectorized row major Int8 format"
                ),
                layer(
                    "CaskConvolution", "Thirty-two wide channel vectorized row major Int8 format"
                ),
            ],
            {"int8": 2, "fp16": 1},
        ),
        # The quantisation before a convolution in fp32 is no work in int8.
        (
            [layer("Reformat", "Row major Int8 format"), layer("CaskConvolution", "FP32")],
            {"fp32": 1},
        ),
        # A residual of another type does not count.
        ([layer("CaskConvolution", "Row major Int8 format", "FP32")], {"int8": 1}),
        # TensorRT 11: apart.
        ([layer("Convolution", "Half", field="DataType")], {"fp16": 1}),
        ([layer("gemm", "Float", field="DataType")], {"fp32": 1}),
        ([layer("kgen", "Int8", field="DataType")], {"int8": 1}),
        ([layer("kgen", "UInt8", field="DataType")], {}),
        ([layer("kgen", "BFloat16", field="DataType")], {}),
        (["a name only"], {}),
    ],
)
def test_layer_precisions(layers: list[Any], precisions: dict[str, int]) -> None:
    assert layer_precisions({"Layers": layers}) == precisions
