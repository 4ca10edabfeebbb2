from collections.abc import Callable
from dataclasses import replace

import pytest
from made_runs import made_run

from export.system.errors import UsageError
from toolchain.reporting.series import (
    Series,
    all_costs,
    bin_width,
    chosen_costs,
    history,
    ranges_of,
)
from toolchain.search.pareto import (
    cost_ranges,
    cost_values,
    covered,
    default_objectives,
    pareto_front,
)

Make = Callable[..., Series]


def names(costs: list) -> list[str]:
    return [cost.objective for cost in costs]


def test_costs_nobody_measured_are_left_out(make_series: Make) -> None:
    series = make_series("a", tables=["phone"])
    without = [replace(trial, flops=0) for trial in series.trials]
    assert names(series.costs) == ["params", "flops", "latency@phone"]
    assert names(Series("b", made_run("b", without), 0).costs) == ["params", "latency@phone"]


def test_fronts_of_several_runs_are_about_costs_that_all_have(make_series: Make) -> None:
    both, one = make_series("a", tables=["phone", "desktop"]), make_series("b", tables=["desktop"])
    plain = make_series("c")
    assert names(all_costs([plain, both])) == [
        *("params", "flops", "latency@phone", "latency@desktop")
    ]
    assert names(chosen_costs([both, one], None)) == ["latency@desktop"]
    assert names(chosen_costs([both, plain], None)) == ["params", "flops"]
    assert names(chosen_costs([both], ["score", "latency@phone"])) == ["latency@phone"]
    assert names(chosen_costs([one], ["score", "latency"])) == ["latency@desktop"]


def test_the_front_of_a_run_on_two_devices_is_about_both_everywhere(make_series: Make) -> None:
    both = make_series("a", tables=["phone", "desktop"])
    found = names(chosen_costs([both], None))
    assert found == ["latency@phone", "latency@desktop"]
    assert default_objectives(both.trials) == ["score", *found]
    front = pareto_front(both.run.finalists, default_objectives(both.trials))
    assert both.front(chosen_costs([both], None)) == front


@pytest.mark.parametrize("objective", ["latency", "latency@phone", "speed"])
def test_objectives_that_not_all_runs_have(make_series: Make, objective: str) -> None:
    both, plain = make_series("a", tables=["phone", "desktop"]), make_series("b")
    with pytest.raises(UsageError, match="every run has: score, params, flops"):
        chosen_costs([both, plain], ["score", objective])


def test_latency_of_several_tables_is_that_of_the_slowest(make_series: Make) -> None:
    """As in objectives, budgets and ``nastool pareto``."""
    series = make_series("a", tables=["phone", "desktop"])
    costs = chosen_costs([series], ["score", "latency"])
    assert names(costs) == ["latency"]
    for trial in series.scored:
        assert costs[0].of(trial) == cost_values(trial.costs, ["latency"])[0]
    assert series.front(costs) == pareto_front(series.run.finalists, ["score", "latency"])


def test_hypervolume_is_the_mean_of_the_best_score_within_a_limit(make_series: Make) -> None:
    series = make_series("a", count=3)
    good, small, bad = (
        replace(series.trials[0], score=score, parameters=parameters)
        for score, parameters in ((0.8, 400_000), (0.4, 200_000), (0.3, 1_600_000))
    )
    trials = [good, small, bad]
    ranges = cost_ranges(trials, ["params"])
    assert ranges == [(200_000, 1_600_000)]
    # Of three doublings: 0.4 within the first one, 0.8 within the others.
    assert covered(trials, ["params"], ranges) == pytest.approx((0.4 + 0.8 + 0.8) / 3)
    assert covered([good, bad], ["params"], ranges) == pytest.approx((0 + 0.8 + 0.8) / 3)
    assert covered([small], ["params"], ranges) == pytest.approx(0.4)
    # Less than the least limit is no better than that, more than the largest one is out.
    narrow = [(400_000, 800_000)]
    assert covered([small], ["params"], narrow) == pytest.approx(0.4)
    assert covered([bad], ["params"], narrow) == 0
    # Of two costs: both must be within their limits.
    twice = [replace(good, flops=2 * 10**9), replace(small, flops=10**9)]
    two = [(200_000, 1_600_000), (10**9, 4 * 10**9)]
    assert covered(twice, ["params", "flops"], two) == pytest.approx(
        0.8 * (2 / 3) * (1 / 2) + 0.4 * (1 - (2 / 3) * (1 / 2))
    )
    assert covered([], ["params"], ranges) == 0


def test_hypervolume_of_one_trial_is_its_score(make_series: Make) -> None:
    """No range of limits is left."""
    [trial] = make_series("a", count=1).trials
    trial = replace(trial, score=0.7)
    assert covered([trial], ["flops"], cost_ranges([trial], ["flops"])) == pytest.approx(0.7)
    assert covered([trial], [], cost_ranges([trial], [])) == pytest.approx(0.7)


def test_history_never_falls_and_ends_at_the_whole_run(make_series: Make) -> None:
    series = make_series("a", count=300, tables=["phone"])
    costs = chosen_costs([series], None)
    ranges = ranges_of([series], costs)
    points = list(history(series, costs, ranges))
    volumes = [volume for _, _, volume in points]
    assert volumes == sorted(volumes)
    assert points[-1] == (
        300,
        pytest.approx(series.hours),
        pytest.approx(covered(series.scored, names(costs), ranges)),
    )


@pytest.mark.parametrize(("count", "width"), [(1, 1), (12, 1), (13, 2), (599, 50), (1122, 100)])
def test_bins_are_round_and_at_most_twelve(make_series: Make, count: int, width: int) -> None:
    assert bin_width([make_series("a", count=count)]) == width
