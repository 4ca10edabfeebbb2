"""Runtimes by name: one module each, imported when it is first asked for."""

import importlib
from pathlib import Path
from typing import Any

from export.runtimes.base import Runtime, Session, TensorSpec
from export.system.errors import UnavailableError, UsageError

__all__ = ["RUNTIMES", "Runtime", "Session", "TensorSpec", "get_runtime", "open_session"]

INSTALL = {"onnxruntime": "pip install 'nastool[cpu]', or 'nastool[cuda]' for NVIDIA GPUs"}
# name -> module:class; a new runtime is one module and one line here.
RUNTIMES = {
    "onnxruntime": "export.runtimes.onnxruntime.runtime:OnnxRuntime",
    "tensorrt": "export.runtimes.tensorrt.runtime:TensorRt",
    "tensorrt-rtx": "export.runtimes.tensorrt.runtime:TensorRtForRtx",
}


def get_runtime(name: str) -> type[Runtime]:
    """Import the runtime called ``name``.

    Raises:
        UsageError: there is no such runtime.
        UnavailableError: its package is not installed.
    """
    if name not in RUNTIMES:
        raise UsageError(f"runtime {name!r} is not known; known: {', '.join(RUNTIMES)}")
    module, attribute = RUNTIMES[name].split(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise UnavailableError(
            f"runtime {name} cannot be loaded ({error}): {INSTALL.get(name, f'pip install {name}')}"
        ) from None


def open_session(
    model: str | Path | bytes,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int | None = None,
    **options: Any,
) -> Session:
    """Open a model file (or its bytes) with a runtime by name; see `Runtime.open`."""
    return get_runtime(runtime).open(model, device, threads, **options)
