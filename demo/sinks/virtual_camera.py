"""The drawn frames as a camera, for programs that hold meetings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from demo.sources import Frame
from export.system.errors import UnavailableError

Array = np.ndarray[Any, np.dtype[Any]]

REMEDY = (
    "on Linux: modprobe v4l2loopback; on Windows and macOS: install OBS, and start its virtual "
    "camera once"
)


@contextmanager
def open_virtual_camera(fps: float) -> Iterator[Callable[[Frame, Array], None]]:
    """Yield a function that shows a frame, uint8 [H, W, 3] BGR, to whoever watches the camera.

    The camera has the size of the first frame; others are fitted to it.

    Raises:
        UnavailableError: the package or the system's virtual camera is missing.
    """
    try:
        import pyvirtualcam
    except ImportError:
        raise UnavailableError(
            "--virtual-camera needs pyvirtualcam: pip install 'nastool[virtual-camera]'"
        ) from None
    camera: Any = None

    def show(frame: Frame, image: Array) -> None:
        nonlocal camera
        height, width = image.shape[:2]
        if camera is None:
            try:
                camera = pyvirtualcam.Camera(width, height, fps, fmt=pyvirtualcam.PixelFormat.BGR)
            except RuntimeError as error:
                raise UnavailableError(f"no virtual camera ({error}): {REMEDY}") from None
        if (camera.width, camera.height) != (width, height):
            image = cv2.resize(image, (camera.width, camera.height))
        camera.send(np.ascontiguousarray(image))

    try:
        yield show
    finally:
        if camera is not None:
            camera.close()
