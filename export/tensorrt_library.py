"""The TensorRT library: whether it is there, what it says of itself, engines loaded and inspected.

Written to the Python bindings 10.0.1, 10.16.1, 11.0.0 and 11.4.0: every name that is used exists in
all four (`tests/export/test_tensorrt_names.py` has the list). It has not been run on hardware;
``nastool doctor --selftest`` is how to find out on yours.

Nothing here imports tensorrt or needs a GPU before a function is called.
"""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from export.engine_record import EngineRecord, Machine, check_before_loading, system
from export.errors import DataError, UnavailableError

INSTALL = (
    "pip install tensorrt (it fetches its libraries from NVIDIA's own index, pypi.nvidia.com, and "
    "needs an NVIDIA driver; on a Jetson use the 10.x that comes with JetPack)"
)
OLDEST = 10
# Of the inspector's layer types, those that do the multiplying.
MULTIPLIES = re.compile("conv|gemm|matrix|matmul", re.IGNORECASE)
# How the inspector spells element types: "Row major linear FP16 format" in 10, "Half" in 11.
SPELLINGS = {
    "int8": re.compile("(?<!u)int8", re.IGNORECASE),
    "fp16": re.compile("half|fp16|(?<!b)float16", re.IGNORECASE),
    "fp32": re.compile("fp32|float32|float$", re.IGNORECASE),
}


def load_tensorrt() -> Any:
    """Import tensorrt.

    Raises:
        UnavailableError: it is missing, its libraries are, or it is older than 10.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnavailableError(f"TensorRT cannot be loaded ({first}): {INSTALL}") from None
    version: str = tensorrt.__version__
    if int(version.partition(".")[0]) < OLDEST:
        raise UnavailableError(f"TensorRT {version} is too old, {OLDEST} is needed: {INSTALL}")
    return tensorrt


def machine(device: int = 0) -> Machine:
    """Describe this machine as engines see it.

    Args:
        device: number of the GPU.

    Raises:
        UnavailableError: TensorRT or that GPU is missing.
    """
    import torch

    trt = load_tensorrt()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device >= count:
        raise UnavailableError(
            f"torch {torch.__version__} sees {count} CUDA GPUs, so cuda:{device} cannot be used: "
            "install an NVIDIA driver and a CUDA build of torch"
        )
    return Machine(
        tensorrt=trt.__version__,
        compute_capability=torch.cuda.get_device_capability(device),
        gpu=torch.cuda.get_device_name(device),
        system=system(),
    )


def make_log() -> Any:
    """Make a TensorRT logger that prints nothing and keeps the errors (`last`)."""
    trt = load_tensorrt()
    serious = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    class Log(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in serious:
                self.errors.append(msg.strip())

        def last(self) -> str:
            return (self.errors[-1].splitlines() or [""])[0] if self.errors else "no reason given"

    return Log()


def start(kind: Any, log: Any) -> Any:
    """Make a ``Builder`` or ``Runtime``.

    Raises:
        UnavailableError: TensorRT cannot start, which pybind11 words as a TypeError.
    """
    try:
        return kind(log)
    except TypeError:
        raise UnavailableError(
            f"TensorRT cannot start on this GPU ({log.last()}): update the NVIDIA driver"
        ) from None


def make_profiler(now: defaultdict[str, float]) -> Any:
    """Make a TensorRT profiler that adds each layer's milliseconds to ``now``."""
    trt = load_tensorrt()

    class Profiler(trt.IProfiler):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            now[layer_name] += ms

    return Profiler()


def load_engine(path: Path, device: int = 0) -> tuple[Any, EngineRecord]:
    """Load an engine, after `export.engine_record.check_before_loading`.

    Returns:
        TensorRT's ``ICudaEngine`` and the record.

    Raises:
        UnavailableError: TensorRT or the GPU is missing.
        DataError: the engine does not fit here, or TensorRT refuses it.
    """
    import torch

    content = path.read_bytes()
    record = check_before_loading(path, content, machine(device))
    log = make_log()
    with torch.cuda.device(device):
        engine = deserialise(content, record.version_compatible, log)
    if engine is None:
        raise DataError(path, f"is refused by TensorRT ({log.last()}); build it again")
    return engine, record


def deserialise(content: bytes, version_compatible: bool, log: Any) -> Any:
    """Make an ``ICudaEngine`` of a plan, or None when TensorRT refuses it.

    Only ever called with what was built here, or was checked against its record.
    """
    trt = load_tensorrt()
    runtime = start(trt.Runtime, log)
    # A version-compatible engine brings its own runtime along, as code.
    runtime.engine_host_code_allowed = version_compatible
    return runtime.deserialize_cuda_engine(content)


def read_back(engine: Any, typical: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Ask an engine which precisions its layers compute in; see `layer_precisions`.

    Args:
        engine: an ``ICudaEngine`` built with detailed verbosity.
        typical: a shape for each input with free axes: 10 names no types before it knows them.
    """
    trt = load_tensorrt()
    context = engine.create_execution_context()
    for name, shape in typical.items():
        context.set_input_shape(name, shape)
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    try:
        document = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    except json.JSONDecodeError:
        return {}
    return layer_precisions(document)


def layer_precisions(document: Any) -> dict[str, int]:
    """Count layers by the precision that they compute in.

    Only layers that multiply count (convolutions and matrix products), because a file's casts and
    quantisation read its types too; where fusion hides which do, all layers count.

    Args:
        document: the inspector's JSON, of TensorRT 10 (``Format/Datatype``) or 11 (``DataType``).

    Returns:
        ``fp32``, ``fp16`` and ``int8``, those that occur, by falling count.
    """
    layers = [layer for layer in document.get("Layers", []) if isinstance(layer, dict)]
    multiply = [layer for layer in layers if MULTIPLIES.search(layer.get("LayerType", ""))]
    count: Counter[str] = Counter()
    for layer in multiply or layers:
        # The first input is the one multiplied; a residual after it may be of another type.
        for given in layer.get("Inputs", [])[:1]:
            text = str(given.get("DataType") or given.get("Format/Datatype", ""))
            found = next(
                (name for name, spelling in SPELLINGS.items() if spelling.search(text)), ""
            )
            count[found] += bool(found)
    return {name: number for name, number in count.most_common() if name}
