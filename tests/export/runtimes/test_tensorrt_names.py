"""Every name of NVIDIA's bindings that the code uses exists in them.

The list was checked against TensorRT 10.0.1, 10.16.1.11, 11.0.0.114 and 11.4.0.106, and TensorRT
for RTX 1.7.1.116, which the tests run where it is installed. To check another TensorRT without a
GPU, unpack its wheel (tensorrt-cu12-bindings from PyPI) and run

    NASTOOL_TENSORRT_BINDINGS=FOLDER pytest tests/export/runtimes/test_tensorrt_names.py

FOLDER is the one that holds tensorrt_bindings; libnvinfer, libnvinfer_plugin and libnvonnxparser
must be found by the loader.
"""

import ast
import importlib
import inspect
import os
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest

from export.runtimes.tensorrt.binding import make_log, make_profiler

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "export" / "runtimes" / "tensorrt"
SOURCES = [FOLDER / "engine.py", FOLDER / "binding.py", FOLDER / "runtime.py"]

# Class (or "" for the module itself) -> the names that are used of it.
NAMES = {
    "": ["__version__", "nptype"],
    "Builder": [
        "build_serialized_network",
        "create_builder_config",
        "create_network",
        "create_optimization_profile",
    ],
    "BuilderFlag": ["VERSION_COMPATIBLE"],
    "EngineInspector": ["execution_context", "get_engine_information"],
    "HardwareCompatibilityLevel": ["AMPERE_PLUS"],
    "IBuilderConfig": [
        "add_optimization_profile",
        "builder_optimization_level",
        "create_timing_cache",
        "hardware_compatibility_level",
        "profiling_verbosity",
        "set_flag",
        "set_memory_pool_limit",
        "set_timing_cache",
    ],
    "ICudaEngine": [
        "create_engine_inspector",
        "create_execution_context",
        "get_tensor_dtype",
        "get_tensor_location",
        "get_tensor_mode",
        "get_tensor_name",
        "get_tensor_profile_shape",
        "get_tensor_shape",
        "num_io_tensors",
    ],
    "IExecutionContext": [
        "execute_async_v3",
        "get_tensor_shape",
        "infer_shapes",
        "nvtx_verbosity",
        "profiler",
        "set_input_shape",
        "set_tensor_address",
    ],
    "ILogger": ["ERROR", "INTERNAL_ERROR", "__init__", "log"],
    "INetworkDefinition": ["get_input", "num_inputs"],
    "IOptimizationProfile": ["set_shape"],
    "IProfiler": ["__init__", "report_layer_time"],
    "ITensor": ["name", "shape"],
    "ITimingCache": ["serialize"],
    "LayerInformationFormat": ["JSON"],
    "MemoryPoolType": ["WORKSPACE"],
    "NetworkDefinitionCreationFlag": ["STRONGLY_TYPED"],
    "OnnxParser": ["get_error", "num_errors", "parse"],
    "ParserError": ["desc", "node_operator"],
    "ProfilingVerbosity": ["DETAILED", "NONE"],
    "Runtime": ["deserialize_cuda_engine", "engine_host_code_allowed"],
    "TensorIOMode": ["INPUT", "OUTPUT"],
    "TensorLocation": ["DEVICE"],
}
# Of TensorRT for RTX alone; only asked for where the binding is that one.
OF_RTX = {
    "ComputeCapability": ["CURRENT", "__members__"],
    "CudaGraphStrategy": ["DISABLED", "WHOLE_GRAPH_CAPTURE"],
    "EngineInvalidityDiagnostics": ["__members__"],
    "EngineValidity": ["INVALID"],
    "IBuilderConfig": ["num_compute_capabilities", "set_compute_capability"],
    "ICudaEngine": ["create_runtime_config"],
    "IRuntimeCache": ["deserialize", "serialize"],
    "IRuntimeConfig": ["create_runtime_cache", "cuda_graph_strategy", "set_runtime_cache"],
    "Runtime": ["get_engine_validity"],
}


def pairs(names: dict[str, list[str]]) -> set[tuple[str, str]]:
    return {(owner, name) for owner, listed in names.items() for name in listed}


LISTED = pairs(NAMES) | pairs(OF_RTX)

# What the code calls its TensorRT objects. A call on one of them is assigned to one of them, so
# that no object goes by a name that is not here.
VARIABLES = {
    "builder": "Builder",
    "cache": "ITimingCache",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "inspector": "EngineInspector",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "parser_error": "ParserError",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "runtime_cache": "IRuntimeCache",
    "runtime_config": "IRuntimeConfig",
    "tensor": "ITensor",
}
MAKERS = ("create_", "deserialize_", "get_input", "get_error", "OnnxParser", "start")


def owner_of(node: ast.expr) -> str | None:
    """The class of a TensorRT object: of ``trt.Class``, ``variable`` or ``something.variable``."""
    if isinstance(node, ast.Name):
        return "" if node.id == "trt" else VARIABLES.get(node.id)
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id == "trt":
            return node.attr
        return VARIABLES.get(node.attr)
    return None


def used_names() -> set[tuple[str, str]]:
    used = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and (owner := owner_of(node.value)) is not None:
                used.add((owner, node.attr))
            if isinstance(node, ast.ClassDef) and (owner := owner_of((node.bases or [node])[0])):
                methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                used |= {(owner, name) for name in methods & set(NAMES.get(owner, ()))}
    # "trt.Builder" is the class itself, whose names are looked at where they are used.
    return used - {("", owner) for owner in NAMES | OF_RTX}


def trees() -> list[ast.AST]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]


def test_used_names_are_listed_and_listed_names_are_used() -> None:
    used = used_names()
    assert used - LISTED == set()
    assert LISTED - used == set()


def test_objects_go_by_the_names_that_are_looked_for() -> None:
    for tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            called = node.value.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name.startswith(MAKERS):
                target = node.targets[0]
                known = target.attr if isinstance(target, ast.Attribute) else target.id  # type: ignore[attr-defined]
                assert known in VARIABLES, f"line {node.lineno}: {known}"


def test_nothing_is_imported_with_other_eyes() -> None:
    """No other module of the project touches tensorrt, but what a kit takes along."""
    for folder in ("export", "toolchain", "demo"):
        for path in (ROOT / folder).rglob("*.py"):
            if path not in (*SOURCES, ROOT / "export" / "kit" / "runners.py"):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                for node in ast.walk(tree):
                    assert not (
                        isinstance(node, ast.Import) and node.names[0].name.startswith("tensorrt")
                    ), path


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt_rtx"])
def bindings(request: pytest.FixtureRequest) -> ModuleType:
    folder = os.environ.get("NASTOOL_TENSORRT_BINDINGS")
    if folder and request.param == "tensorrt":
        sys.path.insert(0, folder)
        return importlib.import_module("tensorrt_bindings")
    reason = f"{request.param} is not installed"
    return pytest.importorskip(request.param, reason=reason, exc_type=ImportError)


@pytest.mark.parametrize(("owner", "name"), sorted(LISTED))
def test_name_exists(bindings: ModuleType, owner: str, name: str) -> None:
    if (owner, name) in pairs(OF_RTX) and bindings.__name__ != "tensorrt_rtx":
        pytest.skip("of TensorRT for RTX alone")
    assert hasattr(getattr(bindings, owner) if owner else bindings, name)


def test_logger_and_profiler_can_be_subclassed(bindings: ModuleType) -> None:
    log = make_log(bindings)
    log.log(bindings.ILogger.WARNING, "harmless")
    log.log(bindings.ILogger.ERROR, "what went wrong\nand more")
    assert log.last() == "what went wrong"
    taken: defaultdict[str, float] = defaultdict(float)
    profiler = make_profiler(bindings, taken)
    profiler.report_layer_time("conv", 0.5)
    profiler.report_layer_time("conv", 0.25)
    assert taken == {"conv": 0.75}


def test_the_fake_has_no_name_of_its_own() -> None:
    import fake_tensorrt

    for owner in NAMES | OF_RTX:
        names = {*NAMES.get(owner, ()), *OF_RTX.get(owner, ())}
        if owner and inspect.isclass(fake := getattr(fake_tensorrt, owner, None)):
            methods = {name for name, value in vars(fake).items() if inspect.isfunction(value)}
            assert {name for name in methods if name[0] != "_"} <= names, owner
