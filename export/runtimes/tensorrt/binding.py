"""The two libraries, TensorRT and TensorRT for RTX: whether one is there, and what it says.

TensorRT for RTX has the interface of TensorRT 11, installs from PyPI alone, and builds engines for
named GPUs on any machine; TensorRT builds on the GPU that will run the engine. Every name that is
used exists in the Python bindings of TensorRT 10.0.1, 10.16.1, 11.0.0 and 11.4.0, and of TensorRT
for RTX 1.7.1, or is of one of the two; `tests/export/runtimes/test_tensorrt_names.py` has the list.

Nothing here imports a binding or needs a GPU before a function is called.
"""

import importlib
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.runtimes.tensorrt.record import EngineRecord, Machine, check_before_loading, system
from export.system.errors import DataError, UnavailableError

# Of the inspector's layer types, those that do the multiplying.
MULTIPLIES = re.compile("conv|gemm|matrix|matmul", re.IGNORECASE)
# How the inspector spells element types: "Row major linear FP16 format" in 10, "Half" in 11.
SPELLINGS = {
    "int8": re.compile("(?<!u)int8", re.IGNORECASE),
    "fp16": re.compile("half|fp16|(?<!b)float16", re.IGNORECASE),
    "fp32": re.compile("fp32|float32|float$", re.IGNORECASE),
}


@dataclass(frozen=True)
class Binding:
    """One of NVIDIA's two libraries.

    Attributes:
        name: of the runtime, as users write it.
        title: in sentences.
        module: of its Python binding.
        oldest: major version that will do.
        install: how to get it, in a line.
        ahead: it builds engines without a GPU, for those that are named.
    """

    name: str
    title: str
    module: str
    oldest: int
    install: str
    ahead: bool

    def load(self) -> Any:
        """Import the binding.

        Raises:
            UnavailableError: it is missing, its libraries are, or it is too old.
        """
        try:
            trt = importlib.import_module(self.module)
        except (ImportError, OSError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnavailableError(
                f"{self.title} cannot be loaded ({first}): {self.install}"
            ) from None
        version: str = trt.__version__
        if int(version.partition(".")[0]) < self.oldest:
            raise UnavailableError(
                f"{self.title} {version} is too old, {self.oldest} is needed: {self.install}"
            )
        return trt

    def machine(self, device: int = 0) -> Machine:
        """Describe this machine as engines see it.

        Args:
            device: number of the GPU.

        Raises:
            UnavailableError: the binding or that GPU is missing.
        """
        import torch

        trt = self.load()
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device >= count:
            raise UnavailableError(
                f"torch {torch.__version__} sees {count} CUDA GPUs, so cuda:{device} cannot be "
                "used: install an NVIDIA driver and a CUDA build of torch"
            )
        return Machine(
            runtime=self.name,
            version=trt.__version__,
            compute_capability=torch.cuda.get_device_capability(device),
            gpu=torch.cuda.get_device_name(device),
            system=system(),
        )


TENSORRT = Binding(
    "tensorrt",
    "TensorRT",
    "tensorrt",
    10,
    "pip install tensorrt (it fetches its libraries from NVIDIA's own index, pypi.nvidia.com, and "
    "needs an NVIDIA driver; on a Jetson use the 10.x that comes with JetPack)",
    ahead=False,
)
TENSORRT_RTX = Binding(
    "tensorrt-rtx",
    "TensorRT for RTX",
    "tensorrt_rtx",
    1,
    "pip install tensorrt-rtx (from PyPI; to run what it builds, an NVIDIA driver and a Turing or "
    "newer RTX card)",
    ahead=True,
)


BINDINGS = {binding.name: binding for binding in (TENSORRT, TENSORRT_RTX)}


def make_log(trt: Any) -> Any:
    """Make a logger of a binding that prints nothing and keeps the errors (`last`)."""
    serious = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    class Log(trt.ILogger):
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


def make_profiler(trt: Any, now: defaultdict[str, float]) -> Any:
    """Make a profiler of a binding that adds each layer's milliseconds to ``now``."""

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            now[layer_name] += ms

    return Profiler()


def load_engine(binding: Binding, path: Path, device: int = 0) -> tuple[Any, EngineRecord]:
    """Load an engine, after `export.runtimes.tensorrt.record.check_before_loading`.

    Returns:
        The binding's ``ICudaEngine`` and the record.

    Raises:
        UnavailableError: the binding or the GPU is missing.
        DataError: the engine does not fit here, or the binding refuses it.
    """
    import torch

    trt, here = binding.load(), binding.machine(device)
    content = path.read_bytes()
    record = check_before_loading(path, content, here)
    log = make_log(trt)
    with torch.cuda.device(device):
        if binding.ahead and (problem := _invalid(trt, content, log)):
            raise DataError(path, f"is refused by {binding.title} ({problem}); build it again")
        engine = deserialise(trt, content, record.version_compatible, log)
    if engine is None:
        raise DataError(path, f"is refused by {binding.title} ({log.last()}); build it again")
    return engine, record


def _invalid(trt: Any, content: bytes, log: Any) -> str | None:
    """Return why an engine of TensorRT for RTX cannot be used here, None where it can."""
    runtime = start(trt.Runtime, log)
    validity, found = runtime.get_engine_validity(content)
    if validity != trt.EngineValidity.INVALID:
        return None
    reasons = [
        name.lower().replace("_", " ")
        for name, reason in trt.EngineInvalidityDiagnostics.__members__.items()
        if int(reason) & int(found)
    ]
    return ", ".join(reasons) or log.last()


def deserialise(trt: Any, content: bytes, version_compatible: bool, log: Any) -> Any:
    """Make an ``ICudaEngine`` of a plan, or None when the binding refuses it.

    Only ever called with what was built here, or was checked against its record.
    """
    runtime = start(trt.Runtime, log)
    # A version-compatible engine brings its own runtime along, as code.
    runtime.engine_host_code_allowed = version_compatible
    return runtime.deserialize_cuda_engine(content)


def read_back(trt: Any, engine: Any, typical: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Ask an engine which precisions its layers compute in; see `layer_precisions`.

    Args:
        trt: the binding.
        engine: an ``ICudaEngine`` built with detailed verbosity.
        typical: a shape for each input with free axes: 10 names no types before it knows them.
    """
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
