"""What opening a model costs: memory and time, in a process that has done nothing before.

Run as a module, this is that process: it opens the model that its arguments name, runs it once on
the arrays in a file, and prints what that took.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.machine import gpus
from export.runtimes.base import Array
from export.system.errors import UnavailableError

LIMIT_SECONDS = 300


@dataclass(frozen=True)
class Footprint:
    """What a model takes when it is opened and run once in a fresh process.

    Attributes:
        import_ms: to import the runtime; the same for every model.
        open_ms: from the path to a session. The file is usually in the system's cache already.
        first_run_ms: of the first frame, which allocates.
        memory_bytes: by how much the process grew at its peak, the runtime itself not counted.
        gpu_memory_bytes: by how much the GPU's used memory grew, its context counted; None
            without a GPU.
    """

    import_ms: float
    open_ms: float
    first_run_ms: float
    memory_bytes: int
    gpu_memory_bytes: int | None

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "memory_bytes": self.memory_bytes,
            "gpu_memory_bytes": self.gpu_memory_bytes,
            "cold_start_ms": {
                "import": round(self.import_ms, 2),
                "open": round(self.open_ms, 2),
                "first_run": round(self.first_run_ms, 2),
            },
        }


def measure_footprint(
    path: str | Path, feeds: dict[str, Array], runtime: str, device: str, threads: int | None
) -> Footprint:
    """Open and run a model in a fresh process.

    Args:
        path: the model's file.
        feeds: an array for every input.
        runtime: name of the runtime.
        device: to run on.
        threads: of one operator on the CPU; None takes every core.

    Raises:
        UnavailableError: that process failed.
    """
    request: dict[str, Any] = {
        "path": str(path),
        "runtime": runtime,
        "device": device,
        "threads": threads,
    }
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "feeds.npz"
        np.savez(arrays, *feeds.values())
        request |= {"arrays": str(arrays), "names": list(feeds)}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "export.benchmarking.footprint", json.dumps(request)],
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=True,
            )
        except subprocess.SubprocessError as error:
            said = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
            raise UnavailableError(
                f"{path}: a fresh process cannot run it ({said}); leave out --cold"
            ) from None
    return Footprint(**json.loads(done.stdout))


def _measure_here(request: dict[str, Any]) -> Footprint:
    from export.runtimes import get_runtime

    with np.load(request["arrays"]) as arrays:
        feeds = {name: arrays[f"arr_{i}"] for i, name in enumerate(request["names"])}
    device = request["device"]
    start = time.perf_counter()
    runtime = get_runtime(request["runtime"])
    imported = time.perf_counter()
    before, gpu_before = _memory_bytes(), _gpu_memory_bytes(device)
    began = time.perf_counter()
    with runtime.open(request["path"], device, request["threads"]) as session:
        opened = time.perf_counter()
        session.run(feeds)
        ran = time.perf_counter()
        gpu_after = _gpu_memory_bytes(device)
    return Footprint(
        import_ms=(imported - start) * 1000,
        open_ms=(opened - began) * 1000,
        first_run_ms=(ran - opened) * 1000,
        memory_bytes=max(0, _peak_memory_bytes() - before),
        gpu_memory_bytes=None
        if gpu_before is None or gpu_after is None
        else max(0, gpu_after - gpu_before),
    )


def _memory_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def _peak_memory_bytes() -> int:
    if sys.platform == "linux":
        # Not getrusage: on Linux its peak includes that of the parent before exec.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return _memory_bytes()
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _gpu_memory_bytes(device: str) -> int | None:
    if device == "cpu":
        return None
    return gpus.ask(device, lambda nvml, handle: int(nvml.nvmlDeviceGetMemoryInfo(handle).used))


if __name__ == "__main__":
    # The runtimes' own messages stay off stdout.
    stdout = os.dup(1)
    os.dup2(2, 1)
    result = json.dumps(asdict(_measure_here(json.loads(sys.argv[1]))))
    os.write(stdout, result.encode())
