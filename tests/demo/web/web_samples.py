"""The page, served, and frames for it with a face as `demo_samples.tiny_model` sees one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from demo.web.server import SiteServer
from demo.web.site import Site

HEIGHT, WIDTH = 240, 320
GREY = 100  # as background
SKIN, NOSE, LIP, HAIR = (0, 0, 255), (255, 0, 255), (255, 0, 0), (0, 255, 0)  # BGR


def frame_with_face(left: int, top: int, side: int = 60) -> np.ndarray:
    """Return a grey frame, uint8 [HEIGHT, WIDTH, 3] BGR, with a square face under hair.

    The skin is ``side`` pixels wide and high; nose and mouth take a fifth of it, as in faces. The
    hair lies on it, a third as high.
    """
    frame = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    frame[top - side // 3 : top, left : left + side] = HAIR
    frame[top : top + side, left : left + side] = SKIN
    third, half = side // 3, side // 2
    frame[top + third : top + half, left + third : left + 2 * third] = NOSE
    frame[top + 2 * third : top + 2 * third + side // 5, left + third : left + 2 * third] = LIP
    return frame


@contextmanager
def serving(site: Site) -> Iterator[str]:
    with SiteServer(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()
