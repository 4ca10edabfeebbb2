# ruff: noqa: A002  (the arguments are named as in the bindings)
"""A fake of both TensorRT bindings and what they need of torch's CUDA, computing with ONNX Runtime.

It shows that our calls follow each other as they should; it proves nothing about TensorRT. Its
names are held against those of the real bindings in test_tensorrt_names.py.
"""

import contextlib
import ctypes
import json
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

ELEMENTS = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(IntEnum):
    VERSION_COMPATIBLE = 1


class HardwareCompatibilityLevel(IntEnum):
    AMPERE_PLUS = 1


class ProfilingVerbosity(IntEnum):
    NONE = 1
    DETAILED = 2


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class TensorIOMode(IntEnum):
    INPUT = 1
    OUTPUT = 2


class TensorLocation(IntEnum):
    DEVICE = 0


class LayerInformationFormat(IntEnum):
    JSON = 1


# Of TensorRT for RTX alone: from here ...
class ComputeCapability(IntEnum):
    CURRENT = 1
    SM75 = 75
    SM86 = 86
    SM89 = 89


class CudaGraphStrategy(IntEnum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class EngineValidity(IntEnum):
    VALID = 0
    INVALID = 2


class EngineInvalidityDiagnostics(IntEnum):
    VERSION_MISMATCH = 1
    OLD_CUDA_DRIVER = 4


class IRuntimeCache:
    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, blob: bytes) -> bool:
        self.content = blob if blob == b"compiled" else b""
        return bool(self.content)

    def serialize(self) -> bytes:
        return b"compiled"


class IRuntimeConfig:
    cuda_graph_strategy: CudaGraphStrategy

    create_runtime_cache = staticmethod(IRuntimeCache)

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        return True


# ... to here.
class ILogger:
    INTERNAL_ERROR, ERROR = 0, 1


class Logger:
    ERROR = 1

    def __init__(self, severity: int):
        pass


class IProfiler:
    pass


class IBuilderConfig:
    builder_optimization_level: int
    profiling_verbosity: int
    hardware_compatibility_level: int
    num_compute_capabilities = 0

    def __init__(self) -> None:
        self.profile: Any = None

    def set_compute_capability(self, compute_capability: ComputeCapability, index: int) -> bool:
        assert index < self.num_compute_capabilities
        return True

    def set_flag(self, flag: BuilderFlag) -> None:
        assert flag is BuilderFlag.VERSION_COMPATIBLE

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None: ...

    def add_optimization_profile(self, profile: Any) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> "ITimingCache":
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: "ITimingCache", ignore_mismatch: bool) -> bool:
        return not ignore_mismatch and not cache.content.startswith(b"another GPU")


class ITimingCache:
    def __init__(self, content: bytes):
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"."


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = [min, opt, max]


class INetworkDefinition:
    def __init__(self) -> None:
        self.content = b""

    @property
    def num_inputs(self) -> int:
        return len(onnx.load_from_string(self.content).graph.input)

    def get_input(self, index: int) -> Any:
        value = onnx.load_from_string(self.content).graph.input[index]
        axes = value.type.tensor_type.shape.dim
        shape = [-1 if axis.dim_param else axis.dim_value for axis in axes]
        return SimpleNamespace(name=value.name, shape=shape)


class Builder:
    def __init__(self, logger: ILogger):
        pass

    def create_network(self, flags: int) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    create_builder_config = staticmethod(IBuilderConfig)
    create_optimization_profile = staticmethod(IOptimizationProfile)

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> bytes:
        shapes = config.profile.shapes if config.profile else {}
        return json.dumps(shapes).encode() + b"\0" + network.content


class OnnxParser:
    num_errors = 1

    def __init__(self, network: INetworkDefinition, logger: ILogger):
        self.network, self.problem = network, ""

    def parse(self, model: bytes) -> bool:
        proto = onnx.load_from_string(model)
        text = any(a.i == onnx.TensorProto.STRING for n in proto.graph.node for a in n.attribute)
        try:
            onnx.checker.check_model(proto)
        except onnx.checker.ValidationError as error:
            self.problem = str(error)
        byte_inputs = {
            v.name
            for v in proto.graph.input
            if v.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        }
        if any(n.op_type != "Cast" and byte_inputs & {*n.input} for n in proto.graph.node):
            self.problem = self.problem or "uint8 inputs must feed a cast"
        self.network.content = model
        return not (text or self.problem)

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: self.problem or "no text", node_operator=lambda: "Op")


class Runtime:
    engine_host_code_allowed = False

    def __init__(self, logger: ILogger):
        pass

    def get_engine_validity(self, buffer: bytes) -> tuple[EngineValidity, int]:
        return EngineValidity.VALID, 0

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "ICudaEngine":
        return ICudaEngine(serialized_engine)


class ICudaEngine:
    # What the engine really computes in, when not what its file says.
    sabotage = ""
    version = 10

    def __init__(self, plan: bytes):
        shapes, _, content = plan.partition(b"\0")
        self.shapes, self.model = json.loads(shapes), onnx.load_from_string(content)
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.io = {v.name: v for v in [*self.session.get_inputs(), *self.session.get_outputs()]}
        self.num_io_tensors = len(self.io)

    def get_tensor_name(self, index: int) -> str:
        return list(self.io)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        inputs = [value.name for value in self.session.get_inputs()]
        return TensorIOMode.INPUT if name in inputs else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.DEVICE

    def get_tensor_dtype(self, name: str) -> str:
        return self.io[name].type

    def get_tensor_shape(self, name: str) -> list[int]:
        return [axis if isinstance(axis, int) else -1 for axis in self.io[name].shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
        return self.shapes[name]

    create_runtime_config = staticmethod(IRuntimeConfig)

    def create_execution_context(
        self, runtime_config: IRuntimeConfig | None = None
    ) -> "IExecutionContext":
        return IExecutionContext(self)

    def create_engine_inspector(self) -> "EngineInspector":
        return EngineInspector(self)


class EngineInspector:
    execution_context: Any

    def __init__(self, engine: ICudaEngine):
        self.engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        operators = {node.op_type for node in self.engine.model.graph.node}
        types = {tensor.data_type for tensor in self.engine.model.graph.initializer}
        spelled = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}
        file = "int8" if "QuantizeLinear" in operators else "fp16" if 10 in types else "fp32"
        name = self.engine.sabotage or file
        tensor = {"DataType": spelled[name]}
        if self.engine.version == 10:
            tensor = {"Format/Datatype": f"Row major linear {name.upper()} format"}
        return json.dumps({"Layers": [{"LayerType": "CaskConvolution", "Inputs": [tensor]}]})


class IExecutionContext:
    nvtx_verbosity = ProfilingVerbosity.DETAILED
    profiler: Any = None

    def __init__(self, engine: ICudaEngine):
        self.engine = engine
        self.inputs = {value.name: value.shape for value in engine.session.get_inputs()}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.inputs[name] = shape
        if name not in self.engine.shapes:
            return True
        smallest, _, largest = self.engine.shapes[name]
        return all(a <= b <= c for a, b, c in zip(smallest, shape, largest, strict=True))

    def infer_shapes(self) -> list[str]:
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.inputs:
            return tuple(self.inputs[name])
        # A convolution of this suite keeps the axes of its input.
        known, given = self.engine.io[name].shape, next(iter(self.inputs.values()))
        if all(isinstance(axis, int) for axis in known):
            return tuple(known)
        return tuple(a if isinstance(a, int) else b for a, b in zip(known, given, strict=True))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle, "not on the default stream"
        if FakeCuda.recording is not None:
            FakeCuda.recording.calls.append(self._execute)
        else:
            self._execute()
        return True

    def _execute(self) -> None:
        feeds = {name: self._memory(name) for name in self.inputs}
        outputs = [value.name for value in self.engine.session.get_outputs()]
        results = self.engine.session.run(outputs, feeds)
        for name, value in zip(outputs, results, strict=True):
            self._memory(name)[...] = value
        if self.profiler:
            self.profiler.report_layer_time("conv", 0.5)

    def _memory(self, name: str) -> np.ndarray:
        shape = self.get_tensor_shape(name)
        dtype = np.dtype(ELEMENTS[self.engine.io[name].type])
        size = int(np.prod(shape)) * dtype.itemsize
        buffer = (ctypes.c_char * size).from_address(self.addresses[name])
        return np.frombuffer(buffer, dtype).reshape(shape)


def nptype(trt_type: str) -> Any:
    return ELEMENTS[trt_type]


class FakeCuda:
    """What export.runtimes.tensorrt asks of torch.cuda, without a GPU."""

    recording: Any = None

    class Stream:
        cuda_stream = 1

        def __init__(self, device: str):
            pass

        def synchronize(self) -> None: ...

    class CUDAGraph:
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def replay(self) -> None:
            for call in self.calls:
                call()

    @classmethod
    @contextlib.contextmanager
    def graph(cls, graph: Any, stream: Any) -> Any:
        cls.recording = graph
        yield
        cls.recording = None

    stream = staticmethod(contextlib.nullcontext)
    device = staticmethod(contextlib.nullcontext)
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    get_device_capability = staticmethod(lambda index: (8, 9))
    get_device_name = staticmethod(lambda index: "a fake GPU")


def empty(shape: Any, dtype: Any, pin_memory: bool = False, device: str = "cpu") -> torch.Tensor:
    return torch.empty(shape, dtype=dtype)


FAKE_TORCH = SimpleNamespace(
    cuda=FakeCuda, empty=empty, from_numpy=torch.from_numpy, __version__=torch.__version__
)
