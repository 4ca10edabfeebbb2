"""The sound of a video, taken along as it is, or encoded anew where the format asks for it."""

from pathlib import Path
from typing import Any, Self

import av

# What each format takes as it is, and what it gets in place of anything else.
KEPT = {
    "mp4": ("aac", "mp3", "opus", "ac3", "flac"),
    "mov": ("aac", "mp3", "pcm_s16le", "ac3"),
    "webm": ("opus", "vorbis"),
    "avi": ("mp3", "pcm_s16le", "ac3"),
}
ENCODERS = {"webm": "libopus", "avi": "pcm_s16le"}
OPUS_RATE = 48_000


class Sound:
    """The first sound track of a source, written beside the frames that have its time."""

    def __init__(self, path: str, start: float, container: Any):
        self._input = av.open(path)
        self._from = self._input.streams.audio[0]
        self._start, self._container = start, container
        format_name = container.format.name
        self._copied = self._from.codec_context.name in KEPT.get(
            format_name, (self._from.codec_context.name,)
        )
        if self._copied:
            self._to = container.add_stream_from_template(self._from)
        else:
            encoder = ENCODERS.get(format_name, "aac")
            rate = OPUS_RATE if encoder == "libopus" else self._from.rate
            self._to = container.add_stream(encoder, rate=rate)
            self._to.layout = "mono" if self._from.channels == 1 else "stereo"
        self._packets = self._input.demux(self._from)
        self._next: Any = None
        self._ended = False

    @classmethod
    def of(cls, path: Path, container: Any) -> Self | None:
        """Open the sound of a video file; None where there is none."""
        try:
            with av.open(str(path)) as probe:
                if not probe.streams.audio or not probe.streams.video:
                    return None
                video = probe.streams.video[0]
                start = float((video.start_time or 0) * (video.time_base or 0))
        except av.error.FFmpegError:  # an animation that FFmpeg does not know
            return None
        return cls(str(path), start, container)

    def write_until(self, seconds: float) -> None:
        """Write what is heard before a time, in seconds since the first frame."""
        while not self._ended:
            packet = self._next or self._read()
            self._next = packet
            if packet is None:
                self._ended = True
                return
            if self._at(packet) > seconds:
                return
            self._next = None
            if self._at(packet) >= 0:
                self._write(packet)

    def close(self) -> None:
        """Write what an encoder still holds."""
        if not self._copied:
            self._container.mux(self._to.encode(None))

    def free(self) -> None:
        """Close the source."""
        self._input.close()

    def _read(self) -> Any:
        try:
            return next((packet for packet in self._packets if packet.pts is not None), None)
        except av.error.FFmpegError:  # damaged, or cut short: the rest is silence
            return None

    def _at(self, packet: Any) -> float:
        return float(packet.pts * packet.time_base) - self._start

    def _write(self, packet: Any) -> None:
        shift = round(self._start / packet.time_base)
        if self._copied:
            packet.pts -= shift
            packet.dts = packet.pts
            packet.stream = self._to
            self._container.mux(packet)
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            return
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts - shift
            self._container.mux(self._to.encode(frame))
