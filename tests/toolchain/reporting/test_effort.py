import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from toolchain.reporting import effort
from toolchain.reporting.series import Series
from toolchain.search.run import Run, TrialState

Make = Callable[..., Series]


def with_scores(make: Make, early: Sequence[float], final: Sequence[float]) -> Series:
    """Make a run of complete trials with these scores after stage 0 and at the end."""
    template = replace(make("a", count=1).trials[0], state=TrialState.COMPLETE, stopped=False)
    trials = [
        replace(template, id=number, stage0_score=before, score=after)
        for number, (before, after) in enumerate(zip(early, final, strict=True))
    ]
    return Series("a", Run(Path("a"), {}, trials), 0)


def test_phases_and_the_rest_add_up_to_the_mean(make_series: Make) -> None:
    series = make_series("a")
    trained = [t.seconds for t in series.trials if t.state is TrialState.COMPLETE]
    mean = sum(trained) / len(trained)
    phases = effort.mean_phases(series)
    assert list(phases) == ["stage0", "stage1", "validation", effort.REST]
    assert phases["stage0"] == pytest.approx(mean / 2)
    assert sum(phases.values()) == pytest.approx(mean)


def test_runs_without_phases_or_without_trained_trials(make_series: Make) -> None:
    series = with_scores(make_series, [0.1], [0.2])
    whole = [replace(trial, split={}, seconds=7) for trial in series.trials]
    failed = [replace(trial, state=TrialState.FAILED, score=None) for trial in series.trials]
    log, lost = (Series("b", Run(Path("b"), {}, trials), 1) for trials in (whole, failed))
    assert effort.mean_phases(log) == {effort.WHOLE: 7}
    assert effort.mean_phases(lost) == {}
    names = [trace.name for trace in effort.phase_bars([log, series, lost]).data]
    assert names == [*effort.PHASES.values(), effort.REST, effort.WHOLE]


def test_a_phase_that_is_new_has_its_own_part_of_the_bar(make_series: Make) -> None:
    series = with_scores(make_series, [0.1], [0.2])
    trials = [replace(t, split={"stage0": 2, "loading": 3}, seconds=6) for t in series.trials]
    figure = effort.phase_bars([Series("b", Run(Path("b"), {}, trials), 0)])
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
        replace(base[2], stopped=True, seconds=12),
        replace(base[3], state=TrialState.REUSED, seconds=0),
        replace(base[4], state=TrialState.PRUNED, score=None, seconds=0),
        *(replace(trial, failure="timeout", **failed) for trial in base[5:7]),
        replace(base[7], failure=None, **failed),
    ]
    table = effort.endings([Series("<b>", Run(Path("b"), {}, trials), 0)])
    cells = re.findall("<td>(.*?)</td>", table)
    assert cells == ["2", "30.0", "1", "12.0", "1", "1", "2 timeout, 1 no kind", "350"]
    assert "<b>" not in table


def test_the_rank_correlation_is_spearmans(make_series: Make) -> None:
    generator = random.Random(0)
    count = 12
    early, final = ([generator.random() for _ in range(count)] for _ in range(2))
    ranks = [[sorted(scores).index(score) for score in scores] for scores in (early, final)]
    squares = sum((a - b) ** 2 for a, b in zip(*ranks, strict=True))
    found = effort.rank_correlation(with_scores(make_series, early, final))
    assert found is not None
    assert found[0] == pytest.approx(1 - 6 * squares / (count * (count**2 - 1)))
    assert found[1] < found[0] < found[2]


def test_more_trials_make_the_interval_narrower(make_series: Make) -> None:
    few, many = (
        effort.rank_correlation(
            with_scores(make_series, range(count), [n + 3 * (n % 2) for n in range(count)])
        )
        for count in (6, 60)
    )
    assert few is not None
    assert many is not None
    assert many[2] - many[1] < few[2] - few[1]


@pytest.mark.parametrize(
    ("early", "final", "words"),
    [
        (range(9), range(9), r"Spearman 1.00 over 9 trials .* nearly as the final score"),
        (range(9), [0, 2, 1, 4, 3, 8, 5, 6, 7], "orders candidates well"),
        (range(9), [8, 7, 6, 5, 4, 3, 2, 1, 0], r"Spearman -1.00 .* hardly orders"),
        (range(3), range(3), "Too few .* for a correlation: 3"),
        (range(9), [0.5] * 9, "or too alike, for a correlation: 9"),
    ],
)
def test_words_for_the_early_stop(
    make_series: Make, early: Sequence[float], final: Sequence[float], words: str
) -> None:
    assert re.search(words, effort.ranking_words(with_scores(make_series, early, final)))


def test_trials_that_were_stopped_are_not_ranked(make_series: Make) -> None:
    series = make_series("a", count=200)
    pairs = effort.early_against_final([series]).data[1]
    ran = [t for t in series.trials if t.state is TrialState.COMPLETE and not t.stopped]
    assert any(trial.stopped for trial in series.trials)
    assert [number for number, _ in pairs.customdata] == [trial.id for trial in ran]
    assert list(pairs.x) == pytest.approx([0.9 * y for y in pairs.y], abs=1e-4)
