"""A model that ONNX Runtime has opened on an NVIDIA GPU."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import onnxruntime as ort

from export.kit.protocol import timed
from export.runtimes.base import Array, TensorSpec
from export.runtimes.measurement import Timer
from export.runtimes.onnxruntime.session import OnnxRuntimeSession, first_line
from export.system.errors import DataError

CUDA = "cuda"


class CudaSession(OnnxRuntimeSession):
    """A model on an NVIDIA GPU, its inputs and outputs in arrays that stay there."""

    def __init__(self, native: Any, source: str, device: str, settings: dict[str, Any]):
        self.kind = PinnedArray if _torch_has_cuda() else PageableArray
        super().__init__(native, source, device, {**settings, "pinned": self.kind is PinnedArray})
        self.index = int(device.partition(":")[2])
        self.shapes: dict[str, tuple[int, ...]] | None = None
        self.arrays: dict[str, DeviceArray] = {}
        self.binding: Any = None

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Copy in, run, copy out."""
        try:
            self._bind(feeds)
            self._upload(feeds)
            self._launch()
            return self._fetch()
        except Exception as error:
            raise DataError(self.source, f"fails when run ({first_line(error)})") from None

    def timer_impl(self, feeds: dict[str, Array]) -> Timer:
        """Time runs until the GPU has finished, with the copies if the session counts them."""
        self.run_impl(feeds)

        def whole() -> None:
            self._upload(feeds)
            self._launch()
            self._fetch()

        def times(count: int) -> list[float]:
            # The arrays may have been another timer's since.
            self._bind(feeds)
            self._upload(feeds)
            return timed(whole if self.settings["copies"] else self._launch, count)

        return times

    def _bind(self, feeds: dict[str, Array]) -> None:
        # Arrays are kept while the shapes stay: a recorded CUDA graph knows their addresses.
        shapes = {name: array.shape for name, array in feeds.items()}
        if shapes == self.shapes:
            return
        self.shapes = None
        self.binding = self.native.io_binding()
        self.arrays = {
            spec.name: self.kind(spec, shape, self.index)
            for spec in (*self.inputs, *self.outputs)
            if _is_fixed(shape := shapes.get(spec.name, spec.shape))
        }
        for spec in self.inputs:
            self.arrays[spec.name].bind(self.binding.bind_input, spec.name)
        for spec in self.outputs:
            if spec.name in self.arrays:
                self.arrays[spec.name].bind(self.binding.bind_output, spec.name)
            else:
                # Its size is known after a run: ONNX Runtime makes the array.
                self.binding.bind_output(spec.name, CUDA, self.index)
        self.shapes = shapes

    def _upload(self, feeds: dict[str, Array]) -> None:
        for name, array in feeds.items():
            self.arrays[name].upload(array)

    def _launch(self) -> None:
        self.native.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()

    def _fetch(self) -> dict[str, Array]:
        values = self.binding.get_outputs()
        return {
            spec.name: self.arrays[spec.name].fetch() if spec.name in self.arrays else value.numpy()
            for spec, value in zip(self.outputs, values, strict=True)
        }

    def close_impl(self) -> None:
        """Free the arrays, then the model."""
        self.binding = self.shapes = None
        self.arrays = {}
        super().close_impl()


class DeviceArray(ABC):
    """An array on a GPU, and how it gets there and back.

    Args:
        spec: its type.
        shape: its shape.
        index: of the GPU.
    """

    def __init__(self, spec: TensorSpec, shape: tuple[int, ...], index: int):
        self.dtype, self.shape, self.index = spec.dtype, shape, index

    def bind(self, bind: Any, name: str) -> None:
        """Have an input or output be this array: ``bind`` is the method of an `ort.IOBinding`."""
        bind(name, CUDA, self.index, self.dtype, self.shape, self.address())

    @abstractmethod
    def address(self) -> int:
        """Return where it lies in the memory of the GPU."""

    @abstractmethod
    def upload(self, array: Array) -> None:
        """Copy from the host, and be done when this returns."""

    @abstractmethod
    def fetch(self) -> Array:
        """Return a copy on the host."""


class PinnedArray(DeviceArray):
    """Copied through page-locked memory of the host, which is faster; torch's, built for CUDA."""

    def __init__(self, spec: TensorSpec, shape: tuple[int, ...], index: int):
        import torch

        super().__init__(spec, shape, index)
        dtype = torch.from_numpy(np.empty(0, spec.dtype)).dtype
        self._host = torch.empty(shape, dtype=dtype, pin_memory=True)
        self._device = torch.empty(shape, dtype=dtype, device=f"{CUDA}:{index}")

    def address(self) -> int:
        """Return where it lies in the memory of the GPU."""
        return int(self._device.data_ptr())

    def upload(self, array: Array) -> None:
        """Copy from the host, and be done when this returns."""
        self._host.numpy()[...] = array
        self._device.copy_(self._host)

    def fetch(self) -> Array:
        """Return a copy on the host."""
        self._host.copy_(self._device)
        return self._host.numpy().copy()


class PageableArray(DeviceArray):
    """Copied from and to wherever the host's arrays lie; ONNX Runtime's own."""

    def __init__(self, spec: TensorSpec, shape: tuple[int, ...], index: int):
        super().__init__(spec, shape, index)
        self._value = ort.OrtValue.ortvalue_from_shape_and_type(shape, spec.dtype, CUDA, index)

    def address(self) -> int:
        """Return where it lies in the memory of the GPU."""
        return int(self._value.data_ptr())

    def upload(self, array: Array) -> None:
        """Copy from the host, and be done when this returns."""
        self._value.update_inplace(array)

    def fetch(self) -> Array:
        """Return a copy on the host."""
        return np.asarray(self._value.numpy())


def _is_fixed(shape: tuple[Any, ...]) -> bool:
    return all(isinstance(axis, int) for axis in shape)


def _torch_has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())
