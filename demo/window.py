"""A window on the screen, where there is a screen."""

import os
import subprocess
import sys
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

    def __init__(self, title: str, full_screen: bool = False):
        self.closed = False
        self._title, self._full_screen = title, full_screen
        self._shown = False

    def __enter__(self) -> Self:
        cv2.namedWindow(
            self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        )
        if self._full_screen:
            self.full_screen = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cv2.destroyAllWindows()

    def show(self, image: Array, caption: str) -> None:
        """Show a picture, uint8 [H, W, 3] BGR, under a title; it is painted by `key`."""
        if not self._shown:
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._shown = True
        cv2.imshow(self._title, image)
        cv2.setWindowTitle(self._title, caption)

    def key(self, seconds: float) -> str:
        """Return the key that is pressed within a time, or ""; let the window paint itself."""
        code = cv2.waitKey(max(1, round(1e3 * seconds)))  # 0 would wait for ever
        self.closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        return chr(code & 0xFF) if code >= 0 else ""

    @property
    def full_screen(self) -> bool:
        """Whether the window covers the screen."""
        return self._full_screen

    @full_screen.setter
    def full_screen(self, value: bool) -> None:
        self._full_screen = value
        mode = cv2.WINDOW_FULLSCREEN if value else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)
