import numpy as np
import pytest

from demo.colours import COLOUR_BLIND, colour_map

# Machado, Oliveira, Fernandes: "A physiologically-based model for simulation of color vision
# deficiency", TVCG 2009, severity 1, on linear RGB.
EYES = {
    "all cones": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def cielab(linear):
    xyz = np.clip(linear, 0, 1) @ TO_XYZ.T / (0.95047, 1, 1.08883)
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("eyes", EYES)
def test_any_two_colours_can_be_told_apart(eyes):
    values = np.array(COLOUR_BLIND) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    lab = cielab(linear @ np.transpose(EYES[eyes]))
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e9 * np.eye(len(lab))
    assert apart.min() > 20


def test_background_stays_and_every_class_has_a_colour():
    own = [(1, 2, 3)] * 25
    assert colour_map("model", own) == own
    chosen = colour_map("colour-blind", own)
    assert len(chosen) == 25
    assert chosen[0] == (1, 2, 3)
    assert chosen[1:19] == list(COLOUR_BLIND)
