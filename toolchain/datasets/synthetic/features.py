"""The parts that everyone has: neck, ears, skin, mouth, nose, brows, eyes."""

import cv2
import numpy as np

from toolchain.datasets.synthetic.canvas import Colour, mix, oval, shade, smooth, symmetric
from toolchain.datasets.synthetic.person import LABEL, SIDES, Person

_IRISES: tuple[Colour, ...] = ((70, 45, 25), (60, 110, 170), (70, 120, 70), (110, 80, 40))


def neck(person: Person) -> None:
    """Draw the neck and its base, which the clothes cut off, in the shadow of the chin."""
    width = person.rng.uniform(50, 64)
    outline = symmetric(
        [(0, 60), (width, 60), (width, 150), (width + 8, 195), (width + 70, 235),
         (width + 70, 420), (0, 420)]
    )  # fmt: skip
    person.canvas.fill(person.body(smooth(outline)), shade(person.skin, 0.86), LABEL["neck"])
    shadow = person.body(oval(0, person.chin - 14, 66, 40))
    person.canvas.wash(shadow, shade(person.skin, 0.55), 0.35)


def ears(person: Person) -> None:
    """Draw both ears; the face covers their inner edge."""
    tint = mix(person.skin, (230, 90, 80), 0.13)
    x = person.cheeks + 7
    outline = [(x - 12, -38), (x + 12, -46), (x + 22, -22), (x + 14, 14), (x + 4, 38), (x - 12, 34)]
    for side, prefix in SIDES:
        outer = smooth([(side * along, down) for along, down in outline])
        person.canvas.fill(person.head(outer, -20), tint, LABEL[f"{prefix}ear"])
        inner = person.head(oval(side * (x + 6), -14, 9, 19), -20)
        person.canvas.stroke(inner, 3, shade(tint, 0.7), closed=True)


def skin(person: Person) -> None:
    """Draw the face without its parts: outline, blush, perhaps a beard's shadow."""
    c, j, chin = person.cheeks, person.jaw, person.chin
    outline = symmetric(
        [(0, -152), (c * 0.62, -138), (c * 0.96, -80), (c, -10), (c * 0.9, 65), (j, 118),
         (j * 0.45, chin - 2), (0, chin)]
    )  # fmt: skip
    person.canvas.fill(person.head(smooth(outline)), person.skin, LABEL["skin"])
    for side, _ in SIDES:
        cheek = person.head(oval(side * 66, 46, 26, 20), 30)
        person.canvas.wash(cheek, mix(person.skin, (225, 70, 70), 0.3), 0.35)
    if person.chance(0.2):
        beard = symmetric([(0, 62), (50, 74), (c * 0.86, 60), (j * 0.98, 114), (0, chin - 2)])
        opacity = person.rng.uniform(0.15, 0.5)
        person.canvas.wash(person.head(smooth(beard)), shade(person.hair, 0.8), opacity)


def mouth(person: Person) -> None:
    """Draw the lips, in half of all faces open with teeth and perhaps a tongue."""
    rng, canvas = person.rng, person.canvas
    red = mix(person.skin, (190, 40, 60), rng.uniform(0.45, 0.85))
    lips = mix(red, (90, 20, 30), rng.uniform(0, 0.3))
    width, middle = rng.uniform(38, 54), rng.uniform(80, 92)
    corner = middle - rng.uniform(-6, 14)
    gap = rng.uniform(12, 40) if person.chance(0.5) else 0.0
    upper_height, lower_height = rng.uniform(13, 19), rng.uniform(16, 23)
    top, bottom = middle - gap * 0.35, middle + gap * 0.65
    if gap:
        hole = symmetric(
            [(0, top), (width / 2, top), (width, corner), (width / 2, bottom), (0, bottom)]
        )
        canvas.fill(person.head(smooth(hole), 42), (70, 14, 22), LABEL["mouth"])
        teeth = oval(0, top + gap * 0.2, width * 0.62, gap * 0.28, 3)
        canvas.fill(person.head(teeth, 42), (245, 240, 230))
    if gap > 24:
        tongue = oval(0, bottom - 4, width * 0.4, gap * 0.18)
        canvas.fill(person.head(tongue, 42), (205, 80, 90))
    lower = symmetric(
        [(0, bottom), (width / 2, bottom), (width + 1, corner),
         (width * 0.55, bottom + lower_height * 0.85), (0, bottom + lower_height)]
    )  # fmt: skip
    canvas.fill(person.head(smooth(lower), 42), shade(lips, 1.1), LABEL["l_lip"])
    upper = symmetric(
        [(0, top - upper_height * 0.8), (6, top - upper_height),
         (width * 0.45, top - upper_height * 0.85), (width + 3, corner), (width / 2, top + 1),
         (0, top + 2)]
    )  # fmt: skip
    canvas.fill(person.head(smooth(upper), 42), shade(lips, 0.88), LABEL["u_lip"])
    if not gap:
        line = smooth([(-width, corner), (0, top + 2), (width, corner)], closed=False)
        canvas.stroke(person.head(line, 42), 2, shade(lips, 0.5))


def nose(person: Person) -> None:
    """Draw the nose, a little darker than the skin, with one shaded side."""
    rng, canvas, tone = person.rng, person.canvas, person.skin
    bridge, width, end = rng.uniform(9, 13), rng.uniform(22, 32), rng.uniform(44, 56)
    half = [(0, end + 8), (width * 0.85, end), (width, end - 14), (bridge + 2, 5), (bridge, -30)]
    right = smooth(half, closed=False)
    left = right * (-1, 1)
    outline = person.head(np.concatenate([left[::-1], right]), 55)
    canvas.fill(outline, shade(tone, 0.93), LABEL["nose"])
    canvas.fill(person.head(oval(0, end - 12, 9, 8), 62), shade(tone, 1.12))
    far = left if person.head.turn < 0 else right
    canvas.stroke(person.head(far, 55), 2, shade(tone, 0.72))
    for side, _ in SIDES:
        nostril = oval(side * width * 0.45, end + 1, 6, 4)
        canvas.fill(person.head(nostril, 55), shade(tone, 0.45))


def brows(person: Person) -> None:
    """Draw both brows in a darker tone of the hair."""
    rng = person.rng
    thick, tilt, y = rng.uniform(11, 17), rng.uniform(-8, 8), rng.uniform(-64, -52)
    outline = [
        (18, y + tilt + thick * 0.4), (50, y - thick * 0.6), (92, y + 12 - tilt / 2),
        (86, y + 16 - tilt / 2), (50, y + thick / 2), (18, y + tilt + thick * 1.3),
    ]  # fmt: skip
    colour = mix(shade(person.hair, 0.75), (30, 22, 20), 0.35)
    for side, prefix in SIDES:
        brow = smooth([(side * along, down) for along, down in outline])
        person.canvas.fill(person.head(brow, 34), colour, LABEL[f"{prefix}brow"])


def eyes(person: Person) -> None:
    """Draw both eyes: white, iris and pupil within the lids, and a dark upper lid."""
    rng, canvas = person.rng, person.canvas
    iris = person.colour(_IRISES, 4)
    width, opening, slant = rng.uniform(29, 34), rng.uniform(12, 19), rng.uniform(-4, 5)
    gaze_x, gaze_y = rng.uniform(-8, 8), rng.uniform(-3, 3)
    outline = [
        (52 - width, slant * 0.6), (52 - width * 0.4, -opening * 0.85),
        (52 + width * 0.3, -opening), (52 + width, -slant),
        (52 + width * 0.35, opening * 0.8), (52 - width * 0.45, opening * 0.75),
    ]  # fmt: skip
    for side, prefix in SIDES:
        label = LABEL[f"{prefix}eye"]
        lids = person.head(smooth([(side * along, down - 18) for along, down in outline]), 36)
        canvas.fill(lids, (238, 236, 232), label)
        around = canvas.image.copy()
        x, y = side * 52 + gaze_x, gaze_y - 18
        for dx, dy, radius, colour in (
            (0, 0, 15, iris), (0, 0, 7, (12, 10, 10)), (-4, -5, 3.5, (255, 255, 255)),
        ):  # fmt: skip
            canvas.fill(person.head(oval(x + dx, y + dy, radius, radius), 36), colour)
        cv2.copyTo(around, cv2.compare(canvas.labels, label, cv2.CMP_NE), canvas.image)
        upper_lid = lids[: len(lids) // 2 + 1]
        canvas.stroke(upper_lid, 3, shade(person.skin, 0.3))
