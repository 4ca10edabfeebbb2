"""Runtimes, opened with nothing but numpy beside them."""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from export.kit.protocol import Opened, timed

Feeds = Callable[[str, Sequence[int], Any], np.ndarray]
ELEMENTS = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
CUDA = "CUDAExecutionProvider"


class MissingError(Exception):
    """A runtime or a device is not here; says what is missing."""


class OnnxRuntimeRunner:
    """ONNX Runtime, set as nastool sets it.

    Args:
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: of one operator on the CPU.
        precision: of the graphs; ONNX Runtime reads it off them.
        feed: makes an input of a name, shape and type.
    """

    def __init__(self, device: str, threads: int | None, precision: str, feed: Feeds):
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingError(f"onnxruntime cannot be loaded ({error}); pip install it") from None
        self._ort, self._feed = onnxruntime, feed
        onnxruntime.set_default_logger_severity(4)
        self.version = str(onnxruntime.__version__)
        self._options = onnxruntime.SessionOptions()
        self._options.log_severity_level = 4
        self._options.inter_op_num_threads = 1
        self._index = int(device.partition(":")[2] or 0)
        self._kind = device.partition(":")[0]
        self._provider: Any = "CPUExecutionProvider"
        if self._kind == "cpu":
            self._options.intra_op_num_threads = threads or 1
            self._options.add_session_config_entry("session.intra_op.allow_spinning", "1")
            self._options.add_session_config_entry("session.force_spinning_stop", "1")
            self.settings: dict[str, Any] = {"threads": threads or 1}
            return
        if CUDA not in onnxruntime.get_available_providers():
            raise MissingError(
                f"onnxruntime {self.version} as installed has no CUDA; pip uninstall onnxruntime, "
                "then pip install onnxruntime-gpu"
            )
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        self._options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self.settings = {"copies": False, "cuda_graph": False, "cudnn_search": "EXHAUSTIVE"}
        chosen = {"device_id": str(self._index), "cudnn_conv_algo_search": "EXHAUSTIVE"}
        self._provider = (CUDA, chosen)

    def open(self, path: Path) -> Opened:
        """Open a graph; its arrays are where it runs before the first run."""
        session = self._session(path)
        binding = session.io_binding()
        for name, array in self._feeds(session).items():
            if self._kind == "cpu":
                binding.bind_cpu_input(name, array)
            else:
                value = self._ort.OrtValue.ortvalue_from_numpy(array, self._kind, self._index)
                binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, self._kind, self._index)
        session.run_with_iobinding(binding)
        # What a run has made is written to by all others.
        for output, made in zip(session.get_outputs(), binding.get_outputs()):
            binding.bind_ortvalue_output(output.name, made)

        def run() -> None:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return Opened(lambda count: timed(run, count), lambda: None)

    def labels(self, path: Path) -> np.ndarray:
        """Run a whole network once and return its first output."""
        session = self._session(path)
        return np.asarray(session.run(None, self._feeds(session))[0])

    def _session(self, path: Path) -> Any:
        return self._ort.InferenceSession(
            str(path), self._options, providers=[self._provider], enable_fallback=0
        )

    def _feeds(self, session: Any) -> dict[str, np.ndarray]:
        return {
            value.name: self._feed(value.name, value.shape, ELEMENTS[value.type])
            for value in session.get_inputs()
        }


class TensorRtRunner:
    """TensorRT 8.5 or newer, with CUDA's runtime library and no other package.

    Engines are built from the graphs as they are, strongly typed where TensorRT can; what it has
    measured of one kind of layer serves all graphs.

    Args:
        device: ``"cuda:N"``.
        threads: not used.
        precision: of the graphs, which TensorRT 8 is told.
        feed: makes an input of a name, shape and type.
    """

    def __init__(self, device: str, threads: int | None, precision: str, feed: Feeds):
        try:
            import tensorrt
        except ImportError as error:
            raise MissingError(f"tensorrt cannot be loaded ({error})") from None
        self._trt, self._feed, self._precision = tensorrt, feed, precision
        self.version = str(tensorrt.__version__)
        self.settings: dict[str, Any] = {"copies": False, "cuda_graph": False}
        self._cuda = cuda_runtime()
        self._cuda.check("cudaSetDevice", int(device.partition(":")[2] or 0))
        self._log = tensorrt.Logger(tensorrt.Logger.ERROR)
        self._kernels = b""

    def open(self, path: Path) -> Opened:
        """Build an engine of a graph, and its arrays on the GPU."""
        engine = Engine(self._trt, self._cuda, self._build(path), self._feed)
        return Opened(lambda count: timed(engine.run, count), engine.close)

    def labels(self, path: Path) -> np.ndarray:
        """Run a whole network once and return its first output."""
        engine = Engine(self._trt, self._cuda, self._build(path), self._feed)
        try:
            engine.run()
            return engine.fetch()
        finally:
            engine.close()

    def _build(self, path: Path) -> Any:
        trt = self._trt
        builder = trt.Builder(self._log)
        flags = trt.NetworkDefinitionCreationFlag
        names = [name for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if hasattr(flags, name)]
        network = builder.create_network(sum(1 << int(getattr(flags, name)) for name in names))
        parser = trt.OnnxParser(network, self._log)
        if not parser.parse_from_file(str(path)):
            raise MissingError(f"{path}: TensorRT {self.version} refuses it: {parser.get_error(0)}")
        config = builder.create_builder_config()
        if "STRONGLY_TYPED" not in names:
            for precision, flag in (("fp16", "FP16"), ("int8", "INT8")):
                if self._precision == precision and hasattr(trt.BuilderFlag, flag):
                    config.set_flag(getattr(trt.BuilderFlag, flag))
        cache = config.create_timing_cache(self._kernels)
        config.set_timing_cache(cache, ignore_mismatch=False)
        built = builder.build_serialized_network(network, config)
        if built is None:
            raise MissingError(f"{path}: TensorRT {self.version} cannot build it")
        self._kernels = bytes(cache.serialize())
        return trt.Runtime(self._log).deserialize_cuda_engine(built)


class Engine:
    """An engine of TensorRT with its arrays on the GPU."""

    def __init__(self, trt: Any, cuda: CudaRuntime, engine: Any, feed: Feeds):
        self._cuda, self._engine = cuda, engine
        self._context = engine.create_execution_context()
        self._stream = cuda.stream()
        self._buffers: list[ctypes.c_void_p] = []
        self._output: np.ndarray | None = None
        for i in range(engine.num_io_tensors):
            name = engine.get_tensor_name(i)
            shape = tuple(self._context.get_tensor_shape(name))
            dtype = trt.nptype(engine.get_tensor_dtype(name))
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            array = feed(name, shape, dtype) if is_input else np.empty(shape, dtype)
            buffer = cuda.upload(np.ascontiguousarray(array))
            self._buffers.append(buffer)
            self._context.set_tensor_address(name, buffer.value)
            if not is_input and self._output is None:
                self._output, self._result = array, buffer

    def run(self) -> None:
        """Run once, until the GPU has finished."""
        self._context.execute_async_v3(self._stream.value)
        self._cuda.check("cudaStreamSynchronize", self._stream)

    def fetch(self) -> np.ndarray:
        """Return the first output."""
        assert self._output is not None
        self._cuda.download(self._output, self._result)
        return self._output

    def close(self) -> None:
        """Free the arrays, then the engine."""
        for buffer in self._buffers:
            self._cuda.check("cudaFree", buffer)
        self._cuda.check("cudaStreamDestroy", self._stream)
        self._buffers, self._context, self._engine = [], None, None


class CudaRuntime:
    """The few functions of CUDA's runtime library that arrays on a GPU need."""

    def __init__(self, library: Any):
        self._library = library

    def check(self, function: str, *arguments: Any) -> None:
        """Call a function; one that fails is an error."""
        if status := getattr(self._library, function)(*arguments):
            raise MissingError(f"{function} fails with CUDA's error {status}")

    def stream(self) -> ctypes.c_void_p:
        """Make a stream."""
        stream = ctypes.c_void_p()
        self.check("cudaStreamCreate", ctypes.byref(stream))
        return stream

    def upload(self, array: np.ndarray) -> ctypes.c_void_p:
        """Make a buffer on the GPU that holds an array."""
        buffer, size = ctypes.c_void_p(), ctypes.c_size_t(array.nbytes)
        self.check("cudaMalloc", ctypes.byref(buffer), size)
        source = ctypes.c_void_p(array.ctypes.data)
        self.check("cudaMemcpy", buffer, source, size, ctypes.c_int(1))
        return buffer

    def download(self, array: np.ndarray, buffer: ctypes.c_void_p) -> None:
        """Copy a buffer into an array."""
        size, goal = ctypes.c_size_t(array.nbytes), ctypes.c_void_p(array.ctypes.data)
        self.check("cudaMemcpy", goal, buffer, size, ctypes.c_int(2))


def cuda_runtime() -> CudaRuntime:
    """Load CUDA's runtime library, which TensorRT needs as well.

    Raises:
        MissingError: it is not there.
    """
    names = [ctypes.util.find_library("cudart"), "libcudart.so"]
    names += [f"libcudart.so.{version}" for version in (13, 12, "11.0", "10.2")]
    for name in filter(None, names):
        try:
            return CudaRuntime(ctypes.CDLL(name))
        except OSError:
            continue
    raise MissingError("CUDA's runtime library (libcudart) cannot be loaded")


RUNNERS: dict[str, Any] = {"onnxruntime": OnnxRuntimeRunner, "tensorrt": TensorRtRunner}
