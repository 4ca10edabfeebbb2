"""What people wear: clothes, necklaces, earrings, glasses, hats."""

import numpy as np

from toolchain.datasets.synthetic.canvas import Colour, oval, shade, smooth
from toolchain.datasets.synthetic.features import eyes
from toolchain.datasets.synthetic.person import LABEL, SIDES, Person

_METALS: tuple[Colour, ...] = ((235, 200, 80), (225, 228, 240), (215, 60, 70), (60, 190, 180))
_FRAMES: tuple[Colour, ...] = (
    (20, 20, 24), (120, 60, 30), (190, 170, 120), (170, 30, 50), (30, 50, 120),
)  # fmt: skip
_WHITE: Colour = (255, 255, 255)


def cloth(person: Person) -> None:
    """Draw a top with shoulders and a neckline: plain, striped along or across."""
    rng, canvas, label = person.rng, person.canvas, LABEL["cloth"]
    colour, width = person.vivid(), rng.uniform(190, 260)
    opening, top, depth = rng.uniform(50, 95), rng.uniform(178, 200), rng.uniform(205, 262)
    corner = opening * rng.uniform(0.2, 0.8)
    shoulder = smooth([(opening, top), (width * 0.75, 235), (width, 300), (width, 700)], False)
    neckline = smooth(
        [(-opening, top), (-corner, depth - 8), (0, depth), (corner, depth - 8), (opening, top)],
        closed=False,
    )
    outline = np.concatenate([(shoulder * (-1, 1))[::-1], neckline, shoulder])
    canvas.fill(person.body(outline), colour, label)
    if person.chance(0.5):
        along = np.arange(-300, 300, rng.uniform(18, 50))
        if person.chance(0.5):
            stripes = [np.asarray([(x, 150), (x + 40, 700)]) for x in along]
        else:
            stripes = [np.asarray([(-300, 400 + x), (300, 400 + x)]) for x in along]
        stripes = [person.body(stripe) for stripe in stripes]
        canvas.texture(label, stripes, rng.uniform(2, 12), person.vivid())
    canvas.stroke(person.body(neckline), 4, shade(colour, 0.7))


def necklace(person: Person) -> None:
    """Draw beads or a band around the neck, perhaps with a pendant."""
    rng, canvas, label = person.rng, person.canvas, LABEL["neck_l"]
    metal, low = person.colour(_METALS, 5), rng.uniform(212, 244)
    curve = person.body(
        smooth([(-66, 178), (-48, low - 16), (0, low), (48, low - 16), (66, 178)], closed=False)
    )
    if person.chance(0.5):
        radius = 8 * person.scale
        for x, y in curve[::2]:
            canvas.fill(oval(x, y, radius, radius), metal, label)
            canvas.fill(oval(x - 2, y - 2, 2, 2), _WHITE)
    else:
        canvas.stroke(curve, rng.uniform(9, 12) * person.scale, metal, label)
        canvas.stroke(curve, 2, shade(metal, 0.6))
    if person.chance(0.6):
        pendant = oval(0, low + 10, 15, 17, rng.uniform(1, 3))
        canvas.fill(person.body(pendant), shade(metal, 0.9), label)


def earrings(person: Person) -> None:
    """Draw a pair of studs, drops or hoops."""
    canvas, label = person.canvas, LABEL["ear_r"]
    metal, size = person.colour(_METALS, 5), person.rng.uniform(12, 18)
    kind = person.rng.random()
    for side, _ in SIDES:
        x, y = side * (person.cheeks + 8), 36.0
        if kind < 0.4:
            stud, glint = oval(x, y + size * 0.6, size, size), oval(x - 3, y + size * 0.4, 4, 4)
            canvas.fill(person.head(stud, -20), metal, label)
            canvas.fill(person.head(glint, -20), _WHITE)
        elif kind < 0.7:
            sides = size * 0.9
            drop = smooth([(x, y - 4), (x + sides, y + 34), (x, y + 52), (x - sides, y + 34)])
            canvas.fill(person.head(drop, -20), metal, label)
        else:
            hoop = person.head(oval(x, y + size + 6, size, size + 8), -20)
            canvas.fill(hoop, shade(metal, 0.75), label)
            canvas.stroke(hoop, 6 * person.scale, metal, label, closed=True)


def glasses(person: Person) -> None:
    """Draw clear glasses over the eyes, or (one in four) sunglasses that hide them."""
    rng, canvas, label = person.rng, person.canvas, LABEL["eye_g"]
    frame, power = person.colour(_FRAMES, 5), rng.uniform(2, 5)
    half_width, half_height = rng.uniform(42, 47), rng.uniform(30, 40)
    thick = rng.uniform(5, 9) * person.scale
    for side, _ in SIDES:
        hinge = person.head(np.asarray([(side * 92.0, -24.0)]), 36)
        ear = person.head(np.asarray([(side * (person.cheeks + 2), -28.0)]), -10)
        canvas.stroke(np.concatenate([hinge, ear]), thick, frame, label)
    lenses = [
        person.head(oval(side * 52, -16, half_width, half_height, power), 38) for side, _ in SIDES
    ]
    dark = person.chance(0.25)
    tint = shade(person.vivid(), 0.2 if dark else 1.0)
    for lens in lenses:
        canvas.wash(lens, tint, 0.88 if dark else 0.18, label)
    if not dark:
        eyes(person)
    gap = 52 - half_width
    bridge = smooth([(-gap, -20), (0, -28), (gap, -20)], closed=False)
    canvas.stroke(person.head(bridge, 40), thick, frame, label)
    for lens in lenses:
        canvas.stroke(lens, thick, frame, label, closed=True)


def hat(person: Person) -> None:
    """Draw a knitted cap, a peaked cap or a hat with a wide brim."""
    rng, canvas, head, label = person.rng, person.canvas, person.head, LABEL["hat"]
    colour, kind = person.vivid(), rng.random()
    width, top = person.cheeks + person.volume * 0.75 + 8, -178 - person.volume * 0.8
    rim = rng.uniform(-104, -86)
    narrow, power = (0.9, 3.2) if kind > 0.65 else (1.0, 2.3)
    crown = oval(0, rim, width * narrow, rim - top, power, turns=(0.5, 1.0))
    canvas.fill(head(crown), colour, label)
    if kind < 0.35:
        ribs = [head(np.asarray([(x, top), (x * 1.1, rim)])) for x in np.arange(-width, width, 16)]
        canvas.texture(label, ribs, 3, shade(colour, 0.8))
        canvas.fill(head(oval(0, rim, width + 4, 22, 4)), shade(colour, 0.85), label)
    elif kind < 0.65:
        peak = [
            (-width * 0.95, rim - 6), (0, rim - 24), (width * 0.95, rim - 6),
            (width * 0.7, rim + 20), (0, rim + 28), (-width * 0.7, rim + 20),
        ]  # fmt: skip
        canvas.fill(head(smooth(peak), 20), shade(colour, 0.7), label)
    else:
        brim = oval(0, rim, width * rng.uniform(1.35, 1.6), 26)
        canvas.fill(head(brim), shade(colour, 0.9), label)
        band = np.asarray([(-width * 0.88, rim - 26), (width * 0.88, rim - 26)])
        canvas.stroke(head(band), 14 * person.scale, person.vivid(), label)
