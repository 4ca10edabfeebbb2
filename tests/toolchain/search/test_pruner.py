import pytest

from toolchain.search.pruner import FEWEST, Pruner
from toolchain.search.trial import Trial, TrialState


def trial(score, latency, gain=0.2, state=TrialState.COMPLETE):
    stage0 = None if score is None else score - gain
    return Trial(
        *(0, "g", "g", "e", state),
        score=score,
        reward=score,
        parameters=1,
        flops=1,
        latency_ms={"t": latency},
        stage0_score=stage0,
    )


def pruner(*trials):
    result = Pruner(["latency"])
    for each in trials:
        result.add(each)
    return result


def costs(latency):
    return trial(0.5, latency).costs


def test_nobody_is_stopped_before_enough_is_known():
    assert pruner(*[trial(0.5, 10)] * (FEWEST - 1)).stop_below(costs(20)) is None
    assert pruner(*[trial(0.5, 10)] * FEWEST).stop_below(costs(20)) == pytest.approx(0.3)


def test_a_candidate_is_held_against_those_that_cost_no_more():
    known = pruner(*[trial(0.5, 10)] * FEWEST, trial(0.7, 30))
    assert known.stop_below(costs(10)) == pytest.approx(0.3)
    assert known.stop_below(costs(29)) == pytest.approx(0.3)
    assert known.stop_below(costs(30)) == pytest.approx(0.5)


def test_the_fastest_so_far_is_never_stopped():
    """Its score may be the worst of all: nothing as fast is better."""
    assert pruner(*[trial(0.8, 10)] * 50).stop_below(costs(9.9)) is None


def test_stage_1_is_taken_to_bring_what_it_brought_nine_of_ten():
    gains = [trial(0.5, 10, gain=step / 100) for step in range(11)]
    assert pruner(*gains).stop_below(costs(10)) == pytest.approx(0.5 - 0.09)


@pytest.mark.parametrize("state", [TrialState.REUSED, TrialState.PRUNED, TrialState.FAILED])
def test_trials_that_were_not_trained_to_the_end_say_nothing(state):
    one = trial(None if state is not TrialState.REUSED else 0.9, 1, state=state)
    assert pruner(*[trial(0.5, 10)] * FEWEST, one).stop_below(costs(5)) is None


def test_several_costs_must_all_be_met():
    several = Pruner(["params", "flops"])
    for _ in range(FEWEST):
        several.add(trial(0.5, 10))
    assert several.stop_below({"parameters": 1, "flops": 1}) == pytest.approx(0.3)
    assert several.stop_below({"parameters": 0.5, "flops": 2}) is None
