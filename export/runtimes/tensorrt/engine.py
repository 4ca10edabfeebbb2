"""Engines from ONNX files, by TensorRT 10 and 11 and by TensorRT for RTX.

The graph that the binding parses is the file's, put right where it must be (`graph`). The network
is strongly typed: its precision is that of the ONNX file, and no builder flag changes it (11 has
none left). After a build the precisions are read back, because an engine that silently computes in
fp32 looks like success; without a GPU that cannot be done, which the record says. Convolutions of
an fp32 file may use TF32, the default.

Nothing here imports a binding or needs a GPU before a function is called.
"""

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from export.precision.half import precision_of
from export.runtimes.base import MAYBE_TRUNCATED
from export.runtimes.tensorrt.binding import Binding, deserialise, make_log, read_back, start
from export.runtimes.tensorrt.graph import for_engines
from export.runtimes.tensorrt.record import (
    AMPERE,
    Capability,
    EngineRecord,
    Machine,
    check_before_loading,
    engine_name,
    sha256,
    system,
)
from export.system.errors import DataError, GateError, NastoolError, UnavailableError, UsageError
from export.system.files import whole_file

OPTIMISATION_LEVELS = range(6)
CURRENT = "current"
# Smallest, typical and largest size of a free axis: the first (images at once), and all others.
FREE_FIRST = (1, 1, 4)
FREE_OTHER = (1, 512, 1024)


@dataclass(frozen=True)
class BuildOptions:
    """What changes an engine.

    Attributes:
        optimisation_level: 0 (quick to build) to 5 (quick to run).
        workspace_bytes: limit of temporary memory; None leaves the binding's.
        version_compatible: loads with any TensorRT of the same major version; slower.
        hardware_compatible: runs on every GPU since Ampere; slower.
    """

    optimisation_level: int = 3
    workspace_bytes: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False

    def check(self, binding: Binding) -> None:
        """Raise a `UsageError` where a binding does not take them."""
        if self.optimisation_level not in OPTIMISATION_LEVELS:
            raise UsageError(f"optimisation level must be 0 to 5, not {self.optimisation_level}")
        if self.workspace_bytes is not None and self.workspace_bytes < 1:
            raise UsageError(f"workspace must be at least 1 byte, not {self.workspace_bytes}")
        if binding.ahead and (self.version_compatible or self.hardware_compatible):
            raise UsageError(
                f"compatible engines are TensorRT's; for {binding.title} name several GPUs instead"
            )


@dataclass(frozen=True)
class EngineFile:
    """An engine on disk, its record beside it.

    Attributes:
        path: of the engine.
        record: what it was built from and for.
        size_bytes: of the engine.
        reused: it was there already.
    """

    path: Path
    record: EngineRecord
    size_bytes: int
    reused: bool


def build_engine(
    binding: Binding,
    model: Path,
    folder: Path,
    options: BuildOptions = BuildOptions(),
    *,
    gpus: Sequence[str] = (CURRENT,),
    timing_cache: Path | None = None,
    device: int = 0,
    reuse: bool = False,
) -> EngineFile:
    """Build an engine from an ONNX file, in the file's own precision.

    The name carries the binding's version, the compute capabilities, precision and the file's hash
    (`record.engine_name`); a record with all of them and the file's metadata is written beside it.

    Args:
        binding: that builds it.
        model: the ONNX file, its weights inside. Free axes are built for `FREE_FIRST` images and
            for `FREE_OTHER` elsewhere.
        folder: where the engine goes.
        options: what changes it.
        gpus: whose engine it is to be: ``current`` for GPU number ``device``, or, where the binding
            builds ahead, compute capabilities such as ``sm86``, for which no GPU is needed.
        timing_cache: file in which TensorRT keeps measured kernels from build to build; made if
            missing, begun anew if it is of another GPU or TensorRT. Level 0 does not use it, nor
            does TensorRT for RTX, whose kernels are chosen when an engine is loaded.
        device: number of the GPU to build on.
        reuse: return the engine that is there, if it fits the file, the machine and these options.

    Raises:
        UsageError: a number is out of range, or the binding knows no such GPU.
        UnavailableError: the binding or the GPU is missing, or too old for compatible engines.
        DataError: the file is broken, too new, or the binding cannot build it.
        GateError: the file is in fp16 or int8, but no layer of the engine computes in it.
    """
    options.check(binding)
    trt = binding.load()
    here = binding.machine(device) if CURRENT in gpus else None
    capabilities = named_gpus(binding, trt, gpus) if here is None else (here.compute_capability,)
    if here is not None and len(gpus) > 1:
        raise UsageError(f"--gpu {CURRENT} stands alone; name every GPU, or none")
    if options.hardware_compatible and here and here.compute_capability < AMPERE:
        raise UnavailableError(f"hardware-compatible engines need an Ampere GPU, not {here.gpu}")
    content, proto = read_onnx(model)
    precision = precision_of(model)
    digest = sha256(content)
    name = engine_name(model.stem, binding.name, trt.__version__, capabilities, precision, digest)
    path = folder / name
    if reuse and (kept := _kept(path, here, digest, options)):
        return EngineFile(path, kept, path.stat().st_size, reused=True)
    began = time.perf_counter()
    graph = for_engines(proto, model).SerializeToString()
    plan, layers = _build(
        binding, model, graph, options, () if here else capabilities, timing_cache, device
    )
    if layers is not None and precision != "fp32" and not layers.get(precision):
        raise GateError(
            f"{model}: is in {precision}, but its engine computes in "
            f"{', '.join(layers) or 'no known type'}; send the report of nastool doctor --selftest"
        )
    with whole_file(path) as temporary:
        temporary.write_bytes(plan)
    record = EngineRecord(
        runtime=binding.name,
        version=trt.__version__,
        compute_capabilities=capabilities,
        gpu=None if binding.ahead or here is None else here.gpu,
        system=system(),
        precision=precision,
        layers=layers,
        onnx_sha256=digest,
        engine_sha256=sha256(plan),
        seconds=round(time.perf_counter() - began, 3),
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        **asdict(options),
    )
    record.write(path)
    return EngineFile(path, record, len(plan), reused=False)


def named_gpus(binding: Binding, trt: Any, gpus: Sequence[str]) -> tuple[Capability, ...]:
    """Turn names such as ``sm86`` or ``8.6`` into compute capabilities, sorted.

    Raises:
        UsageError: the binding builds for the GPU that is here only, or knows no such one.
    """
    if not binding.ahead:
        raise UsageError(
            f"{binding.title} builds for the GPU that it runs on: leave out --gpu, or take "
            "--runtime tensorrt-rtx"
        )
    known = {
        (int(name[2:-1]), int(name[-1])): name.lower()
        for name in trt.ComputeCapability.__members__
        if name.startswith("SM")
    }
    found = set()
    for text in gpus:
        match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", text.lower())
        capability = (int(match[1]), int(match[2])) if match else None
        if capability not in known:
            raise UsageError(
                f"--gpu {text}: {binding.title} {trt.__version__} builds for "
                f"{', '.join(known[key] for key in sorted(known))} and {CURRENT}"
            )
        found.add(capability)
    return tuple(sorted(found))


def read_onnx(path: Path) -> tuple[bytes, onnx.ModelProto]:
    """Read an ONNX file: its content, and what is in it.

    Raises:
        DataError: it is not ONNX, is newer than the onnx package, or keeps weights elsewhere.
    """
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(
            path, f"cannot be opened as an ONNX model ({first}); {MAYBE_TRUNCATED}"
        ) from None
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not opsets:
        raise DataError(path, f"names no opset; {MAYBE_TRUNCATED}")
    if (opset := max(opsets)) > onnx.defs.onnx_opset_version():
        raise DataError(
            path,
            f"is newer than onnx {onnx.__version__} understands (opset {opset}); update onnx, or "
            "export with opset 18",
        )
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise DataError(path, "keeps weights in another file; save it as one file")
    return content, model


def _kept(
    path: Path, here: Machine | None, onnx_sha256: str, options: BuildOptions
) -> EngineRecord | None:
    """Return the record of an engine that can be used as it is."""
    if not path.is_file():
        return None
    try:
        record = EngineRecord.read(path)
        check_before_loading(path, path.read_bytes(), here)
    except NastoolError:
        return None
    same = record.onnx_sha256 == onnx_sha256
    wanted = asdict(options)
    return record if same and wanted == record.model_dump(include=set(wanted)) else None


def _build(
    binding: Binding,
    model: Path,
    content: bytes,
    options: BuildOptions,
    ahead: Sequence[Capability],
    timing_cache: Path | None,
    device: int,
) -> tuple[bytes, dict[str, int] | None]:
    """Return the serialised engine and the layers by precision, where a GPU can tell them."""
    import torch

    trt = binding.load()
    log = make_log(trt)
    with contextlib.nullcontext() if ahead else torch.cuda.device(device):
        builder = start(trt.Builder, log)
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = trt.OnnxParser(network, log)
        if not parser.parse(content):
            raise DataError(
                model,
                f"cannot be opened as an ONNX model by {binding.title} ({_reason(parser, log)})",
            )
        config = _config(trt, builder, options)
        if binding.ahead:
            _aim(trt, config, ahead)
        typical = _set_free_axes(builder, network, config)
        cache = None
        if timing_cache and not binding.ahead:
            cache = _timing_cache(config, timing_cache)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise DataError(model, f"{binding.title} cannot build an engine of it ({log.last()})")
        if timing_cache and cache:
            with whole_file(timing_cache) as temporary:
                temporary.write_bytes(bytes(cache.serialize()))
        built = bytes(plan)
        if ahead:
            return built, None
        engine = deserialise(trt, built, options.version_compatible, log)
        if engine is None:
            raise DataError(
                model, f"{binding.title} cannot load the engine that it built ({log.last()})"
            )
        return built, read_back(trt, engine, typical)


def _aim(trt: Any, config: Any, ahead: Sequence[Capability]) -> None:
    """Say which GPUs an engine of TensorRT for RTX is for; none: the one that is here."""
    cards = [getattr(trt.ComputeCapability, f"SM{major}{minor}") for major, minor in ahead]
    cards = cards or [trt.ComputeCapability.CURRENT]
    config.num_compute_capabilities = len(cards)
    for index, card in enumerate(cards):
        config.set_compute_capability(card, index)


def _reason(parser: Any, log: Any) -> str:
    if not parser.num_errors:
        return log.last()
    parser_error = parser.get_error(0)
    text = f"{parser_error.node_operator()}: {parser_error.desc()}"
    return text.splitlines()[0]


def _config(trt: Any, builder: Any, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    config.builder_optimization_level = options.optimisation_level
    # Names and element types of layers, for reading the precisions back and for profiles.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.workspace_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
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
