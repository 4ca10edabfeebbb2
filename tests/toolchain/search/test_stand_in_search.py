"""Searches on a formula: what the algorithms find, and what the engine costs."""

import time
from math import exp
from statistics import mean, stdev

import pytest

from tests.toolchain.search.stand_in import evaluate, score
from toolchain.genotype import Genotype
from toolchain.search.algorithms import ALGORITHMS
from toolchain.search.executors import InlineExecutor
from toolchain.search.study import Search
from toolchain.settings.search_settings import SearchSettings

CLASSES = 19
LAST = 200
OVERHEAD_MS = 25


def run(path, algorithm, seed=0, trials=1000):
    path.mkdir()
    settings = SearchSettings(
        data="formula",
        trials=trials,
        rescore=0,
        algorithm=algorithm,
        seed=seed,
        objectives=("flops:3G:-0.3",),
    )
    return Search(settings, path, CLASSES).run(InlineExecutor(evaluate))


def last_rewards(trials):
    return [trial.reward for trial in trials if trial.reward is not None][-LAST:]


def gain(trials, others):
    """Return the difference of the mean last rewards in standard errors of the difference."""
    ours, theirs = last_rewards(trials), last_rewards(others)
    error = (stdev(ours) ** 2 / len(ours) + stdev(theirs) ** 2 / len(theirs)) ** 0.5
    return (mean(ours) - mean(theirs)) / error


@pytest.mark.parametrize(
    ("genotype", "expected"),
    [
        # A 1x1 convolution at stride 32, merged with itself.
        ("0 [3, 3]", 0.05 + 0.75 * 0.8 * (0.4 * 0.2 + 0.35 * 0.4 + 0.25 * (1 - exp(-1 / 3)))),
        # A 3x3 convolution, which counts twice, at strides 4 and 32.
        ("1 [0, 3]", 0.05 + 0.75 * (0.4 * 1.0 + 0.35 * 0.4 + 0.25 * (1 - exp(-2 / 3)))),
    ],
)
def test_the_formula_is_what_its_text_says(genotype, expected):
    assert score(Genotype.parse(genotype)) == pytest.approx(expected)


def test_ppo_learns_what_random_search_does_not(tmp_path):
    runs = [run(tmp_path / algorithm, algorithm, trials=400) for algorithm in ("ppo", "random")]
    assert gain(*runs) > 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(5))
def test_ppo_beats_random_search_by_more_than_three_standard_errors(tmp_path, seed):
    runs = [run(tmp_path / algorithm, algorithm, seed) for algorithm in ("ppo", "random")]
    means = [mean(last_rewards(trials)) for trials in runs]
    print(f"seed {seed}: ppo {means[0]:.4f}, random {means[1]:.4f}, {gain(*runs):.1f} errors apart")
    assert gain(*runs) > 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_engine_costs_little_beside_any_training(tmp_path, algorithm):
    start = time.process_time()
    trials = run(tmp_path / algorithm, algorithm)
    # Of processor time: the clock on the wall runs for other programs as well.
    each = 1000 * (time.process_time() - start) / len(trials)
    print(f"{algorithm}: {each:.1f} ms a trial")
    if algorithm in ("ppo", "reinforce", "random"):
        assert each < OVERHEAD_MS
