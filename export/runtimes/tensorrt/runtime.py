"""TensorRT and TensorRT for RTX on NVIDIA GPUs.

Buffers and streams are torch's, so that no package but the binding itself is needed.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import numpy as np

from export.runtimes.base import IN_MEMORY, Array, Runtime, Session, TensorSpec
from export.runtimes.measurement import Timer
from export.runtimes.tensorrt.binding import (
    TENSORRT,
    TENSORRT_RTX,
    Binding,
    load_engine,
    make_profiler,
)
from export.runtimes.tensorrt.engine import BuildOptions, build_engine
from export.runtimes.tensorrt.record import ENGINE_SUFFIXES
from export.system.errors import DataError, UsageError
from export.system.files import whole_file

TIMING_CACHE = "tensorrt-timing.cache"
# Beside an engine of TensorRT for RTX: what has been compiled of it for this card.
KERNELS = ".kernels"


@dataclass(frozen=True)
class EngineOptions:
    """How a model is opened.

    Attributes:
        copies: whether `Session.timer` counts the copies from and to the host. Of NVIDIA's trtexec,
            10 counts them by default and 11 does not.
        cuda_graph: record the kernels once and replay them. trtexec 11 does by default.
        optimisation_level, workspace_bytes: as in `export.runtimes.tensorrt.engine.BuildOptions`.
        engines: folder for engines and caches; None is that of the ONNX file.
        timing_cache: file of the kernels that TensorRT has measured, shared by many models; None
            is one beside the engines. TensorRT for RTX has none.
        reuse: take the engine that an earlier opening has built there.
    """

    copies: bool = True
    cuda_graph: bool = False
    optimisation_level: int = 3
    workspace_bytes: int | None = None
    engines: str | Path | None = None
    timing_cache: str | Path | None = None
    reuse: bool = True

    @property
    def building(self) -> BuildOptions:
        """What of it changes the engine."""
        return BuildOptions(self.optimisation_level, self.workspace_bytes)


@dataclass(frozen=True)
class TensorRtOptions(EngineOptions):
    """How a model is opened by TensorRT.

    Attributes:
        version_compatible, hardware_compatible: as in
            `export.runtimes.tensorrt.engine.BuildOptions`.
    """

    version_compatible: bool = False
    hardware_compatible: bool = False

    @property
    def building(self) -> BuildOptions:
        """What of it changes the engine."""
        return BuildOptions(
            self.optimisation_level,
            self.workspace_bytes,
            self.version_compatible,
            self.hardware_compatible,
        )


class TensorRt(Runtime):
    """TensorRT; opens an ONNX file (its engine is built, or found beside it) or an engine."""

    name = TENSORRT.name
    kinds = ("cuda",)
    options_type: ClassVar[type[EngineOptions]] = TensorRtOptions
    binding: ClassVar[Binding] = TENSORRT

    @classmethod
    def version(cls) -> str:
        """Return the version of the installed package."""
        return cls.binding.load().__version__

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """Return ``cuda`` when torch sees a GPU."""
        import torch

        cls.binding.load()
        return ("cuda",) if torch.cuda.is_available() else ()

    @classmethod
    def remedy(cls, kind: str) -> str:
        """Say what is missing besides the binding itself."""
        if kind == "cpu":
            return f"{cls.name} runs on NVIDIA GPUs only: use --device cuda:0, or another --runtime"
        return (
            "torch sees no CUDA GPU: install an NVIDIA driver and a CUDA build of torch; "
            f"{cls.binding.install}"
        )

    @classmethod
    def open_impl(
        cls,
        model: str | Path | bytes,
        kind: str,
        index: int,
        threads: int | None,
        options: EngineOptions,
    ) -> Session:
        """Open an engine, or build one."""
        if isinstance(model, bytes):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                path.write_bytes(model)
                try:
                    return cls._open(path, IN_MEMORY, index, options)
                except DataError as error:
                    problem = str(error).removeprefix(f"{path}: ")
                    raise DataError(IN_MEMORY, problem) from None
        return cls._open(Path(model), str(model), index, options)

    @classmethod
    def _open(
        cls, path: Path, source: str, index: int, options: EngineOptions
    ) -> "TensorRtSession":
        if path.suffix not in ENGINE_SUFFIXES:
            folder = Path(options.engines or path.parent)
            path = build_engine(
                cls.binding,
                path,
                folder,
                options.building,
                timing_cache=Path(options.timing_cache or folder / TIMING_CACHE),
                device=index,
                reuse=options.reuse,
            ).path
        engine, record = load_engine(cls.binding, path, index)
        settings = {
            "copies": options.copies,
            "cuda_graph": options.cuda_graph,
            "optimisation_level": record.optimisation_level,
            "version_compatible": record.version_compatible,
            "hardware_compatible": record.hardware_compatible,
            "layers": record.layers,
        }
        kernels = None
        if cls.binding.ahead and source != IN_MEMORY:
            kernels = path.with_suffix(KERNELS)
        return TensorRtSession(
            cls.binding, engine, source, index, record.metadata, settings, kernels
        )


class TensorRtForRtx(TensorRt):
    """TensorRT for RTX; its engines are compiled for the card when they are first loaded."""

    name = TENSORRT_RTX.name
    options_type = EngineOptions
    binding = TENSORRT_RTX


class Kernels:
    """What TensorRT for RTX compiles of an engine for the card on which it is loaded.

    Args:
        trt: the binding.
        engine: an ``ICudaEngine``.
        path: where they are kept from one loading to the next; None keeps none.
        cuda_graph: record them once and replay them.

    Attributes:
        runtime_config: for ``create_execution_context``.
    """

    def __init__(self, trt: Any, engine: Any, path: Path | None, cuda_graph: bool):
        self.runtime_config = engine.create_runtime_config()
        self.runtime_config.cuda_graph_strategy = (
            trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            if cuda_graph
            else trt.CudaGraphStrategy.DISABLED
        )
        self.runtime_cache = self.runtime_config.create_runtime_cache()
        self._path = path
        self._kept = path.read_bytes() if path and path.is_file() else b""
        # Those of another card or driver are refused, and compiled anew.
        if self._kept and not self.runtime_cache.deserialize(self._kept):
            self._kept = b""
        self.runtime_config.set_runtime_cache(self.runtime_cache)

    def save(self) -> None:
        """Keep what has been compiled."""
        if self._path and (content := bytes(self.runtime_cache.serialize())) != self._kept:
            with whole_file(self._path) as temporary:
                temporary.write_bytes(content)


class TensorRtSession(Session):
    """An engine on a GPU, its inputs and outputs in buffers that stay there."""

    def __init__(
        self,
        binding: Binding,
        engine: Any,
        source: str,
        index: int,
        metadata: dict[str, str],
        settings: dict[str, Any],
        kernels: Path | None,
    ):
        import torch

        trt = binding.load()
        self.binding = binding
        self.trt = trt
        self.engine = engine
        self.source = source
        self.device = f"cuda:{index}"
        self.metadata = metadata
        self.settings = settings
        self.inputs = self._specs(trt.TensorIOMode.INPUT)
        self.outputs = self._specs(trt.TensorIOMode.OUTPUT)
        self.kernels: Kernels | None = None
        with torch.cuda.device(index):
            if binding.ahead:
                self.kernels = Kernels(trt, engine, kernels, settings["cuda_graph"])
                self.context = engine.create_execution_context(self.kernels.runtime_config)
            else:
                self.context = engine.create_execution_context()
        # The engine was built with every name in it; writing them into traces costs time.
        self.context.nvtx_verbosity = trt.ProfilingVerbosity.NONE
        self.stream = torch.cuda.Stream(self.device)
        self.shapes: dict[str, tuple[int, ...]] | None = None
        self.buffers: dict[str, Any] = {}
        self.pinned: dict[str, Any] = {}
        self.graph: Any = None

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Copy in, run, copy out."""
        import torch

        try:
            # Never the default stream: TensorRT then waits for the whole device.
            with torch.cuda.stream(self.stream):
                self._bind(feeds)
                self._upload(feeds)
                self._launch()
                return self._fetch()
        except RuntimeError as error:
            first = (str(error).splitlines() or [""])[0]
            raise DataError(self.source, f"fails when run ({first})") from None

    def timer_impl(self, feeds: dict[str, Array]) -> Timer:
        """Time runs until the GPU has finished, with the copies if the session counts them."""
        import torch

        self.run_impl(feeds)
        copies = self.settings["copies"]

        def timed(count: int) -> list[float]:
            times = []
            with torch.cuda.stream(self.stream):
                # The buffers may have been another timer's since.
                self._bind(feeds)
                self._upload(feeds)
                for _ in range(count):
                    start = time.perf_counter_ns()
                    if copies:
                        self._upload(feeds)
                    self._launch()
                    if copies:
                        self._fetch()
                    times.append((time.perf_counter_ns() - start) / 1e6)
            return times

        return timed

    def layer_times(self, feeds: Mapping[str, Array], runs: int) -> dict[str, float]:
        """Time every layer of the engine; those that TensorRT has fused are one.

        Timing each takes time itself: read the times as shares of a latency, not as its parts.
        """
        if runs < 1:
            raise UsageError(f"runs must be at least 1, not {runs}")
        checked = self._checked(feeds)
        # A profiler cannot be taken off a context again, so it gets one of its own.
        settings = {**self.settings, "cuda_graph": False}
        index = int(self.device.partition(":")[2])
        now: defaultdict[str, float] = defaultdict(float)
        with TensorRtSession(
            self.binding, self.engine, self.source, index, self.metadata, settings, None
        ) as twin:
            twin.context.profiler = make_profiler(self.trt, now)
            twin.run_impl(checked)
            taken = []
            for _ in range(runs):
                now.clear()
                twin.run_impl(checked)
                taken.append(dict(now))
        return {name: median(times[name] for times in taken) for name in taken[0]}

    def close_impl(self) -> None:
        """Free the recorded graph, the buffers, the context, and then the engine."""
        if self.kernels and self.context:
            self.kernels.save()
        self.graph = self.shapes = None
        self.buffers, self.pinned = {}, {}
        self.context = self.kernels = self.engine = None

    def _specs(self, mode: Any) -> tuple[TensorSpec, ...]:
        engine = self.engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        return tuple(self._spec(name) for name in names if engine.get_tensor_mode(name) == mode)

    def _spec(self, name: str) -> TensorSpec:
        trt = self.trt
        if self.engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise DataError(self.source, f"{name!r} is a shape, not an array; export it otherwise")
        try:
            dtype = np.dtype(trt.nptype(self.engine.get_tensor_dtype(name)))
        except TypeError:
            raise DataError(self.source, f"{name!r} is of a type without array form") from None
        shape = tuple(None if axis == -1 else axis for axis in self.engine.get_tensor_shape(name))
        return TensorSpec(name, shape, dtype)

    def _bind(self, feeds: dict[str, Array]) -> None:
        # Buffers are kept while the shapes stay: a recorded CUDA graph knows their addresses.
        shapes = {name: array.shape for name, array in feeds.items()}
        if shapes == self.shapes:
            return
        self.shapes, self.graph = None, None
        for name, shape in shapes.items():
            if not self.context.set_input_shape(name, shape):
                smallest, _, largest = self.engine.get_tensor_profile_shape(name, 0)
                raise DataError(
                    self.source,
                    f"its engine takes {name!r} of {list(smallest)} to {list(largest)}, "
                    f"not {list(shape)}",
                )
        if unknown := self.context.infer_shapes():
            raise RuntimeError(f"no shape for {', '.join(unknown)}")
        for spec in (*self.inputs, *self.outputs):
            self._allocate(spec, tuple(self.context.get_tensor_shape(spec.name)))
        self.shapes = shapes

    def _allocate(self, spec: TensorSpec, shape: tuple[int, ...]) -> None:
        import torch

        if -1 in shape:
            raise RuntimeError(f"the size of {spec.name!r} depends on the data")
        dtype = torch.from_numpy(np.empty(0, spec.dtype)).dtype
        # Page-locked memory on the host side: copies are faster, and need not be waited for.
        self.pinned[spec.name] = torch.empty(shape, dtype=dtype, pin_memory=True)
        self.buffers[spec.name] = torch.empty(shape, dtype=dtype, device=self.device)
        if not self.context.set_tensor_address(spec.name, self.buffers[spec.name].data_ptr()):
            raise RuntimeError(f"no buffer for {spec.name!r}")

    def _upload(self, feeds: dict[str, Array]) -> None:
        for name, array in feeds.items():
            self.pinned[name].numpy()[...] = array
            self.buffers[name].copy_(self.pinned[name], non_blocking=True)

    def _launch(self) -> None:
        import torch

        if not self.settings["cuda_graph"] or self.kernels:
            self._enqueue()
        else:
            if self.graph is None:
                # Shapes are settled by a run, which a recording must not contain.
                self._enqueue()
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph, stream=self.stream):
                    self._enqueue()
            self.graph.replay()
        self.stream.synchronize()

    def _enqueue(self) -> None:
        if not self.context.execute_async_v3(self.stream.cuda_stream):
            raise RuntimeError("TensorRT cannot enqueue it")

    def _fetch(self) -> dict[str, Array]:
        for spec in self.outputs:
            self.pinned[spec.name].copy_(self.buffers[spec.name], non_blocking=True)
        self.stream.synchronize()
        return {spec.name: self.pinned[spec.name].numpy().copy() for spec in self.outputs}
