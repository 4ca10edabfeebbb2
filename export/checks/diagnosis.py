"""What this machine has, by trying it, and what is missing."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from export.checks.conformance import Target
from export.checks.conformance.report import candidates
from export.machine import environment
from export.runtimes import get_runtime
from export.system.console import silence_opencv
from export.system.errors import NastoolError

# Packages that are one Python module.
SAME_MODULE = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
}
# What it costs when a runtime does not run on a device.
COSTS = {
    ("onnxruntime", "cpu"): "nothing can be measured, checked or shown",
    ("onnxruntime", "cuda"): "no timing and no demo on an NVIDIA GPU; the CPU does all work",
    ("tensorrt", "cuda"): "no engines for NVIDIA GPUs; everything else works",
    ("tensorrt-rtx", "cuda"): "no engine of an RTX card runs here; everything else works",
}


@dataclass(frozen=True)
class Problem:
    """Something that is missing, what that costs, and how to get it."""

    missing: str
    cost: str
    remedy: str


def diagnose() -> dict[str, Any]:
    """Try everything that the commands may need.

    Returns:
        A JSON-ready document: all of `environment.describe`, ``runtimes`` (each runtime on
        each device: ``runtime``, ``version``, ``device``, ``works``, ``problem``), ``camera`` and
        ``display`` (whether they work), and ``problems`` (each with ``missing``, ``cost``,
        ``remedy``).
    """
    found = environment.describe()
    runtimes = [_try_target(target) for target in candidates(len(found["gpus"]))]
    camera, display = _camera_works(), _display_works()
    problems = [
        *_clashes(found["packages"]),
        *(_runtime_problem(runtime) for runtime in runtimes if not runtime["works"]),
        *_machine_problems(found, camera, display),
    ]
    return {
        **found,
        "runtimes": runtimes,
        "camera": camera,
        "display": display,
        "problems": [asdict(problem) for problem in problems],
    }


def _try_target(target: Target) -> dict[str, Any]:
    trouble = target.trouble()
    try:
        version = get_runtime(target.runtime).version()
    except NastoolError:
        version = None
    return {
        "runtime": target.runtime,
        "version": version,
        "device": target.device,
        "works": trouble is None,
        "problem": trouble and trouble.reason,
    }


def _runtime_problem(runtime: dict[str, Any]) -> Problem:
    name, device = runtime["runtime"], runtime["device"]
    cost = COSTS.get(
        (name, device.partition(":")[0]), f"no timing and no demo with {name} on {device}"
    )
    return Problem(f"{name} on {device}", cost, runtime["problem"])


def _machine_problems(found: dict[str, Any], camera: bool, display: bool) -> list[Problem]:
    problems = []
    if not found["gpus"]:
        problems.append(
            Problem(
                "NVIDIA GPU (its driver shows none)",
                "training and search run on the CPU, and take many times longer",
                "on a machine with one, install its driver",
            )
        )
    governor = found["cpu"]["governor"]
    if governor not in (None, "performance"):
        problems.append(
            Problem(
                f"steady CPU clock (the governor is {governor})",
                "latencies vary from run to run",
                "measure with: sudo cpupower frequency-set -g performance",
            )
        )
    if not camera:
        problems.append(
            Problem(
                "camera 0",
                "nastool demo cannot show you",
                "connect a webcam, or give demo --source a video, an image or a folder",
            )
        )
    if not display:
        problems.append(
            Problem(
                "display",
                "nastool demo cannot open a window",
                "run it in a desktop session with opencv-python (not -headless), "
                "or use demo --no-display --output FILE",
            )
        )
    return problems


def _clashes(installed: Mapping[str, str]) -> Iterator[Problem]:
    """Name packages that are one module, and so have overwritten each other's files."""
    for module, packages in SAME_MODULE.items():
        both = [name for name in packages if name in installed]
        if len(both) > 1:
            names = " and ".join(both)
            yield Problem(
                f"one module {module} ({names} are both installed)",
                "what came last has overwritten the other's files, so that either may fail",
                f"pip uninstall {' '.join(both)}, then install one of them again",
            )
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        yield Problem(
            f"OpenCV ({str(error).splitlines()[0]})",
            "no image can be read or shown",
            "pip uninstall opencv-python, then pip install opencv-python-headless",
        )


def _camera_works() -> bool:
    try:
        import cv2
    except ImportError:
        return False
    silence_opencv()
    capture = cv2.VideoCapture(0)
    works = capture.isOpened() and capture.read()[0]
    capture.release()
    return bool(works)


def _display_works() -> bool:
    try:
        import cv2
    except ImportError:
        return False
    lines = [line.split() for line in cv2.getBuildInformation().splitlines()]
    toolkit = next((words[1] for words in lines if len(words) > 1 and words[0] == "GUI:"), "NONE")
    if toolkit == "NONE":
        return False
    if sys.platform == "linux":
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True
