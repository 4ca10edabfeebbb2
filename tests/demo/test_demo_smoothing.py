import numpy as np
import pytest

from demo.geometry import Area, Fit
from demo.parser import Look
from demo.smoothing import Smoother
from export.system.errors import UsageError

SIZE = 64
FIT = Fit.make((SIZE, SIZE), SIZE, "letterbox")
STILL = np.full((1, SIZE, SIZE, 3), 90, np.uint8)


def frames(*values):
    """Make labels whose first block has these values; the others never change."""
    result = [np.zeros((SIZE, SIZE), np.uint8) for _ in values]
    for frame, value in zip(result, values, strict=True):
        frame[:16, :16] = value
    return result


def shown(smoother, labels, square=STILL, fit=FIT):
    return smoother(Look(fit, labels), square).labels


def values_shown(strength, *values):
    smoother = Smoother(strength)
    return [int(shown(smoother, labels)[4, 4]) for labels in frames(*values)]


def test_off_shows_every_label():
    assert values_shown(0, 1, 2, 1, 3) == [1, 2, 1, 3]


def test_flicker_is_not_shown():
    assert values_shown(0.5, *[1, 2] * 10) == [1] * 20


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8, 1.0])
def test_a_lasting_change_passes_after_the_delay(strength):
    delay = Smoother(strength).delay
    assert values_shown(strength, 1, *[2] * (delay + 3)) == [1] * delay + [2] * 4


def test_delay_grows_with_strength():
    delays = [Smoother(strength).delay for strength in (0, 0.3, 0.5, 0.8, 0.9, 1)]
    assert delays == sorted(delays)
    assert (delays[0], delays[2]) == (1, 2)
    assert delays[-1] <= 25, "even the strongest follows within a second"


def test_it_yields_to_motion_where_the_picture_moves():
    smoother = Smoother(1)
    shown(smoother, frames(1)[0])
    moved = STILL.copy()
    moved[:, :16, :16] = 200
    labels = frames(2)[0]
    labels[48:, 48:] = 5  # here nothing moved
    result = shown(smoother, labels, moved)
    assert result[4, 4] == 2
    assert result[60, 60] == 0


def test_noise_of_a_sensor_is_no_motion():
    rng = np.random.default_rng(0)
    smoother = Smoother(0.5)
    values = []
    for labels in frames(*[1, 2] * 10):
        noise = np.clip(90 + rng.normal(0, 8, (1, 256, 256, 3)), 0, 255).astype(np.uint8)
        values.append(int(shown(smoother, labels, noise)[4, 4]))
    assert values == [1] * 20


@pytest.mark.parametrize("moves", [False, True], ids=["still", "moving"])
def test_probabilities_are_averaged_where_nothing_moves(moves):
    smoother = Smoother(0.8)
    first, second = np.zeros((2, 2, 8, 8), np.float32)
    second[0] = 1
    labels = frames(0)[0]
    smoother(Look(FIT, labels, first), STILL)
    square = 255 - STILL if moves else STILL
    given = smoother(Look(FIT, labels, second), square).probabilities
    assert given[0].mean() == pytest.approx(1 if moves else 1 - 0.95 * 0.8, abs=1e-3)


def test_memory_moves_along_with_the_view():
    """A spot of the frame keeps its label though it is elsewhere on the square."""
    smoother = Smoother(0.5)
    shape = (200, 200)
    before = Fit.around(shape, SIZE, Area(20, 20, SIZE, SIZE))
    after = Fit.around(shape, SIZE, Area(20, 36, SIZE, SIZE))
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[20:40, 30:40] = 3
    shown(smoother, labels, fit=before)
    gone = np.zeros_like(labels)
    result = shown(smoother, gone, fit=after)
    assert result[30, 35 - 16] == 3
    assert result[30, 35] == 0
    assert np.count_nonzero(result) == 200


def test_results_and_inputs_are_not_changed_later():
    smoother = Smoother(0.5)
    first, second = frames(0, 5)
    shown(smoother, first)
    kept = shown(smoother, second)
    assert kept.max() == 0
    assert (shown(smoother, second) == second).all()
    assert kept.max() == 0
    assert first.max() == 0


def test_a_cut_is_followed_at_once():
    smoother = Smoother(0.8)
    shown(smoother, np.zeros((SIZE, SIZE), np.uint8))
    other = np.full((SIZE, SIZE), 3, np.uint8)
    assert (shown(smoother, other) == 3).all()
    almost = other.copy()
    almost[0, :3] = 5
    assert (shown(smoother, almost) == 3).all(), "a few pixels are still smoothed"


def test_another_models_size_starts_again():
    smoother = Smoother(0.5)
    shown(smoother, frames(0)[0])
    small = np.ones((32, 32), np.uint8)
    fit = Fit.make((SIZE, SIZE), 32, "letterbox")
    assert (shown(smoother, small, STILL[:, ::2, ::2], fit) == 1).all()


def test_steadier_than_the_input():
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(4, dtype=np.uint8), SIZE * SIZE // 4).reshape(SIZE, SIZE)
    smoother = Smoother(0.8)
    wrong_in = wrong_out = 0
    shown(smoother, truth)
    for _ in range(50):
        noisy = np.where(random.random(truth.shape) < 0.1, 3 - truth, truth).astype(np.uint8)
        wrong_in += int((noisy != truth).sum())
        wrong_out += int((shown(smoother, noisy) != truth).sum())
    assert wrong_out < 0.05 * wrong_in


def test_out_of_range():
    with pytest.raises(UsageError, match="from 0 to 1"):
        Smoother(1.5)
