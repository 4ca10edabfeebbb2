"""Shows and writes what the pipeline draws, and obeys the keys."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from demo.meter import Meter
from demo.panels import draw_panel
from demo.pipeline import Drawn, Pipeline
from demo.settings import KEYS, Settings, help_lines
from demo.sinks import Write, in_background, open_sink
from demo.sinks.pictures import save_image
from demo.sinks.videos import open_video_sink
from demo.sinks.virtual_camera import open_virtual_camera
from demo.sources import Frame, Source
from demo.window import Window
from export.system.console import track

Array = np.ndarray[Any, np.dtype[Any]]

LOOK_SECONDS = 0.02  # between two looks at the keyboard while no new frame is shown
STALLED_SECONDS = 1.0  # without a frame, after which it is said
ESCAPE = "\x1b"
WIDE = ("side-by-side",)  # effects whose pictures are wider than the frame

log = logging.getLogger(__name__)


class Player:
    """Plays one source.

    Args:
        pipeline: not yet entered.
        settings: the pipeline's.
        meter: the pipeline's.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, meter: Meter):
        self._pipeline, self._settings, self._meter = pipeline, settings, meter
        self._source: Source = pipeline.source
        self._window: Window | None = None
        self._writes: list[Write] = []
        self._recorder: Recorder | None = None
        self._label_maps = self._help = False
        self._due = 0.0

    def play(
        self,
        *,
        output: Path | None = None,
        virtual_camera: bool = False,
        window: Window | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """Go through the source; Ctrl-C ends it early and keeps what is written so far.

        Args:
            output: a video, an image or a folder, see `open_sink`.
            virtual_camera: be a camera for other programs.
            window: where to show the frames, not yet entered.
            limit: stop after so many frames.

        Returns:
            The document of ``nastool demo``.

        Raises:
            KeyboardInterrupt: a file was interrupted, after closing everything; the end of a
                camera, which has no other, is no interruption.
        """
        source, meter = self._source, self._meter
        interrupted = False
        model: Path | None = None
        with ExitStack() as stack:
            if virtual_camera:
                show = stack.enter_context(open_virtual_camera(source.fps))
                sink = in_background(show, meter.milliseconds["write"])
                self._writes.append(stack.enter_context(sink))
            self._window = stack.enter_context(window) if window else None
            stack.callback(self._end_recording)
            stack.enter_context(self._pipeline)
            total = min(filter(None, (source.total, limit)), default=None)
            meter.start()
            try:
                for drawn in track(self._frames(), "frames", total):
                    if output and not meter.frames:
                        palette = np.array(drawn.palette, np.uint8).tobytes()
                        self._label_maps = drawn.image.ndim == 2
                        times = meter.milliseconds["write"]
                        labels = palette if self._label_maps else None
                        sink = open_sink(output, source, times, labels)
                        self._writes.append(stack.enter_context(sink))
                    model = drawn.labelled.model
                    go_on = True
                    if self._window:
                        drawn, go_on = self._attend(self._window, drawn)
                    for write in self._writes:
                        write(drawn.frame, drawn.image if self._label_maps else drawn.picture)
                    if self._recorder:
                        self._recorder(drawn.frame, drawn.picture)
                    meter.count()
                    if not go_on or meter.frames == limit:
                        break
            except KeyboardInterrupt:
                if not meter.frames:
                    raise
                interrupted = True
        seconds = meter.seconds
        if interrupted and not source.live:
            done = f"{meter.frames} of {source.total or 'the'} frames"
            log.info("stopped after %s%s", done, f"; they are in {output}" if output else "")
            raise KeyboardInterrupt
        if faceless := min(meter.faceless, meter.frames):
            log.info(
                "no face was found in %d of %d frames; --fit letterbox labels frames as they are",
                *(faceless, meter.frames),
            )
        return {
            "source": str(source.path or source.name),
            "model": str(model),
            "effect": self._settings.effect,
            "output": str(output) if output else None,
            "frames": meter.frames,
            "dropped": meter.dropped,
            "damaged": source.condition.damaged,
            "seconds": round(seconds, 3),
            "fps": round(meter.frames / seconds, 2) if seconds else 0.0,
            "stages_ms": meter.medians(),
        }

    def _frames(self) -> Iterator[Drawn]:
        """Yield the frames; while none comes, keep the window alive."""
        last: Drawn | None = None
        since = time.perf_counter()
        for drawn in self._pipeline.or_nothing(LOOK_SECONDS if self._window else None):
            if drawn:
                last, since = drawn, time.perf_counter()
                yield drawn
            elif self._window and last:
                stalled = time.perf_counter() - since > STALLED_SECONDS
                self._show(self._window, last, ["waiting for the camera"] if stalled else [])
                if not self._obey(self._window.key(LOOK_SECONDS), last):
                    return

    def _attend(self, window: Window, drawn: Drawn) -> tuple[Drawn, bool]:
        """Show a frame for its time and obey the keys; return it, and whether to go on."""
        still = self._source.still  # stays until a key is pressed
        self._due = max(self._due, time.perf_counter())
        self._show(window, drawn)
        if self._source.kind == "video":
            self._due += drawn.frame.duration or 1 / self._source.fps
        paused = False
        started = time.perf_counter()
        while True:
            held = paused or still
            left = self._due - time.perf_counter()
            key = window.key(LOOK_SECONDS if held else min(max(left, 0), LOOK_SECONDS))
            before = replace(self._settings)
            if not self._obey(key, drawn):
                return drawn, False
            if self._settings != before or key == "h":
                if held:
                    drawn = self._pipeline.drawer(drawn.labelled)
                self._show(window, drawn)
            elif key == " " and not still:
                paused = not paused
            elif key and still and key not in "srf":
                break
            if not (paused or still) and self._due <= time.perf_counter():
                break
        if still or held:
            self._meter.held += time.perf_counter() - started
        return drawn, True

    def _show(self, window: Window, drawn: Drawn, message: list[str] | None = None) -> None:
        picture = drawn.picture
        lines = (message or []) + (help_lines() if self._help else [])
        if lines:
            picture = picture.copy()
            draw_panel(picture, lines)
        recording = ", recording" if self._recorder else ""
        window.show(
            picture,
            f"{self._settings.effect}, {self._meter.rate:.0f} fps{recording} (h: help, q: quit)",
        )

    def _obey(self, key: str, drawn: Drawn) -> bool:
        """Do what a key asks for; return whether to go on."""
        window, settings = self._window, self._settings
        assert window is not None
        if key in KEYS:
            possible = self._possible_effects()
            KEYS[key].change(settings)
            while settings.effect not in possible:
                KEYS["e"].change(settings)
        elif key == "h":
            self._help = not self._help
        elif key == "f":
            window.full_screen = not window.full_screen
        elif key == "r":
            self._record(drawn)
        elif key == "s":
            path = Path(f"{Path(drawn.frame.name).stem}-{settings.effect}.png")
            save_image(path, drawn.picture)
            log.info("saved %s", path)
        return key not in ("q", ESCAPE) and not window.closed

    def _possible_effects(self) -> list[str]:
        """Return what the model can give, and what is being written can hold."""
        names, now = self._pipeline.drawer.names, self._settings.effect
        if self._label_maps:
            return [now]
        if self._writes or self._recorder:  # a film has one size
            return [name for name in names if (name in WIDE) == (now in WIDE)]
        return list(names)

    def _record(self, drawn: Drawn) -> None:
        """Start a recording in the current folder, or end it."""
        if self._recorder:
            self._end_recording()
            return
        names = (Path(f"{self._source.name}-{number}.mp4") for number in count(1))
        path = next(path for path in names if not path.exists())
        self._recorder = Recorder(path, self._source.fps, drawn.frame.timestamp, self._meter)
        log.info("recording %s", path)

    def _end_recording(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder:
            recorder.close()


class Recorder:
    """A video that begins and ends at a key.

    Args:
        path: where.
        fps: of the source.
        start: time of its first frame.
        meter: receives the times of encoding.
    """

    def __init__(self, path: Path, fps: float, start: float, meter: Meter):
        self._start = start
        with ExitStack() as stack:
            encode = stack.enter_context(open_video_sink(path, fps))
            times = meter.milliseconds["write"]
            self._write = stack.enter_context(in_background(encode, times))
            self._open = stack.pop_all()

    def __call__(self, frame: Frame, image: Array) -> None:
        """Add a frame."""
        self._write(replace(frame, timestamp=frame.timestamp - self._start), image)

    def close(self) -> None:
        """Finish the file."""
        self._open.close()
