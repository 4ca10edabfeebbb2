from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

import pytest
from made_runs import made_run

from toolchain.reporting.curves import (
    LAST,
    TRIALS,
    axes,
    hypervolume,
    reward_so_far,
    rewards,
    score_boxes,
)
from toolchain.reporting.page import Page
from toolchain.reporting.series import Series, chosen_costs

Make = Callable[..., Series]


def test_rewards_are_the_best_and_the_mean_of_the_last(make_series: Make) -> None:
    series = make_series("a", count=150)
    points = {count: (hours, best, mean) for count, hours, best, mean in rewards(series)}
    for count in (1, 40, 49, 50, 51, 120, 150):
        so_far = series.trials[:count]
        known = [trial.reward for trial in so_far if trial.reward is not None]
        assert points[count] == (
            pytest.approx(sum(trial.seconds for trial in so_far) / 3600),
            max(known),
            pytest.approx(fmean(known[-LAST:])),
        )


def test_a_long_run_is_thinned_and_ends_at_its_last_trial(make_series: Make) -> None:
    one = make_series("a", count=100)
    trials = [replace(one.trials[n % 100], id=n, reward=n / 5000) for n in range(5001)]
    points = list(rewards(Series("long", made_run("long", trials), 0)))
    assert len(points) == 501
    assert points[-1][0] == 5001
    assert points[-1][2] == 1.0


@pytest.mark.parametrize(
    ("seconds", "unit", "end"), [(2, "s", 120), (60, "min", 60), (900, "h", 15)]
)
def test_time_is_in_the_unit_of_the_longest_run(
    make_series: Make, seconds: float, unit: str, end: float
) -> None:
    trials = [replace(trial, seconds=seconds) for trial in make_series("a", count=60).trials]
    long, short = Series("a", made_run("a", trials), 0), make_series("b", count=1, position=1)
    trials_axis, axis = axes([short, long])
    assert trials_axis == TRIALS
    figure = hypervolume([long, short], chosen_costs([long, short], None), axis)
    assert axis.unit == unit
    assert figure.data[0].x[-1] == pytest.approx(end)
    assert figure.layout.xaxis.title.text.endswith(f"({unit})")


def test_runs_that_took_no_time_are_drawn_over_trials_alone(make_series: Make) -> None:
    trials = [replace(trial, seconds=1e-6) for trial in make_series("a").trials]
    series = [Series("a", made_run("a", trials), 0)]
    page = Page(series, chosen_costs(series, None)).html()
    assert axes(series) == [TRIALS]
    assert "Hypervolume over trials" in page
    assert "Hypervolume over time" not in page
    assert "Seconds of a trained candidate" not in page


def test_a_run_of_one_trial_is_a_point(make_series: Make) -> None:
    for count, mode in ((1, "markers"), (2, "lines")):
        curves = reward_so_far([make_series("a", count=count)], TRIALS).data
        assert [curve.mode for curve in curves] == [mode, mode]


def test_all_runs_are_in_one_figure(make_series: Make) -> None:
    two = [make_series("a", seed=1), make_series("b", position=1, seed=2)]
    best_a, mean_a, best_b, _ = reward_so_far(two, TRIALS).data
    assert [best_a.name, best_b.name] == ["a", "b"]
    assert list(best_a.y) == sorted(best_a.y)
    assert mean_a.line.dash == "dot"
    assert mean_a.line.color == best_a.line.color != best_b.line.color
    assert [trace.name for trace in score_boxes(two).data] == ["a", "b"]
