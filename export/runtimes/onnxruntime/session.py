"""A model that ONNX Runtime has opened on the CPU."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from export.kit.protocol import timed
from export.runtimes.base import Array, Session, TensorSpec
from export.runtimes.measurement import Timer
from export.runtimes.onnxruntime.node_times import node_times
from export.system.errors import DataError

FULL = 1 << 20  # bytes left on a disk that is called full
DTYPES = {
    "float": "float32",
    "double": "float64",
    **{name: name for name in ("float16", "bool", "uint8", "int8", "uint16", "int16")},
    **{name: name for name in ("uint32", "int32", "uint64", "int64")},
}


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
            raise DataError(self.source, f"fails when run ({first_line(error)})") from None
        return dict(zip((spec.name for spec in self.outputs), values, strict=True))

    def timer_impl(self, feeds: dict[str, Array]) -> Timer:
        """Allocate the output buffers that all runs write to."""
        self.run_impl(feeds)
        binding = self.native.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for spec in self.outputs:
            binding.bind_output(spec.name)
        self.native.run_with_iobinding(binding)
        # Not arrays of NumPy: a binding does not keep those that it writes to.
        for spec, value in zip(self.outputs, binding.get_outputs(), strict=True):
            binding.bind_ortvalue_output(spec.name, value)
        return partial(timed, lambda: self.native.run_with_iobinding(binding))

    def layer_times(self, feeds: Mapping[str, Array], runs: int) -> dict[str, float]:
        """Time every node, in a session of its own that writes ONNX Runtime's profile."""
        if self.reopen is None:
            return super().layer_times(feeds, runs)
        with TemporaryDirectory() as folder:
            with self.reopen(Path(folder) / "profile") as session:
                session.time(feeds, runs)
            (path,) = Path(folder).iterdir()
            try:
                return node_times(path, runs)
            except DataError:  # ONNX Runtime does not say that a disk is full
                if disk_usage(folder).free > FULL:
                    raise
                raise DataError(
                    Path(folder).parent,
                    "the times of the nodes could not be written there whole; make room, or let "
                    "TMPDIR name another folder",
                ) from None

    def close_impl(self) -> None:
        """Free the model; write the profile, if one was asked for."""
        if self.native is not None and self.native.get_session_options().enable_profiling:
            self.native.end_profiling()
        self.native = None


def first_line(error: Exception) -> str:
    """Return "what was wrong" of "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : what was wrong"."""
    return str(error).strip().splitlines()[0].rpartition(" : ")[2]


def _spec(source: str, value: Any) -> TensorSpec:
    element = value.type.removeprefix("tensor(").removesuffix(")")
    if element not in DTYPES:
        raise DataError(
            source,
            f"{value.name!r} is of type {value.type}, which has no array form; give a model whose "
            "inputs and outputs are tensors of numbers",
        )
    return TensorSpec(value.name, tuple(value.shape), np.dtype(DTYPES[element]))
