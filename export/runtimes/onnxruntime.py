"""ONNX Runtime on the CPU and on NVIDIA GPUs."""

import ctypes
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort

from export.environment import gpus
from export.errors import BrokenError, DataError, NastoolError, UnavailableError
from export.measurement import Timer
from export.runtimes.base import IN_MEMORY, Array, Runtime, Session, TensorSpec
from export.runtimes.onnxruntime_profile import node_times

CUDA = "CUDAExecutionProvider"
CUDA_REMEDY = (
    "pip uninstall onnxruntime, then pip install onnxruntime-gpu (the two packages overwrite each "
    "other); it needs an NVIDIA driver, CUDA and cuDNN 9"
)
DTYPES = {
    "float": "float32",
    "double": "float64",
    **{name: name for name in ("float16", "bool", "uint8", "int8", "uint16", "int16")},
    **{name: name for name in ("uint32", "int32", "uint64", "int64")},
}

ort.set_default_logger_severity(4)


@dataclass(frozen=True)
class OnnxRuntimeOptions:
    """How a model is opened.

    Attributes:
        copies: on a GPU, whether `Session.timer` counts the copies from and to the host.
        cuda_graph: on a GPU, record the kernels once and replay them (fixed shapes only).
        cudnn_search: how cuDNN's convolution algorithm is chosen: ``EXHAUSTIVE``, ``HEURISTIC``
            or ``DEFAULT``. What unset means differs between versions.
        float_quantised: on the CPU, compute quantised operators in float between their roundings:
            slow, and what hardware gives that does not overflow (x86 without VNNI does).
        profile: prefix of the JSON file of times per node, written by `Session.close`.
    """

    copies: bool = True
    cuda_graph: bool = False
    cudnn_search: str = "EXHAUSTIVE"
    float_quantised: bool = False
    profile: str | Path | None = None


class OnnxRuntime(Runtime):
    """ONNX Runtime; on a GPU nothing falls back to the CPU unseen."""

    name = "onnxruntime"
    options_type = OnnxRuntimeOptions

    @classmethod
    def version(cls) -> str:
        """Return the version of the installed package."""
        return ort.__version__

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """Return ``cpu``, and ``cuda`` when the installed package was built for it."""
        return ("cpu", "cuda") if CUDA in ort.get_available_providers() else ("cpu",)

    @classmethod
    def remedy(cls, kind: str) -> str:
        """Say how to get ONNX Runtime for CUDA."""
        return (
            f"onnxruntime {ort.__version__} as installed has no {kind.upper()} support: "
            f"{CUDA_REMEDY}"
        )

    @classmethod
    def open_impl(
        cls,
        model: str | Path | bytes,
        kind: str,
        index: int,
        threads: int | None,
        options: OnnxRuntimeOptions,
    ) -> Session:
        """Open a model, its session set for the lowest latency of one frame."""
        source = IN_MEMORY if isinstance(model, bytes) else str(model)
        native_options = ort.SessionOptions()
        native_options.log_severity_level = 4
        native_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        native_options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        native_options.inter_op_num_threads = 1
        native_options.intra_op_num_threads = threads or os.cpu_count() or 1
        # Workers spin while a run lasts (sleeping costs latency), and sleep as soon as it ends:
        # otherwise they take time from the session that is measured next, and from the camera.
        native_options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        native_options.add_session_config_entry("session.force_spinning_stop", "1")
        if options.float_quantised:
            native_options.add_session_config_entry("session.disable_quant_qdq", "1")
        if options.profile:
            native_options.enable_profiling = True
            native_options.profile_file_prefix = str(options.profile)
        provider: Any = "CPUExecutionProvider"
        if kind == "cuda":
            # Finds the CUDA libraries that torch or the nvidia-* packages brought.
            ort.preload_dlls()
            native_options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            provider = (
                CUDA,
                {
                    "device_id": str(index),
                    "cudnn_conv_algo_search": options.cudnn_search,
                    "enable_cuda_graph": str(int(options.cuda_graph)),
                },
            )
        try:
            native = ort.InferenceSession(
                model if isinstance(model, bytes) else str(model),
                native_options,
                providers=[provider],
                # It would print to stdout and go on with the CPU.
                enable_fallback=0,
            )
        except Exception as error:
            raise _opening_error(source, kind, error) from None
        if kind == "cuda" and CUDA not in native.get_providers():
            raise _no_cuda(_loading_problem())
        if kind == "cpu":
            settings: dict[str, Any] = {"threads": native_options.intra_op_num_threads}
            session = OnnxRuntimeSession(native, source, "cpu", settings)
            session.reopen = lambda profile: cls.open_impl(
                model, kind, index, threads, replace(options, profile=profile)
            )
            return session
        settings = {
            "copies": options.copies,
            "cuda_graph": options.cuda_graph,
            "cudnn_search": options.cudnn_search,
        }
        return CudaSession(native, source, f"cuda:{index}", settings)


class OnnxRuntimeSession(Session):
    """A model on the CPU.

    Attributes:
        reopen: opens it once more, to write a profile under the path given; None on a GPU, where
            ONNX Runtime times the launches of the nodes, not the nodes.
    """

    reopen: Callable[[Path], Session] | None = None

    def __init__(self, native: Any, source: str, device: str, settings: dict[str, Any]):
        self.native = native
        self.source = source
        self.device = device
        self.settings = settings
        self.inputs = tuple(_spec(source, value) for value in native.get_inputs())
        self.outputs = tuple(_spec(source, value) for value in native.get_outputs())
        self.metadata = dict(native.get_modelmeta().custom_metadata_map)

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Run once."""
        try:
            values = self.native.run(None, feeds)
        except Exception as error:
            raise DataError(self.source, f"fails when run ({_first_line(error)})") from None
        return dict(zip((spec.name for spec in self.outputs), values, strict=True))

    def timer_impl(self, feeds: dict[str, Array]) -> Timer:
        """Allocate the output buffers that all runs write to."""
        outputs = self.run_impl(feeds)
        binding = self.native.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
        return partial(_timed, lambda: self.native.run_with_iobinding(binding))

    def layer_times(self, feeds: Mapping[str, Array], runs: int) -> dict[str, float]:
        """Time every node, in a session of its own that writes ONNX Runtime's profile."""
        if self.reopen is None:
            return super().layer_times(feeds, runs)
        with TemporaryDirectory() as folder:
            with self.reopen(Path(folder) / "profile") as session:
                session.time(feeds, runs)
            (path,) = Path(folder).iterdir()
            return node_times(path, runs)

    def close_impl(self) -> None:
        """Free the model; write the profile, if one was asked for."""
        if self.native is not None and self.native.get_session_options().enable_profiling:
            self.native.end_profiling()
        self.native = None


class CudaSession(OnnxRuntimeSession):
    """A model on an NVIDIA GPU, its inputs and outputs in buffers that stay on the GPU."""

    def __init__(self, native: Any, source: str, device: str, settings: dict[str, Any]):
        super().__init__(native, source, device, settings)
        self.index = int(device.partition(":")[2])
        self.shapes: dict[str, tuple[int, ...]] | None = None
        self.buffers: dict[str, Any] = {}
        self.binding: Any = None

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Copy in, run, copy out."""
        try:
            self._bind(feeds)
            self._launch()
        except Exception as error:
            raise DataError(self.source, f"fails when run ({_first_line(error)})") from None
        return self._fetch()

    def timer_impl(self, feeds: dict[str, Array]) -> Timer:
        """Time runs until the GPU has finished, with the copies if the session counts them."""
        self.run_impl(feeds)

        def whole() -> None:
            self._upload(feeds)
            self._launch()
            self._fetch()

        def timed(count: int) -> list[float]:
            # The buffers may have been another timer's since.
            self._bind(feeds)
            return _timed(whole if self.settings["copies"] else self._launch, count)

        return timed

    def _bind(self, feeds: dict[str, Array]) -> None:
        # Buffers are kept while the shapes stay: a recorded CUDA graph knows their addresses.
        shapes = {name: array.shape for name, array in feeds.items()}
        if shapes == self.shapes:
            self._upload(feeds)
            return
        self.binding = self.native.io_binding()
        self.buffers = {
            name: ort.OrtValue.ortvalue_from_numpy(array, "cuda", self.index)
            for name, array in feeds.items()
        }
        for name, buffer in self.buffers.items():
            self.binding.bind_ortvalue_input(name, buffer)
        for spec in self.outputs:
            if all(isinstance(axis, int) for axis in spec.shape):
                value = ort.OrtValue.ortvalue_from_shape_and_type(
                    spec.shape, spec.dtype, "cuda", self.index
                )
                self.binding.bind_ortvalue_output(spec.name, value)
            else:
                self.binding.bind_output(spec.name, "cuda", self.index)
        self.shapes = shapes

    def _upload(self, feeds: dict[str, Array]) -> None:
        for name, array in feeds.items():
            self.buffers[name].update_inplace(array)

    def _launch(self) -> None:
        self.native.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()

    def _fetch(self) -> dict[str, Array]:
        values = self.binding.get_outputs()
        return {spec.name: value.numpy() for spec, value in zip(self.outputs, values, strict=True)}

    def close_impl(self) -> None:
        """Free the buffers, then the model."""
        self.binding = self.shapes = None
        self.buffers = {}
        super().close_impl()


def _timed(call: Callable[[], object], count: int) -> list[float]:
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def _spec(source: str, value: Any) -> TensorSpec:
    element = value.type.removeprefix("tensor(").removesuffix(")")
    if element not in DTYPES:
        raise DataError(
            source,
            f"{value.name!r} is of type {value.type}, which has no array form; give a model whose "
            "inputs and outputs are tensors of numbers",
        )
    return TensorSpec(value.name, tuple(value.shape), np.dtype(DTYPES[element]))


def _first_line(error: Exception) -> str:
    # "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : what was wrong" -> "what was wrong"
    return str(error).strip().splitlines()[0].rpartition(" : ")[2]


def _loading_problem() -> str:
    """Return why the library that runs models on CUDA is not loaded, in the loader's words.

    ONNX Runtime tells it to its log only, and goes on without that library.
    """
    folder = Path(ort.__file__).parent / "capi"
    for library in sorted(folder.glob("*onnxruntime_providers_cuda*")):
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            return str(error).splitlines()[0]
    return "ONNX Runtime does not say why"


def _no_cuda(reason: str) -> UnavailableError:
    """Make the error of CUDA that does not start: missing, or broken where there is a GPU."""
    kind = BrokenError if gpus() else UnavailableError
    return kind(f"CUDA cannot be used ({reason}): {CUDA_REMEDY}")


def _opening_error(source: str, kind: str, error: Exception) -> NastoolError:
    text = str(error)
    if "fallback to CPU" in text:
        return DataError(
            source,
            f"has operators that ONNX Runtime cannot run on the GPU ({_first_line(error)}); use "
            "--device cpu",
        )
    if kind == "cuda" and "CUDA" in text:
        return _no_cuda(_first_line(error))
    if "external data" in text.lower():
        return DataError(
            source,
            f"keeps weights in another file that cannot be read ({_first_line(error)}); put that "
            "file beside it",
        )
    if "opset" in text.lower() or "IR version" in text:
        return DataError(
            source,
            f"is newer than onnxruntime {ort.__version__} understands ({_first_line(error)}); "
            "update onnxruntime, or export with opset 18",
        )
    return DataError(
        source, f"cannot be opened as an ONNX model ({_first_line(error)}); it may be truncated"
    )
