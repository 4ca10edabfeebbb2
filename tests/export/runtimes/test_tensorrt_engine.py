"""NVIDIA's libraries without them: pure functions, and the order of calls against a fake.

What passes here has not run on TensorRT: `nastool doctor --selftest` does that.
"""

import sys
from pathlib import Path
from typing import Any

import fake_tensorrt
import pytest

# Loaded before torch is replaced.
import export.precision.half  # noqa: F401
from export.checks.conformance import CHECKS, Check, Target, run_check
from export.checks.conformance.models import convolution_model, tiny_model
from export.runtimes import open_session
from export.runtimes.tensorrt.binding import TENSORRT, TENSORRT_RTX, Binding, layer_precisions
from export.runtimes.tensorrt.engine import BuildOptions, build_engine, free_shapes, read_onnx
from export.runtimes.tensorrt.record import EngineRecord
from export.system.errors import DataError, GateError, UnavailableError, UsageError

VERSIONS = {
    "10.16.1.11": (TENSORRT, 10),
    "11.4.0.106": (TENSORRT, 11),
    "1.7.1.116": (TENSORRT_RTX, 11),
}


@pytest.fixture(params=VERSIONS)
def binding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Binding:
    binding, interface = VERSIONS[request.param]
    monkeypatch.setattr(fake_tensorrt, "__version__", request.param, raising=False)
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "version", interface)
    monkeypatch.setitem(sys.modules, binding.module, fake_tensorrt)
    monkeypatch.setitem(sys.modules, "torch", fake_tensorrt.FAKE_TORCH)
    return binding


@pytest.fixture
def fake(binding: Binding) -> Any:
    return fake_tensorrt


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(convolution_model("fp16"))
    return path


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_contract_on_the_fake(binding: Binding, check: Check) -> None:
    result = run_check(check, Target(binding.name, "cuda:0"))
    if result.outcome == "skipped":
        assert str(result.reason).startswith("only for tensorrt")
    else:
        assert result.outcome == "passed", result.reason


def test_engine_file_tells_what_was_built(binding: Binding, model: Path, tmp_path: Path) -> None:
    folder, options = tmp_path / "engines", BuildOptions(workspace_bytes=1 << 20)
    built = build_engine(binding, model, folder, options)
    short = "rtx" if binding is TENSORRT_RTX else "trt"
    assert built.path.parent == folder
    assert built.path.name.startswith(f"model.{short}{fake_tensorrt.__version__}-sm89-fp16-")
    assert (built.record.precision, built.record.layers) == ("fp16", {"fp16": 1})
    assert (built.reused, built.size_bytes) == (False, built.path.stat().st_size)
    assert EngineRecord.read(built.path).workspace_bytes == 1 << 20
    again = build_engine(binding, model, folder, options, reuse=True)
    assert again.reused
    assert again.path == built.path
    assert not build_engine(binding, model, folder, reuse=True).reused


def test_engine_is_built_for_cards_that_are_not_here(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt, "__version__", "1.7.1", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake_tensorrt)
    built = build_engine(TENSORRT_RTX, model, tmp_path, gpus=["8.6", "sm_75"])
    assert built.path.name.startswith("model.rtx1.7.1-sm75-sm86-fp16-")
    assert built.record.compute_capabilities == ((7, 5), (8, 6))
    assert built.record.layers is None
    assert built.record.gpu is None


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        (["sm61"], "--gpu sm61: TensorRT for RTX .* builds for sm75, sm86, sm89 and current"),
        (["RTX 4090"], "--gpu RTX 4090"),
        (["9" * 5000], "--gpu 999.* builds for sm75"),
        (["sm86", "current"], "--gpu current stands alone"),
    ],
)
def test_unknown_cards_are_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: list, words: str
) -> None:
    monkeypatch.setattr(fake_tensorrt, "__version__", "1.7.1", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake_tensorrt)
    monkeypatch.setitem(sys.modules, "torch", fake_tensorrt.FAKE_TORCH)
    with pytest.raises(UsageError, match=words):
        build_engine(TENSORRT_RTX, model, tmp_path, gpus=gpus)


def test_cards_elsewhere_are_for_the_library_that_builds_ahead(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt, "__version__", "11.4", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    with pytest.raises(UsageError, match="leave out --gpu, or take --runtime tensorrt-rtx"):
        build_engine(TENSORRT, model, model.parent, gpus=["sm86"])


def test_compatible_engines_are_tensorrts(model: Path) -> None:
    with pytest.raises(UsageError, match="name several GPUs instead"):
        build_engine(TENSORRT_RTX, model, model.parent, BuildOptions(version_compatible=True))


def test_an_engine_that_the_card_cannot_run_is_refused_with_its_reason(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt, "__version__", "1.7.1", raising=False)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake_tensorrt)
    monkeypatch.setitem(sys.modules, "torch", fake_tensorrt.FAKE_TORCH)
    invalid = lambda *_: (fake_tensorrt.EngineValidity.INVALID, 5)  # noqa: E731
    monkeypatch.setattr(fake_tensorrt.Runtime, "get_engine_validity", invalid)
    with pytest.raises(DataError, match=r"refused by .*version mismatch, old cuda driver"):
        open_session(model, "tensorrt-rtx", "cuda:0")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_engine_in_fp32_of_another_file_fails_the_gate(
    binding: Binding, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "sabotage", "fp32")
    path = tmp_path / "model.onnx"
    path.write_bytes(convolution_model(precision))
    with pytest.raises(GateError, match=f"is in {precision}, but its engine computes in fp32"):
        build_engine(binding, path, tmp_path)
    assert not list(tmp_path.glob("*.engine*"))


@pytest.mark.parametrize("binding", ["11.4.0.106"], indirect=True)
def test_timing_cache_grows_and_that_of_another_gpu_is_dropped(
    binding: Binding, model: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "timing.cache"
    build_engine(binding, model, tmp_path, timing_cache=cache)
    build_engine(binding, model, tmp_path, timing_cache=cache)
    assert cache.read_bytes() == b".."
    cache.write_bytes(b"another GPU")
    build_engine(binding, model, tmp_path, timing_cache=cache)
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
        build_engine(TENSORRT, model, model.parent, BuildOptions(**options))


@pytest.mark.parametrize("binding", ["11.4.0.106"], indirect=True)
def test_hardware_compatible_needs_ampere(
    binding: Binding, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt.FakeCuda, "get_device_capability", lambda index: (7, 5))
    with pytest.raises(UnavailableError, match="need an Ampere GPU, not a fake GPU"):
        build_engine(binding, model, model.parent, BuildOptions(hardware_compatible=True))


def test_size_outside_the_engine_is_refused_with_the_range(binding: Binding) -> None:
    from export.checks.conformance.models import CHANNELS, convolution_input

    model = convolution_model("fp32", ("batch", CHANNELS, 16, 16))
    with open_session(model, binding.name, "cuda:0") as session:
        words = r"takes 'x' of \[1, 32, 16, 16\] to \[4, 32, 16, 16\], not \[5, 32, 16, 16\]"
        with pytest.raises(DataError, match=words):
            session.run({"x": convolution_input(5)})


def test_failure_inside_the_library_is_one_line(
    binding: Binding, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake.Builder, "build_serialized_network", lambda *_: None)
    with pytest.raises(DataError, match=f"model in memory: {binding.title} cannot build an engine"):
        open_session(tiny_model(), binding.name, "cuda:0")


def test_driver_that_is_too_old(
    binding: Binding, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(logger: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(fake, "Builder", nothing)
    with pytest.raises(UnavailableError, match="update the NVIDIA driver"):
        open_session(tiny_model(), binding.name, "cuda:0")


@pytest.mark.parametrize("device", ["cuda:0", "cpu"])
@pytest.mark.parametrize(
    ("binding", "words"), [(TENSORRT, "NVIDIA's own index"), (TENSORRT_RTX, "from PyPI")]
)
def test_without_the_library_the_remedy_is_told(
    model: Path, device: str, binding: Binding, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, binding.module, None)
    for call in (
        lambda: open_session(tiny_model(), binding.name, device),
        lambda: build_engine(binding, model, model.parent),
    ):
        with pytest.raises(UnavailableError, match=f"pip install {binding.name}") as caught:
            call()
        assert words in str(caught.value)


def test_cpu_is_refused_with_another_way(binding: Binding) -> None:
    with pytest.raises(UnavailableError, match="runs on NVIDIA GPUs only: use --device cuda:0"):
        open_session(tiny_model(), binding.name, "cpu")


@pytest.mark.parametrize("binding", ["11.4.0.106"], indirect=True)
def test_old_tensorrt_is_refused(binding: Binding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_tensorrt, "__version__", "8.6.1")
    with pytest.raises(UnavailableError, match=r"TensorRT 8\.6\.1 is too old, 10 is needed"):
        binding.load()


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


@pytest.mark.parametrize("binding", ["11.4.0.106"], indirect=True)
def test_one_timing_cache_serves_many_models_in_memory(binding: Binding, tmp_path: Path) -> None:
    cache = tmp_path / "shared.cache"
    for precision in ("fp32", "fp16", "int8"):
        model = convolution_model(precision)
        open_session(model, binding.name, "cuda:0", timing_cache=cache).close()
    assert cache.read_bytes() == b"..."
    assert [path.name for path in tmp_path.iterdir()] == ["shared.cache"]


@pytest.mark.parametrize("copies", [True, False])
def test_benchmark_times_a_gpu_with_and_without_copies(
    binding: Binding, model: Path, copies: bool
) -> None:
    from export.benchmarking.benchmark import benchmark

    made = benchmark(
        [model], runtime=binding.name, device="cuda:0", seconds=0.1, copies=copies
    ).document()
    assert made["settings"]["copies"] is copies
    assert made["models"][0]["latency_ms"]["median"] > 0
