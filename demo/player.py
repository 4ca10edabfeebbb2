"""The demo's loop: read, label, draw, show, write."""

import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from demo.effects import Effect
from demo.geometry import Fit
from demo.panels import draw_panel
from demo.parser import FaceParser
from demo.sinks import open_sink, save_image
from demo.smoothing import LabelSmoother
from demo.sources import Frame, Source
from demo.window import Window, display_works
from export.console import track
from export.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]

STAGES = ("capture", "preprocess", "inference", "postprocess", "draw", "write")
HELD_MS = 20.0  # between two looks at the keyboard while a frame is held
KEYS = "q quit, e next effect, s save, space pause"

log = logging.getLogger(__name__)


@dataclass
class Stages:
    """Milliseconds of every frame in every stage, and the rate over the whole run.

    Reading and writing happen in threads beside the others, so the sum of the medians may be more
    than the time per frame.

    Attributes:
        milliseconds: by stage.
        frames: how many are done.
        seconds: how long they took.
        held: seconds in which the user paused or looked at a still image; not in ``seconds``.
    """

    milliseconds: dict[str, list[float]] = field(
        default_factory=lambda: {stage: [] for stage in STAGES}
    )
    frames: int = 0
    seconds: float = 0.0
    held: float = 0.0

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        start = time.perf_counter()
        yield
        self.milliseconds[stage].append(1e3 * (time.perf_counter() - start))

    @property
    def fps(self) -> float:
        """Frames per second so far."""
        return self.frames / self.seconds if self.seconds else 0.0

    def medians(self) -> dict[str, float | None]:
        """Return the median of each stage in ms; None where nothing was done."""
        return {
            stage: round(statistics.median(values), 3) if values else None
            for stage, values in self.milliseconds.items()
        }


class Player:
    """Draw an effect on every frame of a source.

    Args:
        parser: the model.
        effects: every effect that can be chosen, by name.
        effect: the first to draw.
        fit: ``letterbox`` or ``crop``, see `Fit.make`.
        smooth: strength of `LabelSmoother`.
        figures: write the frame rate and the time of inference on the picture.
    """

    def __init__(
        self,
        parser: FaceParser,
        effects: dict[str, Effect],
        effect: str = "overlay",
        *,
        fit: str = "letterbox",
        smooth: float = 0.0,
        figures: bool = False,
    ):
        if effect not in effects:
            raise UsageError(
                f"effect {effect!r}: {parser.path} has no class that it changes; "
                f"it can do {', '.join(effects)}"
            )
        self.parser, self.effects, self.effect = parser, effects, effect
        self.fit_mode, self.figures = fit, figures
        self.stages = Stages()
        self._smoother = LabelSmoother(smooth)
        self._square = np.empty(0, np.uint8)
        self._square_fit: Fit | None = None

    def play(
        self,
        source: Source,
        *,
        output: Path | None = None,
        display: bool = True,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """Go through a source; Ctrl-C ends it early and keeps what is written so far.

        Args:
            source: an opened source, not yet entered.
            output: a video, an image or a folder, see `open_sink`.
            display: show a window. Without a display, the frames are written instead.
            limit: stop after so many frames.

        Returns:
            The document of ``nastool demo``.

        Raises:
            KeyboardInterrupt: a file was interrupted, after closing everything; the end of a
                webcam, which has no other, is no interruption.
        """
        if display and not display_works():
            display = False
            output = output or _default_output(source, self.effect)
            log.info("no display to open a window on: writing %s", output)
        interrupted = False
        with ExitStack() as stack:
            write = (
                stack.enter_context(open_sink(output, source, self.stages.milliseconds["write"]))
                if output
                else None
            )
            window = stack.enter_context(Window("nastool demo")) if display else None
            frames = stack.enter_context(source)
            total = min(filter(None, (source.total, limit)), default=None)
            started = time.perf_counter()
            try:
                for frame in track(islice(frames, limit), "frames", total):
                    labels, fit = self._label(frame)
                    drawn = self._draw(frame, labels, fit)
                    go_on = True
                    if window:
                        drawn, go_on = self._show(window, source, frame, labels, fit, drawn)
                    if write:
                        write(frame, drawn)
                    self.stages.frames += 1
                    self.stages.seconds = time.perf_counter() - started - self.stages.held
                    if not go_on:
                        break
            except KeyboardInterrupt:
                if not self.stages.frames:
                    raise
                interrupted = True
        self.stages.seconds = time.perf_counter() - started - self.stages.held
        if interrupted and not source.live:
            done = f"{self.stages.frames} of {source.total or 'the'} frames"
            log.info("stopped after %s%s", done, f"; they are in {output}" if output else "")
            raise KeyboardInterrupt
        return {
            "source": str(source.path or source.name),
            "model": str(self.parser.path),
            "effect": self.effect,
            "output": str(output) if output else None,
            "frames": self.stages.frames,
            "seconds": round(self.stages.seconds, 3),
            "fps": round(self.stages.fps, 2),
            "stages_ms": self.stages.medians(),
        }

    def _label(self, frame: Frame) -> tuple[Array, Fit]:
        self.stages.milliseconds["capture"].append(frame.capture_ms)
        height, width = frame.image.shape[:2]
        with self.stages.measure("preprocess"):
            fit = Fit.make((height, width), self.parser.size, self.fit_mode)
            if fit != self._square_fit:
                self._square, self._square_fit = fit.new_square(), fit
            fit.to_square(frame.image, self._square)
        with self.stages.measure("inference"):
            labels = self.parser(self._square)
        with self.stages.measure("postprocess"):
            return self._smoother(labels), fit

    def _draw(self, frame: Frame, labels: Array, fit: Fit) -> Array:
        with self.stages.measure("draw"):
            drawn = self.effects[self.effect](frame.image, labels, fit)
            if self.figures:
                inference = statistics.median(self.stages.milliseconds["inference"][-30:])
                rows = [f"{self.stages.fps:.0f} fps", f"inference {inference:.1f} ms"]
                draw_panel(drawn, rows, bottom=True)
        return drawn

    def _show(
        self, window: Window, source: Source, frame: Frame, labels: Array, fit: Fit, drawn: Array
    ) -> tuple[Array, bool]:
        """Show a frame and obey the keys; return the frame as last drawn, and whether to go on."""
        still = source.kind in ("image", "folder")  # stays until a key is pressed
        at_least_ms = 1000 / source.fps if source.kind == "video" else 0
        paused = False
        while True:
            caption = f"{self.effect}, {self.stages.fps:.0f} fps ({KEYS})"
            shown = time.perf_counter()
            key = window.show(drawn, caption, at_least_ms)
            if paused or still:
                self.stages.held += time.perf_counter() - shown
            if key == "q" or window.closed:
                return drawn, False
            if key == "e":
                names = list(self.effects)
                self.effect = names[(names.index(self.effect) + 1) % len(names)]
                drawn = self._draw(frame, labels, fit)
            elif key == "s":
                path = Path(f"{Path(frame.name).stem}-{self.effect}.png")
                save_image(path, drawn)
                log.info("saved %s", path)
            elif key == " " and not still:
                paused = not paused
            elif key and still:
                return drawn, True
            if not (paused or still):
                return drawn, True
            at_least_ms = HELD_MS


def _default_output(source: Source, effect: str) -> Path:
    suffix = {"image": ".png", "folder": ""}.get(source.kind, ".mp4")
    # A dot in a folder's name would look like a suffix.
    return Path(f"{source.name.replace('.', '-')}-{effect}{suffix}")
