"""What this machine has, by trying it, and what is missing."""

import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from onnx import TensorProto, helper

from export import environment
from export.errors import NastoolError
from export.runtimes import RUNTIMES, get_runtime

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Problem:
    """Something that is missing, what that costs, and how to get it."""

    missing: str
    cost: str
    remedy: str


def diagnose() -> dict[str, Any]:
    """Try everything that the commands may need.

    Returns:
        A JSON-ready document: all of `export.environment.describe`, ``runtimes`` (each runtime on
        each device: ``runtime``, ``version``, ``device``, ``works``, ``problem``), ``camera`` and
        ``display`` (whether they work), and ``problems`` (each with ``missing``, ``cost``,
        ``remedy``).
    """
    found = environment.describe()
    runtimes = [_try_runtime(name, device) for name in RUNTIMES for device in DEVICES]
    camera, display = _camera_works(), _display_works()
    problems = [
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


def tiny_model() -> bytes:
    """Build the smallest model of the kind that we export: bytes in, convolution, labels out."""
    weights = helper.make_tensor("weights", TensorProto.FLOAT, (2, 3, 1, 1), [1.0] * 3 + [-1.0] * 3)
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "weights"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["largest"], axis=1, keepdims=0),
        helper.make_node("Cast", ["largest"], ["labels"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, (1, 8, 8, 3))],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, (1, 8, 8))],
        [weights],
    )
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def _try_runtime(name: str, device: str) -> dict[str, Any]:
    result = {"runtime": name, "version": None, "device": device, "works": False, "problem": None}
    try:
        runtime = get_runtime(name)
        result["version"] = runtime.version()
        with runtime.open(tiny_model(), device) as session:
            labels = session.run({"image": np.full((1, 8, 8, 3), 9, np.uint8)})["labels"]
    except NastoolError as error:
        return {**result, "problem": str(error)}
    if labels.any():
        return {**result, "problem": "runs, but computes wrong labels"}
    return {**result, "works": True}


def _runtime_problem(runtime: dict[str, Any]) -> Problem:
    if runtime["device"] == "cuda":
        cost = "no timing and no demo on an NVIDIA GPU; the CPU does all work"
    else:
        cost = "nothing can be measured, checked or shown"
    return Problem(f"{runtime['runtime']} on {runtime['device']}", cost, runtime["problem"])


def _machine_problems(found: dict[str, Any], camera: bool, display: bool) -> list[Problem]:
    problems = []
    if not found["gpus"]:
        problems.append(
            Problem(
                "NVIDIA GPU (nvidia-smi shows none)",
                "training and search run on the CPU, and take many times longer",
                "on a machine with one, install its driver",
            )
        )
    if "tensorrt" not in found["packages"]:
        problems.append(
            Problem(
                "TensorRT",
                "no engines for NVIDIA GPUs; everything else works",
                "with a GPU: pip install tensorrt (it fetches from NVIDIA's own index)",
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


def _camera_works() -> bool:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(0)
        works = capture.isOpened() and capture.read()[0]
        capture.release()
    finally:
        cv2.utils.logging.setLogLevel(level)
    return bool(works)


def _display_works() -> bool:
    lines = [line.split() for line in cv2.getBuildInformation().splitlines()]
    toolkit = next((words[1] for words in lines if len(words) > 1 and words[0] == "GUI:"), "NONE")
    if toolkit == "NONE":
        return False
    if sys.platform == "linux":
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True
