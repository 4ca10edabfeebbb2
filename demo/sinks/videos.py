"""Drawn frames as a video that browsers play, with the sound of the source."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from demo.sinks.sound import Sound
from demo.sources import Frame
from export.system.errors import DataError
from export.system.files import whole_file

Array = np.ndarray[Any, np.dtype[Any]]

TICKS = 90_000  # a second; frames begin at any of them, as cameras and variable rates need


@dataclass(frozen=True)
class Codec:
    """How frames are encoded.

    Attributes:
        name: FFmpeg's.
        pixels: the format of pixels; with half the colours of both axes where players want it.
        options: FFmpeg's.
        even: it takes sides of even length only.
        steady: frames begin at multiples of a frame's duration.
    """

    name: str
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    even: bool = False
    steady: bool = False


H264 = Codec("libx264", options={"preset": "superfast", "crf": "20", "bf": "0"}, even=True)
VP9 = Codec(
    "libvpx-vp9",
    options={"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"},
)
MJPEG = Codec("mjpeg", "yuvj422p", {"qmin": "3", "qmax": "3"}, steady=True)

# By suffix, the best first. H.264 and VP9 are what browsers play.
FORMATS = {
    ".mp4": (H264, VP9),
    ".mov": (H264, MJPEG),
    ".mkv": (H264, VP9),
    ".webm": (VP9,),
    ".avi": (MJPEG,),
}
# Such a file can be played as far as it came, and is an ordinary one once it is finished.
OPTIONS = {".mp4": {"movflags": "hybrid_fragmented"}, ".mov": {"movflags": "hybrid_fragmented"}}


class EndedEarlyError(DataError):
    """A video cannot be written on, but can be played as far as it came."""


@contextmanager
def open_video_sink(
    output: Path, fps: float, sound: Path | None = None
) -> Iterator[Callable[[Frame, Array], None]]:
    """Yield a function that adds a frame, uint8 [H, W, 3] BGR, at its time.

    Args:
        output: a name with a suffix of `FORMATS`.
        fps: frames per second, where frames do not say how long they are shown.
        sound: a file whose sound is taken along, if it has one.

    Raises:
        DataError: the file cannot be written, or the frames are of several sizes.
    """
    early = None
    with whole_file(output) as temporary:
        writer = VideoWriter(temporary, output, fps, sound)
        try:
            yield writer.write
            writer.close()
        except EndedEarlyError as error:
            early = error
        finally:
            writer.abandon()
    if early:
        raise early


class VideoWriter:
    """Writes one video.

    Args:
        path: where.
        output: the name that messages give.
        fps: see `open_video_sink`.
        sound: see `open_video_sink`.
    """

    def __init__(self, path: Path, output: Path, fps: float, sound: Path | None):
        suffix = output.suffix.lower()
        self._output, self._fps, self._sound_path = output, fps, sound
        self._container = av.open(str(path), "w", options=OPTIONS.get(suffix, {}))
        self._codec = next(codec for codec in FORMATS[suffix] if codec.name in av.codecs_available)
        self._stream: Any = None
        self._sound: Sound | None = None
        self._size: tuple[int, int] | None = None
        self._last = -1
        self._end = 0.0
        self._tick = Fraction(1, TICKS)
        self._written = 0

    def write(self, frame: Frame, image: Array) -> None:
        """Add a frame.

        Raises:
            EndedEarlyError: the disk is full, or the like.
            DataError: it has another size than the first.
        """
        here = image.shape[1], image.shape[0]
        with self._early():
            if self._size is None:
                self._size = here
                self._start(*here)
        if here != self._size:
            sizes = " and ".join(f"{width}x{height}" for width, height in (self._size, here))
            raise DataError(self._output, f"a video cannot hold {sizes}; write to a folder instead")
        # A clock that steps back, or two frames in one tick: the later one does not count.
        at = round(frame.timestamp / self._tick)
        if at <= self._last:
            return
        self._last = at
        picture = av.VideoFrame.from_ndarray(self._even(image), format="bgr24")
        # By itself the encoder converts with threads, which wait for the model's.
        picture = picture.reformat(format=self._stream.pix_fmt, threads=1)
        picture.pts, picture.time_base = at, self._tick
        duration = frame.duration or 1 / self._fps
        with self._early():
            if self._sound:
                self._sound.write_until(frame.timestamp)
            for packet in self._stream.encode(picture):
                self._mux(packet, duration)
        self._written += 1
        self._end = frame.timestamp + duration

    def close(self) -> None:
        """Finish the file."""
        with self._early():
            if self._stream:
                for packet in self._stream.encode():
                    self._mux(packet, self._end - float(packet.pts * packet.time_base))
                if self._sound:
                    self._sound.write_until(self._end)
                    self._sound.close()
            self._container.close()

    def abandon(self) -> None:
        """Free everything, whatever state it is in; harmless after `close`."""
        with suppress(OSError, av.error.FFmpegError):
            self._container.close()
        if self._sound:
            self._sound.free()

    def _start(self, width: int, height: int) -> None:
        codec = self._codec
        rate = Fraction(self._fps).limit_denominator(TICKS)
        self._tick = 1 / rate if codec.steady else Fraction(1, TICKS)
        stream: Any = self._container.add_stream(codec.name, rate=rate, options=dict(codec.options))
        stream.width, stream.height = (
            (side + side % 2 if codec.even else side) for side in (width, height)
        )
        stream.pix_fmt = codec.pixels
        stream.codec_context.time_base = self._tick
        self._stream = stream
        self._sound = Sound.of(self._sound_path, self._container) if self._sound_path else None

    def _even(self, image: Array) -> Array:
        if not self._codec.even:
            return image
        down, right = image.shape[0] % 2, image.shape[1] % 2
        return cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)

    def _mux(self, packet: Any, seconds: float) -> None:
        # The last frame is shown this long; of the others the next one's time counts.
        packet.duration = max(1, round(seconds / packet.time_base))
        self._container.mux(packet)

    @contextmanager
    def _early(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            if not self._written:
                raise DataError(self._output, f"{problem}; choose another path") from None
            raise EndedEarlyError(
                self._output, f"{problem}; its first {self._written} frames are kept"
            ) from None
