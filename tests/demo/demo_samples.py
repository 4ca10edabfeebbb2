"""Pictures, a film, a model and a camera small enough for tests."""

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper

SIZE = 64
# The tiny model's label is 1 for red + 2 for green + 4 for blue, each channel 0 or 1.
CLASSES = ["background", "skin", "hair", "cloth", "u_lip", "nose", "hat", "neck"]
PALETTE = [(0, 0, 0)] + [(36 * k, 255 - 30 * k, 90) for k in range(1, 8)]
RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)  # BGR


def tiny_model(output: str = "labels") -> onnx.ModelProto:
    def constant(name: str, values: list[int], kind: int) -> Any:
        return helper.make_tensor(name, kind, [len(values)], values)

    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.INT32),
            helper.make_node("Div", ["wide", "half"], ["bits"]),
            helper.make_node("Mul", ["bits", "powers"], ["parts"]),
            helper.make_node("ReduceSum", ["parts", "axis"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], [output], to=TensorProto.UINT8),
        ],
        "thresholds of colour",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(output, TensorProto.UINT8, [1, SIZE, SIZE])],
        [
            constant("half", [128], TensorProto.INT32),
            constant("powers", [1, 2, 4], TensorProto.INT32),
            constant("axis", [3], TensorProto.INT64),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def square_at(left: int, height: int = 90, width: int = 160) -> np.ndarray:
    """A black picture with a red square of 60 pixels and a green field in it.

    Far from every edge: red at row 57, green at row 30, both at column left + 30.
    """
    image = np.zeros((height, width, 3), np.uint8)
    image[15:75, left : left + 60] = RED
    image[20:40, left + 10 : left + 50] = GREEN
    return image


def write_video(path: Path, frames: int, codec: str = "MJPG", fps: float = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (160, 90))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(square_at(2 * index))
    writer.release()
    return path


class FakeCamera:
    """Stands in for ``cv2.VideoCapture``: frame k is filled with the value k.

    Args:
        frames: how many it has.
        seconds: that each takes.
        asleep: reads that fail before the first frame.
        absent: reads and openings that fail after the frame ``vanishes``; None: for good.
        vanishes: after how many frames it is gone.
    """

    def __init__(
        self,
        frames: int,
        seconds: float,
        *,
        asleep: int = 0,
        vanishes: int | None = None,
        absent: int | None = None,
    ):
        self.frames, self.seconds, self.asleep = frames, seconds, asleep
        self.vanishes, self.absent = vanishes, absent
        self.given = 0
        self.released = False

    def opened(self, *_: Any) -> "FakeCamera":
        self.released = False
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return not self._gone()

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(self.seconds)
        if self.asleep:
            self.asleep -= 1
            return False, None
        if self.given == self.frames or self._gone():
            return False, None
        self.given += 1
        return True, np.full((90, 160, 3), self.given - 1, np.uint8)

    def _gone(self) -> bool:
        if self.given != self.vanishes:
            return False
        if self.absent is None:
            return True
        self.absent -= 1
        if self.absent < 0:
            self.vanishes = None
        return self.absent >= 0

    def set(self, *_: Any) -> bool:
        return True

    def get(self, _: int) -> float:
        return 0.0

    def release(self) -> None:
        self.released = True
