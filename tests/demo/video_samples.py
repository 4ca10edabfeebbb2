"""Videos of every kind that people have, written with FFmpeg's libraries."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from demo_samples import square_at


def film(
    path: Path,
    times: list[Fraction],
    last: Fraction,
    *,
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (90, 160),
    sound: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a frame at each time, the last shown so long: frame k has its square at column 2 k."""
    with av.open(str(path), "w", options=options or {}) as container:
        rate = Fraction(len(times)) / (times[-1] + last)
        stream = container.add_stream(codec, rate=rate.limit_denominator(60_000))
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], pixels
        stream.codec_context.time_base = Fraction(1, 90_000 if codec != "mpeg4" else 48_000)
        stream.codec_context.gop_size = 5
        track = container.add_stream(sound, rate=48_000) if sound else None
        for index, at in enumerate(times):
            image = square_at(2 * index, *size)
            if "a" in pixels:
                opacity = np.full((*size, 1), 255, np.uint8)
                opacity[:, size[1] // 2 :] = 0
                frame = av.VideoFrame.from_ndarray(np.dstack((image, opacity)), format="bgra")
            else:
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(at / frame.time_base)
            container.mux(packets(stream.encode(frame), last))
        container.mux(packets(stream.encode(), last))
        if track:
            tone(container, track, times[-1] + last)
    return path


def packets(made: list, last: Fraction) -> list:
    for packet in made:
        packet.duration = round(last / packet.time_base)
    return made


def tone(container: av.container.OutputContainer, track: object, seconds: Fraction) -> None:
    """Write 440 Hz."""
    samples = round(48_000 * seconds)
    wave = np.sin(np.arange(samples) * 2 * np.pi * 440 / 48_000).astype(np.float32)[None]
    for start in range(0, samples, 960):
        frame = av.AudioFrame.from_ndarray(wave[:, start : start + 960], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        container.mux(track.encode(frame))
    container.mux(track.encode())


def even(count: int, rate: Fraction | int) -> tuple[list[Fraction], Fraction]:
    """Return times of frames at one rate, and how long each is shown."""
    return [k / Fraction(rate) for k in range(count)], 1 / Fraction(rate)


def turn(path: Path, height: int) -> None:
    """Ask players to turn an MP4 by 90 degrees clockwise, as telephones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    one = 1 << 16
    matrix = (0, one, 0, -one, 0, 0, height * one, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


def damage(path: Path, index: int) -> None:
    """Overwrite most of one frame's bytes."""
    with av.open(str(path)) as container:
        packet = next(p for k, p in enumerate(container.demux(video=0)) if k == index)
        at, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[at + 4 : at + size - 2] = bytes(size - 6)
    path.write_bytes(data)


def facts(path: Path) -> dict:
    """Return what a player sees: seconds, frames, codec, pixels, size, sound."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found = {
            "codec": stream.codec_context.name,
            "pixels": stream.codec_context.pix_fmt,
            "size": (stream.height, stream.width),
            "sound": [track.codec_context.name for track in container.streams.audio],
        }
        ends = [
            float((packet.pts + packet.duration) * packet.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None
        ]
    return found | {"seconds": max(ends), "frames": len(ends)}


def heard(path: Path) -> float:
    """Return seconds of sound, and check that it is 440 Hz."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        step = 1 if track.format.is_planar else track.channels
        wave = np.concatenate([frame.to_ndarray()[0, ::step] for frame in container.decode(track)])
        rate = track.rate
    spectrum = np.abs(np.fft.rfft(wave.astype(np.float64)))
    assert abs(spectrum.argmax() * rate / len(wave) - 440) < 5
    return len(wave) / rate


def red_columns(image: np.ndarray) -> int:
    """Return where the square begins."""
    row = cv2.blur(image, (3, 3))[65 * image.shape[0] // 90]
    return int(np.flatnonzero(row[:, 2] > 128)[0])
