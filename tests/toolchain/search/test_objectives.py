import re

import pytest

from export.system.errors import UsageError
from tests.conftest import SHARED_LOGS
from toolchain.search.objectives import FLOPS_FLOOR, Budget, Objective, Reward
from toolchain.search.pareto import search_costs

COSTS = {
    "parameters": 0.8e6,
    "flops": 2e9,
    "decoder_flops": 1e9,
    "pixels": 512**2,
    "latency:a": 10.0,
    "latency:b": 30.0,
}


def test_objectives_read_amounts_with_their_units():
    assert Objective.parse("latency:15ms:-0.6").target == 15
    assert Objective.parse("latency:0.8s:-0.4").target == 800
    assert Objective.parse("params:0.4M:-0.3").target == 4e5
    assert Objective.parse("flops:1.5G:-0.4:2").weight == 2
    assert Objective.parse("latency@b:15ms:-1").factor(COSTS) == pytest.approx(0.5)
    # Several tables and no name: the slowest device counts.
    assert Objective.parse("latency:15ms:-1").factor(COSTS) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("latency:15:-0.6", "unit is one of ms"),
        ("latency:15ms", "is not QUANTITY:TARGET:EXPONENT"),
        ("latency:15ms:0.6", "exponent is below 0"),
        ("latency:15ms:x", "are numbers"),
        ("latency:15ms:nan", "exponent is below 0"),
        ("latency:15ms:-inf", "exponent is below 0"),
        ("latency:15ms:-1:inf", "the weight above 0"),
        ("latency:1e999ms:-1", "is not an amount"),
        ("speed:15ms:-1", "none of params, flops, latency"),
        ("params@a:1M:-1", "none of params, flops, latency"),
        ("params:0M:-1", "above 0"),
        ("params:1.2.3M:-1", "is not an amount"),
        ("params:1000G:-60", "the exponent is below 0 and at least -10"),
        ("params:1M:0", "the exponent is below 0"),
    ],
)
def test_wrong_objectives(text, problem):
    with pytest.raises(UsageError, match=re.escape(problem)):
        Objective.parse(text)


def test_budgets():
    budget = Budget.parse("latency<=20ms")
    assert budget.excess(COSTS) == pytest.approx(0.5)
    assert budget.complaint(COSTS) == "latency 30 is over the budget of 20"
    assert Budget.parse("latency@a<=20ms").excess(COSTS) == pytest.approx(-0.5)
    with pytest.raises(UsageError, match="is not QUANTITY<=LIMIT"):
        Budget.parse("latency<20ms")
    with pytest.raises(UsageError, match="needs a table"):
        Budget.parse("latency<=20ms").excess({"parameters": 1, "flops": 1})
    with pytest.raises(UsageError, match="no latency table is named 'c'; there are a, b"):
        Budget.parse("latency@c<=20ms").excess(COSTS)


def test_reward_combinations():
    objectives = [Objective.parse("params:0.4M:-1"), Objective.parse("flops:1G:-1:3")]
    assert Reward(())(0.7, COSTS) == 0.7
    assert Reward(objectives)(0.8, COSTS) == pytest.approx(0.8 * 0.5 * 0.5)
    assert Reward(objectives, "mean")(0.8, COSTS) == pytest.approx(0.8 * 0.5)
    cheap = COSTS | {"flops": 0.25e9}
    assert Reward(objectives[1:])(0.5, cheap) == pytest.approx(2.0)


@pytest.mark.parametrize("combination", ["product", "mean"])
def test_the_bonus_for_being_under_a_target_is_bounded(combination):
    both = [Objective.parse("latency@a:40ms:-0.3"), Objective.parse("flops:1000G:-0.3")]
    bounded = Reward(both, combination, bonus_limit=1.2)
    assert Reward(both[:1])(0.5, COSTS | {"latency:a": 5.0}) == pytest.approx(0.5 * 1.866, abs=1e-3)
    assert bounded(0.5, COSTS | {"latency:a": 5.0}) == pytest.approx(0.6)
    assert bounded(0.5, COSTS | {"latency:a": 80.0}) < 0.6


def test_being_cheap_and_useless_is_not_paid_for():
    """The encoder's FLOPs do not lift a decoder that does nothing over its floor."""
    reward = Reward([Objective.parse("flops:10G:-0.4")], flops_floor=FLOPS_FLOOR)
    useless = COSTS | {"decoder_flops": 0.1e9}
    assert reward(0.2, useless) == pytest.approx(0.2)
    assert reward(0.3, useless) > 0.3
    assert reward(0.2, COSTS | {"decoder_flops": 0.7e9}) > 0.2
    # A quarter of the pixels, a quarter of the floor.
    small = COSTS | {"pixels": 256**2}
    assert reward(0.2, small | {"decoder_flops": 0.16e9}) > 0.2
    assert reward(0.2, small | {"decoder_flops": 0.14e9}) == pytest.approx(0.2)


def test_the_published_rewards_are_reproduced():
    path = SHARED_LOGS / "search-2020-06-20-three-costs.out"
    if not path.exists():
        pytest.skip("no published logs in ../shared/logs")
    reward = Reward(
        [
            Objective.parse("params:0.5M:-0.6:0.4"),
            Objective.parse("latency:0.8s:-0.4:0.3"),
            Objective.parse("flops:1.5G:-0.4:0.3"),
        ],
        "mean",
    )
    rows = 0
    for line in path.read_text().splitlines():
        number = lambda key: float(re.search(rf"{key}: ([\d.]+)", line)[1])  # noqa: B023, E731
        score, params, delay, flops = (number(k) for k in ("o_reward", "params", "delay", "flops"))
        # Every logged figure is rounded to 0.005: the reward must lie in what they allow.
        ranges = []
        for sign in (-1, 1):
            costs = {
                "parameters": (params - sign * 0.005) * 1e6,
                "flops": max(flops - sign * 0.005, 1e-9) * 1e9,
                "latency:x": (delay - sign * 0.005) * 1e3,
                "decoder_flops": 0.0,
            }
            ranges.append(reward(max(score + sign * 0.005, 0), costs))
        assert ranges[0] - 0.005 <= number(" reward") <= ranges[1] + 0.005, line
        rows += 1
    assert rows == 599


def test_a_search_cares_for_each_cost_once():
    objectives = ["latency@phone:9ms:-0.1", "params:1M:-0.1"]
    assert search_costs(["phone"], objectives) == ["latency", "params"]
    assert search_costs(["phone"], ["latency:9ms:-0.1"]) == ["latency"]
    both = ["latency@phone", "latency@laptop"]
    assert search_costs(["phone", "laptop"], ["latency:9ms:-0.1", *objectives]) == [*both, "params"]
    assert search_costs([], ["flops:1G:-0.1"]) == ["params", "flops"]
