import numpy as np
import pytest

from demo.smoothing import LabelSmoother
from export.errors import UsageError


def frames(*values):
    """Make frames whose first pixel has these values; the others never change."""
    result = [np.zeros((4, 4), np.uint8) for _ in values]
    for frame, value in zip(result, values, strict=True):
        frame[0, 0] = value
    return result


def shown(strength, *values):
    smoother = LabelSmoother(strength)
    return [int(smoother(labels)[0, 0]) for labels in frames(*values)]


def test_off_shows_every_label():
    assert shown(0, 1, 2, 1, 3) == [1, 2, 1, 3]


def test_flicker_is_not_shown():
    assert shown(0.5, *[1, 2] * 10) == [1] * 20


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8, 1.0])
def test_a_lasting_change_passes_after_the_delay(strength):
    delay = LabelSmoother(strength).delay
    values = shown(strength, 1, *[2] * (delay + 3))
    assert values == [1] * delay + [2] * 4


def test_delay_grows_with_strength():
    delays = [LabelSmoother(strength).delay for strength in (0, 0.3, 0.5, 0.8, 0.9, 1)]
    assert delays == sorted(delays)
    assert (delays[0], delays[2]) == (1, 2)
    assert delays[-1] <= 25, "even the strongest follows within a second"


def test_pixels_are_independent_and_inputs_untouched():
    smoother = LabelSmoother(0.5)
    first, second = np.zeros((2, 2), np.uint8), np.array([[0, 5], [0, 0]], np.uint8)
    smoother(first)
    kept = smoother(second)
    assert kept.tolist() == [[0, 0], [0, 0]]
    assert smoother(second).tolist() == second.tolist()
    assert kept.tolist() == [[0, 0], [0, 0]], "results are not changed later"
    assert first.max() == 0


def test_a_cut_is_followed_at_once():
    smoother = LabelSmoother(0.8)
    smoother(np.zeros((4, 4), np.uint8))
    other = np.full((4, 4), 3, np.uint8)
    assert smoother(other).tolist() == other.tolist()
    almost = other.copy()
    almost[0, :3] = 5
    assert smoother(almost).tolist() == other.tolist(), "a few pixels are still smoothed"


def test_new_size_starts_again():
    smoother = LabelSmoother(0.5)
    smoother(np.zeros((4, 4), np.uint8))
    assert smoother(np.ones((6, 6), np.uint8)).tolist() == np.ones((6, 6)).tolist()


def test_steadier_than_the_input():
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(4, dtype=np.uint8), 16).reshape(8, 8)
    smoother = LabelSmoother(0.8)
    wrong_in = wrong_out = 0
    smoother(truth)
    for _ in range(50):
        noisy = np.where(random.random(truth.shape) < 0.1, 3 - truth, truth).astype(np.uint8)
        wrong_in += int((noisy != truth).sum())
        wrong_out += int((smoother(noisy) != truth).sum())
    assert wrong_out < 0.05 * wrong_in


def test_out_of_range():
    with pytest.raises(UsageError, match="from 0 to 1"):
        LabelSmoother(1.5)
