import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from made_runs import made_run

from toolchain.reporting.series import COLOURS, Series

# Linear RGB as it is seen, from Machado, Oliveira and Fernandes, IEEE Trans. Visualization and
# Computer Graphics 15(6), 2009, severity 1.
SEEN = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
LIGHT, DARK = (
    files("toolchain.reporting")
    .joinpath("page.css")
    .read_text("utf-8")
    .split("@media (prefers-color-scheme: dark)", 1)
)


def colour(style: str, name: str) -> np.ndarray:
    """Return a colour of the style sheet as linear RGB."""
    [text] = re.findall(rf"--{name}: #([0-9a-f]{{6}});", style)
    value = np.array([int(text[place : place + 2], 16) / 255 for place in (0, 2, 4)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(linear: np.ndarray) -> np.ndarray:
    """Return a colour where distances are as they are seen: Ottosson, "Oklab", 2020."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    axes = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.array(axes) @ np.cbrt(np.array(cones) @ np.clip(linear, 0, 1))


@pytest.mark.parametrize("style", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("sight", "least"),
    [("normal", 0.18), ("protanopia", 0.1), ("deuteranopia", 0.1), ("tritanopia", 0.06)],
)
def test_runs_are_told_apart(style: str, sight: str, least: float) -> None:
    seen = [oklab(SEEN[sight] @ colour(style, f"run-{number}")) for number in range(COLOURS)]
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(one - other) > least


@pytest.mark.parametrize("style", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("names", "contrast"),
    [
        ([f"run-{number}" for number in range(COLOURS)], 3),  # WCAG 2.2, 1.4.11
        (["ink", "soft", "accent"], 4.5),  # WCAG 2.2, 1.4.3
    ],
)
def test_colours_stand_out_from_a_card(style: str, names: list[str], contrast: float) -> None:
    def luminance(name: str) -> float:
        return float(colour(style, name) @ [0.2126, 0.7152, 0.0722])

    for name in names:
        low, high = sorted([luminance(name), luminance("card")])
        assert (high + 0.05) / (low + 0.05) >= contrast, name


def test_runs_of_one_colour_have_other_marks() -> None:
    runs = [Series("a", made_run("a", []), position) for position in range(2 * COLOURS)]
    assert len({run.symbol for run in runs[:COLOURS]}) == COLOURS
    for first, second in zip(runs, runs[COLOURS:], strict=False):
        assert first.colour == second.colour
        assert first.symbol != second.symbol
        assert first.dash != second.dash
