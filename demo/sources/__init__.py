"""Frames from a camera, a stream, a video, an image or a folder, read ahead in a thread."""

from pathlib import Path

from demo.sources.cameras import is_camera, open_camera
from demo.sources.frames import Frame, Source
from demo.sources.pictures import is_animated, is_image, open_animation, open_folder, open_image
from demo.sources.videos import open_video
from export.system.errors import DataError

__all__ = ["Frame", "Source", "open_source"]


def open_source(where: str | Path) -> Source:
    """Open a source, and read its first frame if it is a video or a camera.

    Args:
        where: a camera's index, device or address, or the path of a video, an image or a folder
            of images.

    Raises:
        DataError: there is no such file, or nothing in it can be read.
        UnavailableError: there is no such camera.
    """
    if is_camera(str(where)):
        return open_camera(str(where))
    path = Path(where)
    if path.is_dir():
        return open_folder(path)
    if not path.is_file():
        raise DataError(
            path,
            "does not exist; give a camera's index or address, a video, an image or a folder of "
            "images",
        )
    if is_animated(path):
        return open_animation(path)
    return open_image(path) if is_image(path) else open_video(path)
