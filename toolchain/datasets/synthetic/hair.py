"""Hair: behind the head, before the shoulders, over the ears and over the forehead."""

import numpy as np

from toolchain.datasets.synthetic.canvas import mix, oval, shade, smooth, symmetric
from toolchain.datasets.synthetic.person import LABEL, SIDES, Person

_HAIR = LABEL["hair"]
# How far down the hair behind the head ends, in the coordinates of `Frame`.
_ENDS = {"short": 10, "tied": 10, "round": 50, "bob": 130, "long": 240}


def back(person: Person) -> None:
    """Draw the hair behind the head, with a bun if it is tied."""
    if person.style == "none":
        return
    if person.style == "tied":
        bun = person.head(oval(person.rng.uniform(-60, 60), -178, 48, 44))
        person.canvas.fill(bun, shade(person.hair, 0.85), _HAIR)
    width, end = person.cheeks + person.volume, _ENDS[person.style]
    hangs = person.style in ("bob", "long")
    low = width * person.rng.uniform(0.9, 1.2) if hangs else person.cheeks * 0.85
    outline = symmetric(
        [(0, -148 - person.volume), (width * 0.65, -128 - person.volume * 0.85),
         (width, -40), ((width + low) / 2 + 4, (end - 40) * 0.6), (low, end), (0, end + 10)]
    )  # fmt: skip
    person.canvas.fill(person.head(smooth(outline)), shade(person.hair, 0.8), _HAIR)


def falling(person: Person) -> None:
    """Draw long hair that falls before the shoulders."""
    if person.style != "long":
        return
    width = person.cheeks + person.volume
    outline = [
        (80, -40), (width, -30), (width + 12, 120), (width + 4, 260), (84, 262), (76, 120),
    ]  # fmt: skip
    for side, _ in SIDES:
        lock = smooth([(side * along, down) for along, down in outline])
        person.canvas.fill(person.head(lock), shade(person.hair, 0.9), _HAIR)


def locks(person: Person) -> None:
    """Draw hair over the ears."""
    rng, width = person.rng, person.cheeks + person.volume
    for side, _ in SIDES:
        inner, end = person.cheeks - rng.uniform(2, 16), rng.uniform(70, 130)
        outline = [
            (60, -130), (width - 8, -90), (width + 8, 40), (width + 2, end), (inner + 4, end - 10),
            (inner, -10),
        ]  # fmt: skip
        lock = smooth([(side * along, down) for along, down in outline])
        person.canvas.fill(person.head(lock), shade(person.hair, 0.95), _HAIR)


def front(person: Person) -> None:
    """Draw the hair above the forehead: a fringe, parted or swept back; with strands."""
    if person.style == "none":
        return
    rng, canvas = person.rng, person.canvas
    width, top = person.cheeks + person.volume * 0.75, 128 + person.volume
    inner, temple = person.cheeks - 6, rng.uniform(-50, -10)
    part, line = rng.uniform(-60, 60), rng.uniform(-118, -100)
    kind = rng.random()
    if kind < 0.3:
        low = rng.uniform(-90, -76)
        middle = [(inner * 0.85, low), (30, low - 6), (-30, low - 6), (-inner * 0.85, low)]
    elif kind < 0.75:
        middle = [
            (inner * 0.86, -84), ((inner + part) / 2, line), (part, line - 14),
            ((part - inner) / 2, line), (-inner * 0.86, -84),
        ]  # fmt: skip
    else:
        middle = [(inner * 0.9, -90), (45, line - 6), (-45, line - 6), (-inner * 0.9, -90)]
    hairline = smooth([(inner, temple), *middle, (-inner, temple)], closed=False)
    crown = oval(0, -20, width, top, 2.3, turns=(0.5, 1.0))
    canvas.fill(person.head(np.concatenate([crown, hairline])), person.hair, _HAIR)

    strands = [
        person.head(
            smooth(
                [(part / 2, -22 - top), (s * width * 0.8, 8 - top * 0.9),
                 (s * width * 1.05, -20 + abs(s) * 60), (s * width * 1.12, 200)],
                closed=False,
                steps=4,
            )
        )
        for s in rng.uniform(-1, 1, 26)
    ]  # fmt: skip
    canvas.texture(_HAIR, strands[::2], 3, shade(person.hair, 0.72))
    canvas.texture(_HAIR, strands[1::2], 2, mix(shade(person.hair, 1.25), (255, 255, 255), 0.08))
