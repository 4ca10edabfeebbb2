"""A window on the screen, where there is a screen."""

import os
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# Qt, as OpenCV's packages bring it, complains of fonts that this window does not use.
os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")

PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"


def display_works() -> bool:
    """Say whether a window can be opened.

    Tried in a process of its own: OpenCV's window library ends the process that asks it for a
    window without a reachable display, and no exception can be caught.
    """
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=False)
    return probe.returncode == 0


class Window:
    """One window with a picture in it; a context manager.

    Attributes:
        closed: whether the user closed it.
    """

    def __init__(self, title: str):
        self.closed = False
        self._title = title
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        cv2.namedWindow(
            self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cv2.destroyAllWindows()

    def show(self, image: Array, caption: str, at_least_ms: float = 0) -> str:
        """Show a picture and return the key pressed, or "".

        Args:
            image: uint8 [H, W, 3] BGR.
            caption: the window's title.
            at_least_ms: how long the picture before this one is to stay on the screen.
        """
        if not self._shown_at:
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
        cv2.imshow(self._title, image)
        cv2.setWindowTitle(self._title, caption)
        spent = 1e3 * (time.perf_counter() - self._shown_at)
        # 1 ms is what the window needs to draw itself; 0 would wait for a key.
        code = cv2.waitKey(max(1, round(at_least_ms - spent)))
        self._shown_at = time.perf_counter()
        self.closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        return chr(code & 0xFF) if code >= 0 else ""
