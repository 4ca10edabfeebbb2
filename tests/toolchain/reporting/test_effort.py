import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from made_runs import made_run

from toolchain.reporting import effort
from toolchain.reporting.series import Series
from toolchain.search.trial import TrialState

Make = Callable[..., Series]


def with_scores(make: Make, early: Sequence[float], final: Sequence[float]) -> Series:
    """Make a run of complete trials with these scores after stage 0 and at the end."""
    template = replace(make("a", count=1).trials[0], state=TrialState.COMPLETE)
    trials = [
        replace(template, id=number, stage0_score=before, score=after)
        for number, (before, after) in enumerate(zip(early, final, strict=True))
    ]
    return Series("a", made_run("a", trials), 0)


def test_phases_and_the_rest_add_up_to_the_mean(make_series: Make) -> None:
    series = make_series("a")
    trained = [t.seconds for t in series.trials if t.state is TrialState.COMPLETE]
    mean = sum(trained) / len(trained)
    phases = effort.mean_phases(series)
    assert list(phases) == ["stage0", "stage1", "scoring", effort.REST]
    assert phases["stage0"] == pytest.approx(mean / 2)
    assert sum(phases.values()) == pytest.approx(mean)


def test_runs_without_phases_or_without_trained_trials(make_series: Make) -> None:
    series = with_scores(make_series, [0.1], [0.2])
    whole = [replace(trial, phases={}, seconds=7) for trial in series.trials]
    failed = [replace(trial, state=TrialState.FAILED, score=None) for trial in series.trials]
    log, lost = (Series("b", made_run("b", trials), 1) for trials in (whole, failed))
    assert effort.mean_phases(log) == {effort.WHOLE: 7}
    assert effort.mean_phases(lost) == {}
    names = [trace.name for trace in effort.phase_bars([log, series, lost]).data]
    assert names == [*effort.PHASES.values(), effort.REST, effort.WHOLE]


def test_a_phase_that_is_new_has_its_own_part_of_the_bar(make_series: Make) -> None:
    series = with_scores(make_series, [0.1], [0.2])
    trials = [replace(t, phases={"stage0": 2, "loading": 3}, seconds=6) for t in series.trials]
    figure = effort.phase_bars([Series("b", made_run("b", trials), 0)])
    assert [(trace.name, trace.x[0]) for trace in figure.data] == [
        (effort.PHASES["stage0"], 2),
        ("loading", 3),
        (effort.REST, 1),
    ]
    assert len({trace.marker.color for trace in figure.data}) == 3


def test_endings_are_counted(make_series: Make) -> None:
    base = with_scores(make_series, [0.1] * 8, [0.2] * 8).trials
    failed = {"state": TrialState.FAILED, "score": None, "seconds": 0}
    trials = [
        *(replace(trial, seconds=30) for trial in base[:2]),
        replace(base[2], state=TrialState.PRUNED, score=None, seconds=12),
        replace(base[3], state=TrialState.REUSED, seconds=0),
        replace(base[4], state=TrialState.INFEASIBLE, score=None, seconds=0),
        *(replace(trial, failure="timeout", **failed) for trial in base[5:7]),
        replace(base[7], failure=None, **failed),
    ]
    table = effort.endings([Series("<b>", made_run("b", trials), 0)])
    cells = re.findall("<td>(.*?)</td>", table)
    assert cells == ["2", "30.0", "1", "12.0", "0", "–", "2 timeout, 1 no kind", "1", "1", "300"]
    assert "<b>" not in table
