"""ONNX Runtime on the CPU and on NVIDIA GPUs."""

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnxruntime as ort

from export.machine import gpus
from export.machine.processor import usable_cores
from export.runtimes.base import IN_MEMORY, MAYBE_TRUNCATED, Runtime, Session
from export.runtimes.onnxruntime.cuda import CudaSession
from export.runtimes.onnxruntime.session import OnnxRuntimeSession, first_line
from export.system.errors import BrokenError, DataError, NastoolError, UnavailableError

CUDA = "CUDAExecutionProvider"
CUDA_REMEDY = (
    "pip uninstall onnxruntime, then pip install onnxruntime-gpu (the two packages overwrite each "
    "other); it needs an NVIDIA driver, CUDA and cuDNN 9"
)
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
        native_options.intra_op_num_threads = threads or usable_cores()
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
    kind = BrokenError if gpus.describe() else UnavailableError
    return kind(f"CUDA cannot be used ({reason}): {CUDA_REMEDY}")


def _opening_error(source: str, kind: str, error: Exception) -> NastoolError:
    text = str(error)
    if "fallback to CPU" in text:
        return DataError(
            source,
            f"has operators that ONNX Runtime cannot run on the GPU ({first_line(error)}); use "
            "--device cpu",
        )
    if kind == "cuda" and "CUDA" in text:
        return _no_cuda(first_line(error))
    if "external data" in text.lower():
        return DataError(
            source,
            f"keeps weights in another file that cannot be read ({first_line(error)}); put that "
            "file beside it",
        )
    if "Missing opset" in text:
        return DataError(source, f"names no opset; {MAYBE_TRUNCATED}")
    if "opset" in text.lower() or "IR version" in text:
        return DataError(
            source,
            f"is newer than onnxruntime {ort.__version__} understands ({first_line(error)}); "
            "update onnxruntime, or export with opset 18",
        )
    return DataError(
        source, f"cannot be opened as an ONNX model ({first_line(error)}); {MAYBE_TRUNCATED}"
    )
