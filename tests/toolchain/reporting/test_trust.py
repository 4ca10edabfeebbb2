"""How well one score foretells another."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from made_runs import made_run
from scipy.stats import kendalltau

from toolchain.reporting import trust
from toolchain.reporting.series import Series
from toolchain.search.correlation import Correlation
from toolchain.search.trial import TrialState

Make = Callable[..., Series]


def pairs(early: Sequence[float], late: Sequence[float]) -> list[trust.Pair]:
    return [trust.Pair(n, "g", *scores) for n, scores in enumerate(zip(early, late, strict=True))]


def test_the_rank_correlation_is_spearmans() -> None:
    generator = random.Random(0)
    count = 12
    early, late = ([generator.random() for _ in range(count)] for _ in range(2))
    ranks = [[sorted(scores).index(score) for score in scores] for scores in (early, late)]
    squares = sum((a - b) ** 2 for a, b in zip(*ranks, strict=True))
    found = Correlation.of("spearman", early, late)
    assert found is not None
    assert found.value == pytest.approx(1 - 6 * squares / (count * (count**2 - 1)))
    assert found.low < found.value < found.high
    kendall = Correlation.of("kendall", early, late)
    assert kendall is not None
    assert kendall.value == pytest.approx(kendalltau(early, late).statistic)


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_more_candidates_make_the_interval_narrower(kind: str) -> None:
    few, many = (
        Correlation.of(kind, range(count), [n + 3 * (n % 2) for n in range(count)])
        for count in (6, 60)
    )
    assert few is not None
    assert many is not None
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize(
    ("early", "late", "words"),
    [
        (range(9), range(9), r"Spearman 1.00 over 9 candidates .* nearly as more training"),
        (range(9), [0, 2, 1, 4, 3, 8, 5, 6, 7], "the score orders candidates well"),
        (range(9), [8, 7, 6, 5, 4, 3, 2, 1, 0], r"Spearman -1.00 .* hardly orders"),
        (range(4), range(4), "Too few candidates, .* for a correlation: 4"),
        (range(9), [0.5] * 9, "or too alike, for a correlation: 9"),
    ],
)
def test_words(early: Sequence[float], late: Sequence[float], words: str) -> None:
    assert re.search(words, trust.words(pairs(early, late), "the score"))


def test_trials_that_were_stopped_are_not_compared(make_series: Make) -> None:
    series = make_series("a", count=200)
    points = trust.agreement([series], [trust.stage_pairs(series)], "Early", "Late").data[1]
    ran = [t for t in series.trials if t.state is TrialState.COMPLETE]
    assert any(trial.state is TrialState.PRUNED for trial in series.trials)
    assert [number for number, _ in points.customdata] == [trial.id for trial in ran]
    assert list(points.x) == pytest.approx([0.9 * y for y in points.y], abs=1e-4)


def test_a_ranking_gives_pairs_with_the_genotypes_of_their_trials(make_series: Make) -> None:
    series = make_series("a", count=5)
    row = {"id": 3, "chosen": "best", "search_score": 0.4, "result": 0.6}
    ranked = replace(series, run=made_run("a", series.trials, ranking={"trials": [row]}))
    assert trust.ranking_pairs(series) == []
    assert trust.ranking_pairs(ranked) == [trust.Pair(3, series.trials[3].genotype, 0.4, 0.6)]
