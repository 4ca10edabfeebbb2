"""TensorRT engines from ONNX files, for TensorRT 10 and 11.

Written to the Python bindings 10.0.1, 10.16.1, 11.0.0 and 11.4.0: every name that is used exists in
all four (`tests/export/test_tensorrt_names.py` has the list). It has not been run on hardware;
``nastool doctor --selftest`` is how to find out on yours.

The graph that TensorRT parses is the file's, its bytes put right (`export.tensorrt_graph`). The
network is strongly typed: its precision is that of the ONNX file, and no builder flag changes
it (11 has none left). After a build the precisions are read back, because an engine that silently
computes in fp32 looks like success. Convolutions of an fp32 file may use TF32, TensorRT's default.

Nothing here imports tensorrt or needs a GPU before a function is called.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from export.engine_record import (
    AMPERE,
    EngineRecord,
    Machine,
    check_before_loading,
    engine_name,
    sha256,
)
from export.errors import DataError, GateError, NastoolError, UnavailableError, UsageError
from export.files import whole_file
from export.tensorrt_graph import bytes_at_the_ends
from export.tensorrt_library import deserialise, load_tensorrt, machine, make_log, read_back, start

OPTIMISATION_LEVELS = range(6)
# Smallest, typical and largest size of a free axis: the first (images at once), and all others.
FREE_FIRST = (1, 1, 4)
FREE_OTHER = (1, 512, 1024)


@dataclass(frozen=True)
class EngineFile:
    """An engine on disk, its record beside it.

    Attributes:
        path: of the engine.
        precision: of the ONNX file that it was built from.
        layers: how many layers compute in each precision, as read back from the engine.
        seconds: that the build took.
        size_bytes: of the engine.
        reused: it was there already.
    """

    path: Path
    precision: str
    layers: dict[str, int]
    seconds: float
    size_bytes: int
    reused: bool


def build_engine(
    model: Path,
    folder: Path,
    *,
    timing_cache: Path | None = None,
    version_compatible: bool = False,
    hardware_compatible: bool = False,
    optimisation_level: int = 3,
    workspace_bytes: int | None = None,
    device: int = 0,
    reuse: bool = False,
) -> EngineFile:
    """Build an engine from an ONNX file, in the file's own precision.

    The name carries TensorRT's version, compute capability, precision and the file's hash (see
    `export.engine_record.engine_name`); a record with all of them and the file's metadata is
    written beside it.

    Args:
        model: the ONNX file, its weights inside. Free axes are built for `FREE_FIRST` images and
            for `FREE_OTHER` elsewhere.
        folder: where the engine goes.
        timing_cache: file in which measured kernels are kept from build to build; made if missing,
            begun anew if it is of another GPU or TensorRT. Level 0 does not use it.
        version_compatible: loads with any TensorRT of the same major version; slower.
        hardware_compatible: runs on every GPU since Ampere; slower.
        optimisation_level: 0 (quick to build) to 5 (quick to run).
        workspace_bytes: limit of temporary memory; None leaves TensorRT's.
        device: number of the GPU to build on and for.
        reuse: return the engine that is there, if it fits the file, the machine and these options.

    Raises:
        UsageError: a number is out of range.
        UnavailableError: TensorRT or the GPU is missing, or too old for ``hardware_compatible``.
        DataError: the file is broken, too new, or TensorRT cannot build it.
        GateError: the file is in fp16 or int8, but no layer of the engine computes in it.
    """
    from export.precision import precision_of

    if optimisation_level not in OPTIMISATION_LEVELS:
        raise UsageError(f"optimisation level must be 0 to 5, not {optimisation_level}")
    if workspace_bytes is not None and workspace_bytes < 1:
        raise UsageError(f"workspace must be at least 1 byte, not {workspace_bytes}")
    here = machine(device)
    if hardware_compatible and here.compute_capability < AMPERE:
        raise UnavailableError(f"hardware-compatible engines need an Ampere GPU, not {here.gpu}")
    content, proto = read_onnx(model)
    precision = precision_of(model)
    digest = sha256(content)
    path = folder / engine_name(model.stem, here, precision, digest)
    options: dict[str, Any] = {
        "version_compatible": version_compatible,
        "hardware_compatible": hardware_compatible,
        "optimisation_level": optimisation_level,
        "workspace_bytes": workspace_bytes,
    }
    if reuse and (kept := _kept(path, here, digest, options)):
        return _engine_file(path, kept, reused=True)
    start = time.perf_counter()
    graph = bytes_at_the_ends(proto, model).SerializeToString()
    plan, layers = _build(model, graph, options, timing_cache, device)
    if precision != "fp32" and not layers.get(precision):
        raise GateError(
            f"{model}: is in {precision}, but its engine computes in "
            f"{', '.join(layers) or 'no known type'}; send the report of nastool doctor --selftest"
        )
    with whole_file(path) as temporary:
        temporary.write_bytes(plan)
    record = EngineRecord(
        tensorrt=here.tensorrt,
        compute_capability=here.compute_capability,
        gpu=here.gpu,
        system=here.system,
        precision=precision,
        layers=layers,
        onnx_sha256=digest,
        engine_sha256=sha256(plan),
        seconds=round(time.perf_counter() - start, 3),
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        **options,
    )
    record.write(path)
    return _engine_file(path, record, reused=False)


def read_onnx(path: Path) -> tuple[bytes, onnx.ModelProto]:
    """Read an ONNX file: its content, and what is in it.

    Raises:
        DataError: it is not ONNX, is newer than the onnx package, or keeps weights elsewhere.
    """
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
        opset = max(
            entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")
        )
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(
            path, f"cannot be opened as an ONNX model ({first}); it may be truncated"
        ) from None
    if opset > onnx.defs.onnx_opset_version():
        raise DataError(
            path,
            f"is newer than onnx {onnx.__version__} understands (opset {opset}); update onnx, or "
            "export with opset 18",
        )
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise DataError(path, "keeps weights in another file; save it as one file")
    return content, model


def _kept(
    path: Path, here: Machine, onnx_sha256: str, options: dict[str, Any]
) -> EngineRecord | None:
    """Return the record of an engine that can be used as it is."""
    if not path.is_file():
        return None
    try:
        record = check_before_loading(path, path.read_bytes(), here)
    except NastoolError:
        return None
    same = record.onnx_sha256 == onnx_sha256
    return record if same and options == record.model_dump(include=set(options)) else None


def _engine_file(path: Path, record: EngineRecord, reused: bool) -> EngineFile:
    size = path.stat().st_size
    return EngineFile(path, record.precision, record.layers, record.seconds, size, reused)


def _build(
    model: Path, content: bytes, options: dict[str, Any], timing_cache: Path | None, device: int
) -> tuple[bytes, dict[str, int]]:
    """Return the serialised engine and the layers by precision."""
    import torch

    trt = load_tensorrt()
    log = make_log()
    with torch.cuda.device(device):
        builder = start(trt.Builder, log)
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = trt.OnnxParser(network, log)
        if not parser.parse(content):
            raise DataError(
                model, f"cannot be opened as an ONNX model by TensorRT ({_reason(parser, log)})"
            )
        config = _config(trt, builder, options)
        typical = _set_free_axes(builder, network, config)
        cache = _timing_cache(config, timing_cache) if timing_cache else None
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise DataError(model, f"TensorRT cannot build an engine from it ({log.last()})")
        if timing_cache and cache:
            with whole_file(timing_cache) as temporary:
                temporary.write_bytes(bytes(cache.serialize()))
        built = bytes(plan)
        engine = deserialise(built, options["version_compatible"], log)
        if engine is None:
            raise DataError(model, f"TensorRT cannot load the engine it built ({log.last()})")
        return built, read_back(engine, typical)


def _reason(parser: Any, log: Any) -> str:
    if not parser.num_errors:
        return log.last()
    parser_error = parser.get_error(0)
    text = f"{parser_error.node_operator()}: {parser_error.desc()}"
    return text.splitlines()[0]


def _config(trt: Any, builder: Any, options: dict[str, Any]) -> Any:
    config = builder.create_builder_config()
    config.builder_optimization_level = options["optimisation_level"]
    # Names and element types of layers, for reading the precisions back and for profiles.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options["version_compatible"]:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options["hardware_compatible"]:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options["workspace_bytes"]:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options["workspace_bytes"])
    return config


def _set_free_axes(builder: Any, network: Any, config: Any) -> dict[str, tuple[int, ...]]:
    """Say which sizes free axes may have; return the typical shape of each input with such."""
    typical = {}
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if -1 not in shape:
            continue
        smallest, typical[tensor.name], largest = free_shapes(shape)
        profile.set_shape(tensor.name, smallest, typical[tensor.name], largest)
    if typical:
        config.add_optimization_profile(profile)
    return typical


def free_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the smallest, typical and largest shape for one whose free axes are -1."""
    sizes = [
        (size,) * 3 if size != -1 else FREE_OTHER if axis else FREE_FIRST
        for axis, size in enumerate(shape)
    ]
    return tuple(zip(*sizes, strict=True))


def _timing_cache(config: Any, path: Path) -> Any:
    """Give a build the kernels that earlier builds have timed on this GPU."""
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if not cache or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
