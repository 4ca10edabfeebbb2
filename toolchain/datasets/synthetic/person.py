"""Who is drawn: pose, build, colours and what they wear."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.datasets.synthetic.canvas import Canvas, Colour, Points, backdrop, mix

SIZE = 512
LABEL = {name: label for label, name in enumerate(CELEBAMASK_HQ.classes)}
# The person's right is at the viewer's left.
SIDES = ((-1, "r_"), (1, "l_"))
Style = Literal["none", "short", "bob", "long", "round", "tied"]

_STYLES: dict[Style, float] = {
    "none": 0.06, "short": 0.32, "bob": 0.16, "long": 0.26, "round": 0.10, "tied": 0.10,
}  # fmt: skip
_SKIN: tuple[Colour, ...] = (
    (252, 222, 200), (240, 198, 160), (226, 178, 130), (200, 145, 95), (150, 98, 62), (98, 64, 46),
)  # fmt: skip
_HAIR: tuple[Colour, ...] = (
    (28, 22, 20), (62, 40, 26), (110, 72, 40), (160, 110, 60), (218, 180, 110), (150, 62, 30),
    (150, 150, 152),
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """From a person's own coordinates to pixels.

    The origin is between the eyes and the mouth, x to the viewer's right, y down; a face without
    hair reaches from about -112 to 112 and from -150 to 150. Parts with a depth (towards the
    viewer) move by ``turn`` and ``nod`` times that depth.
    """

    centre: tuple[float, float]
    scale: float
    angle: float
    turn: float = 0.0
    nod: float = 0.0

    def __call__(self, points: Points, depth: float = 0.0) -> Points:
        """Return ``points`` at ``depth`` in pixels."""
        cosine, sine = self.scale * np.cos(self.angle), self.scale * np.sin(self.angle)
        turned: Points = points + np.asarray([self.turn, self.nod]) * depth
        return turned @ np.asarray([[cosine, sine], [-sine, cosine]]) + self.centre


class Person:
    """The traits of one person, with the canvas they are drawn on.

    Lengths are in the coordinates of `Frame`: ``cheeks`` and ``jaw`` are half widths, ``chin`` is
    the lowest y of the face, ``volume`` how far the hair stands off.
    """

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.canvas = Canvas(backdrop(SIZE, rng))
        centre = (SIZE / 2 + rng.uniform(-30, 30), 228 + rng.uniform(-20, 20))
        self.scale = rng.uniform(0.80, 1.06)
        angle = np.radians(rng.uniform(-16, 16))
        self.head = Frame(
            centre, self.scale, angle, rng.uniform(-0.42, 0.42), rng.uniform(-0.25, 0.25)
        )
        self.body = Frame(centre, self.scale, angle / 4)

        self.skin = self.colour(_SKIN, 4)
        self.hair = self.vivid() if self.chance(0.06) else self.colour(_HAIR, 8)
        self.cheeks = rng.uniform(104, 118)
        self.jaw = rng.uniform(58, 84)
        self.chin = rng.uniform(140, 154)
        self.style = list(_STYLES)[rng.choice(len(_STYLES), p=list(_STYLES.values()))]
        self.volume = rng.uniform(16, 34) + (26 if self.style == "round" else 0)
        self.glasses, self.hat = self.chance(0.25), self.chance(0.20)
        self.earrings, self.necklace = self.chance(0.35), self.chance(0.30)
        # Long hair hides the ears of most people, but not of those who show earrings.
        self.ears_hidden = self.style in ("bob", "long") and not self.earrings and self.chance(0.7)

    def chance(self, share: float) -> bool:
        """Return True in ``share`` (0..1) of all calls."""
        return bool(self.rng.random() < share)

    def colour(self, choices: tuple[Colour, ...], jitter: float) -> Colour:
        """Return a colour near or between two of ``choices``; brightness varies most."""
        first, second = self.rng.choice(len(choices), 2)
        blend = np.asarray(mix(choices[first], choices[second], self.rng.uniform(0, 0.4)))
        change = self.rng.normal(0, 2 * jitter) + self.rng.normal(0, jitter, 3)
        return tuple(np.clip(blend + change, 8, 250).tolist())

    def vivid(self) -> Colour:
        """Return any colour."""
        hsv = [self.rng.uniform(*limits) for limits in ((0, 180), (20, 220), (60, 245))]
        return tuple(cv2.cvtColor(np.asarray([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist())
