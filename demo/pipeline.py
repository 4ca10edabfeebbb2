"""The demo's stages, each in a thread of its own.

::

    source -> label -> draw -> whoever iterates: window, file, virtual camera
    (capture) (inference)

Each stage works on the next frame while the one behind it works on the last, so that the slowest
sets the pace. A stage begins a frame when the one before has been taken: nothing queues up, and a
camera's frames that come meanwhile are dropped at the source. Picture and labels travel together.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from demo.colours import Colour, colour_map
from demo.effects import VIEWS, Effect
from demo.faces import View
from demo.labelling import Labeller
from demo.meter import Meter
from demo.overlapped import Overlapped
from demo.panels import draw_panel
from demo.parser import FaceParser, Look
from demo.settings import Settings
from demo.sources import Frame, Source
from export.onnx_file.metadata import ModelMetadata
from export.system.errors import NastoolError, UsageError

Array = np.ndarray[Any, np.dtype[Any]]
OpenParser = Callable[[str, str], FaceParser]
MakeEffects = Callable[..., dict[str, Effect]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """A frame and what the model says of it.

    Attributes:
        frame: the picture.
        looks: by the view that was asked for.
        metadata: the model's.
        model: its file.
    """

    frame: Frame
    looks: dict[View, Look]
    metadata: ModelMetadata
    model: Path

    def look(self, view: View) -> Look:
        """Return the look of a view, or the one there is."""
        return self.looks.get(view) or next(iter(self.looks.values()))


@dataclass(frozen=True)
class Drawn:
    """A frame as it is shown and written.

    Attributes:
        labelled: what it was drawn from.
        image: uint8 [H, W, 3] BGR, or labels [H, W].
        palette: the colours of labels.
    """

    labelled: Labelled
    image: Array
    palette: list[Colour]

    @property
    def frame(self) -> Frame:
        """The frame as it was read."""
        return self.labelled.frame

    @property
    def picture(self) -> Array:
        """Labels as colours; pictures as they are."""
        if self.image.ndim == 3:
            return self.image
        return np.array(self.palette, np.uint8)[:, ::-1][self.image]


class Drawer:
    """Draws the chosen effect; may be called from several threads."""

    def __init__(self, settings: Settings, meter: Meter, make_effects: MakeEffects):
        self._settings, self._meter, self._make_effects = settings, meter, make_effects
        self._effects: dict[str, Effect] = {}
        self._palette: list[Colour] = []
        self._made_for: Any = None
        self._lock = threading.Lock()

    def __call__(self, labelled: Labelled) -> Drawn:
        """Draw on a frame.

        Raises:
            UsageError: the model has no class that the effect changes.
        """
        settings = self._settings
        with self._lock, self._meter.measure("draw"):
            name = settings.effect
            effect = self._effect(name, labelled)
            picture, look = labelled.frame.image, labelled.look(VIEWS[name])
            if settings.mirror:
                picture, look = cv2.flip(picture, 1), look.mirrored()
            image = effect(picture, look)
            if settings.figures and image.ndim == 3:
                draw_panel(image, self._meter.lines(), bottom=True)
        return Drawn(labelled, image, self._palette)

    @property
    def names(self) -> tuple[str, ...]:
        """The effects that the model can give."""
        return tuple(self._effects)

    def _effect(self, name: str, labelled: Labelled) -> Effect:
        metadata, settings = labelled.metadata, self._settings
        made_for = metadata, settings.opacity, settings.colours
        if made_for != self._made_for:
            self._palette = colour_map(settings.colours, metadata.palette)
            self._effects = self._make_effects(
                metadata.classes, self._palette, opacity=settings.opacity
            )
            self._made_for = made_for
        if name not in self._effects:
            raise UsageError(
                f"effect {name!r}: {labelled.model} has no class that it changes; "
                f"it can do {', '.join(self._effects)}"
            )
        return self._effects[name]


class Pipeline:
    """The stages behind a source; a context manager.

    Args:
        source: not yet entered.
        settings: the present choice, which may change meanwhile.
        meter: receives the times.
        open_parser: opens a model by name and precision, in the thread that will run it.
        make_effects: see `demo.effects.make_effects`.
        fit: see `Labeller`.
        every_view: look at each frame for every effect, so that another can be drawn later.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        meter: Meter,
        open_parser: OpenParser,
        make_effects: MakeEffects,
        *,
        fit: str = "face",
        every_view: bool = False,
    ):
        self.source, self._settings, self._meter = source, settings, meter
        self._open_parser, self._fit = open_parser, fit
        self._every_view = every_view
        self.drawer = Drawer(settings, meter, make_effects)
        self._labelled = Overlapped(self._label(), "label", upstream=source)
        self._drawn = Overlapped(self._draw(), "draw", upstream=self._labelled)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for stage in (self.source, self._labelled, self._drawn):
            self._stack.enter_context(stage)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def or_nothing(self, seconds: float | None) -> Iterator[Drawn | None]:
        """Yield drawn frames, and None each time that none has come for so many seconds."""
        return self._drawn.or_nothing(seconds)

    def _label(self) -> Any:
        settings = self._settings
        with ExitStack() as stack:
            parser, labeller = self._opened(stack)
            opened = settings.model, settings.precision
            for frame in self.source:
                if (settings.model, settings.precision) != opened:
                    try:
                        with ExitStack() as other:
                            parser, labeller = self._opened(other)
                            stack.close()
                            stack = other.pop_all()
                        opened = settings.model, settings.precision
                    except NastoolError as error:
                        log.info("%s", error)
                        settings.model, settings.precision = opened
                self._meter.milliseconds["capture"].append(frame.capture_ms)
                self._meter.dropped = self.source.dropped
                labeller.smoother.strength = settings.smooth
                views = set(VIEWS.values()) if self._every_view else {settings.view}
                looks = {view: labeller(frame.image, view) for view in views}
                self._meter.faceless += labeller.faceless
                yield Labelled(frame, looks, parser.metadata, parser.path)

    def _opened(self, stack: ExitStack) -> tuple[FaceParser, Labeller]:
        settings = self._settings
        parser = stack.enter_context(self._open_parser(settings.model, settings.precision))
        stream = not self.source.still
        return parser, Labeller(parser, self._meter, self._fit, settings.smooth, stream)

    def _draw(self) -> Any:
        for labelled in self._labelled:
            yield self.drawer(labelled)
