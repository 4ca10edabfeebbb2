"""What users can change while the demo runs, and the keys that do it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from demo.colours import COLOUR_MAPS
from demo.effects import VIEWS
from demo.faces import View
from demo.shipped import MODELS, PRECISIONS

STEP = 0.1  # of smoothing and opacity, at one press of a key


@dataclass
class Settings:
    """The present choice. Written by the window's thread, read by all.

    Attributes:
        effect: name of one of `demo.effects.VIEWS`.
        model: name of one that ships, or a file.
        precision: of a model that ships.
        smooth: strength of smoothing, 0 to 1.
        opacity: of the overlay, 0 to 1.
        colours: name of one of `demo.colours.COLOUR_MAPS`.
        mirror: show left at the left, as a mirror does.
        figures: write rate and times on the picture.
    """

    effect: str = "overlay"
    model: str = "balanced"
    precision: str = "fp32"
    smooth: float = 0.0
    opacity: float = 0.45
    colours: str = "model"
    mirror: bool = False
    figures: bool = False

    @property
    def view(self) -> View:
        """How much around the face the effect wants to be seen."""
        return VIEWS[self.effect]


@dataclass(frozen=True)
class Key:
    """A key that changes a setting.

    Attributes:
        meaning: for the help.
        change: does it.
    """

    meaning: str
    change: Callable[[Settings], None]


def _next(values: Sequence[str], name: str) -> Callable[[Settings], None]:
    def change(settings: Settings) -> None:
        now = getattr(settings, name)
        at = values.index(now) + 1 if now in values else 0
        setattr(settings, name, values[at % len(values)])

    return change


def _by(name: str, step: float) -> Callable[[Settings], None]:
    def change(settings: Settings) -> None:
        setattr(settings, name, round(min(1.0, max(0.0, getattr(settings, name) + step)), 2))

    return change


def _switch(name: str) -> Callable[[Settings], None]:
    def change(settings: Settings) -> None:
        setattr(settings, name, not getattr(settings, name))

    return change


KEYS = {
    "e": Key("next effect", _next(tuple(VIEWS), "effect")),
    "m": Key("next model", _next(MODELS, "model")),
    "p": Key("next precision", _next(PRECISIONS, "precision")),
    "+": Key("more smoothing", _by("smooth", STEP)),
    "-": Key("less smoothing", _by("smooth", -STEP)),
    "]": Key("more opaque overlay", _by("opacity", STEP)),
    "[": Key("less opaque overlay", _by("opacity", -STEP)),
    "c": Key("next colours", _next(tuple(COLOUR_MAPS), "colours")),
    "x": Key("mirror", _switch("mirror")),
    "i": Key("rate and times", _switch("figures")),
}
# What the player does itself.
OTHER_KEYS = {
    "r": "start or end a recording",
    "s": "save the frame",
    "f": "full screen",
    "h": "help",
    "space": "pause",
    "q, Esc": "quit",
}


def help_lines() -> list[str]:
    """Return a line for each key."""
    lines = {key: entry.meaning for key, entry in KEYS.items()} | OTHER_KEYS
    return [f"{key}: {meaning}" for key, meaning in lines.items()]
