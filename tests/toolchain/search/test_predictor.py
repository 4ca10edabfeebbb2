"""The predictor of scores, and what it knows of a network."""

import random

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.toolchain.search.stand_in import score
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.search.algorithms.coverage import (
    Coverage,
    best_within,
    expected_improvement,
    front_of,
    limits_between,
)
from toolchain.search.algorithms.predictor import ScorePredictor, held_out
from toolchain.search.appraisal import Appraiser
from toolchain.search.objectives import Budget

APPRAISE = Appraiser(19, 512, {})


def networks(count, seed=0):
    chance = random.Random(seed)
    found = []
    while len(found) < count:
        architecture = Architecture(Genotype.sample(chance))
        if APPRAISE(architecture).excess <= 0:
            found.append(architecture)
    return found


@pytest.fixture(scope="module")
def sample():
    drawn = networks(160)
    return (
        np.stack([APPRAISE(architecture).features for architecture in drawn]),
        np.array([score(architecture.genotype) for architecture in drawn]),
    )


def test_what_computes_the_same_has_the_same_features():
    text = "[[3, [1, 0, 8, 10], [0, 1, 2, 9]], [[0, 3], [1, 2]]]"
    swapped = "[[3, [0, 1, 10, 8], [1, 0, 9, 2]], [[3, 0], [2, 1]]]"
    first, second = (Architecture(Genotype.parse(each)) for each in (text, swapped))
    assert canonical(first.genotype) == canonical(second.genotype)
    assert np.array_equal(APPRAISE(first).features, APPRAISE(second).features)


def test_encoder_and_working_size_are_told_apart():
    genotype = Genotype.parse("[[3, [1, 0, 8, 10], [0, 1, 2, 9]], [[0, 3], [1, 2]]]")
    found = [
        APPRAISE(Architecture(genotype, encoder, size)).features
        for encoder in ("mobilenetv2", "ghostnet-0.25")
        for size in (None, 256)
    ]
    assert len({tuple(each) for each in found}) == 4


def test_a_cell_that_forgets_where_things_are_is_told_apart():
    """All that differs is whether a path around the global average is left."""
    blind = APPRAISE(Architecture(Genotype.parse("4 [1,1,1,1] [0,3]"))).features
    seeing = APPRAISE(Architecture(Genotype.parse("4 [0,1,1,1] [0,3]"))).features
    assert not np.array_equal(blind, seeing)


def test_predictions_order_networks_that_were_not_seen(sample):
    x, scores = sample
    predicted = held_out(x, scores)
    assert spearmanr(predicted, scores).statistic > 0.85
    # Scores dealt out anew have nothing to do with the networks.
    dealt = np.random.default_rng(1).permutation(scores)
    assert abs(spearmanr(held_out(x, dealt), dealt).statistic) < 0.3


def test_a_prediction_is_surer_near_what_is_known(sample):
    x, scores = sample
    predictor = ScorePredictor(x[:80], scores[:80])
    _, known = predictor.predict(x[:80])
    _, unknown = predictor.predict(x[80:])
    assert known.mean() < 0.7 * unknown.mean()
    # The intervals are honest: nine of ten errors lie within 1.64 deviations, give or take.
    mean, deviation = predictor.predict(x[80:])
    assert (np.abs(mean - scores[80:]) < 1.64 * deviation + 0.02).mean() > 0.75


def test_equal_scores_are_predicted_as_they_are(sample):
    x, _ = sample
    mean, deviation = ScorePredictor(x[:20], np.full(20, 0.4)).predict(x[20:30])
    assert mean == pytest.approx(np.full(10, 0.4))
    assert np.isfinite(deviation).all()


def test_improvement_is_the_mean_of_what_exceeds():
    draws = np.random.default_rng(0).normal(0.5, 0.1, 200_000)
    for best in (0.3, 0.5, 0.7):
        expected = np.maximum(draws - best, 0).mean()
        assert expected_improvement(0.5, 0.1, best) == pytest.approx(expected, rel=0.02)


def test_the_best_within_limits():
    scores, costs = np.array([0.3, 0.6, 0.5]), np.log([[1.0], [4.0], [8.0]])
    limits = np.log([[0.5], [1.0], [3.9], [4.0], [100.0]])
    assert best_within(scores, costs, limits).tolist() == [0.0, 0.3, 0.3, 0.6, 0.6]
    even = limits_between(np.zeros(1), np.ones(1), 5, np.random.default_rng(0))
    assert even[:, 0].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    several = limits_between(np.zeros(2), np.array([1.0, 9.0]), 500, np.random.default_rng(0))
    assert several.shape == (1000, 2)
    assert several.max(0) == pytest.approx([1.0, 9.0], rel=0.02)


def test_a_gain_is_where_the_front_is_low():
    scores, costs = np.array([0.3, 0.7]), np.log([[1.0], [10.0]])
    coverage = Coverage(scores, costs, np.random.default_rng(0))
    means, sure = np.full(3, 0.5), np.full(3, 1e-3)
    gains = coverage.expected_gain(means, sure, np.log([[2.0], [8.0], [9.99]]))
    # 0.5 fills the gap between 0.3 and 0.7, the more the cheaper it is.
    assert gains[0] > gains[1] > gains[2]
    assert gains[0] == pytest.approx(0.2 * (1 - np.log(2) / np.log(10)), rel=0.1)
    assert coverage.expected_gain(np.array([0.2]), sure[:1], costs[:1])[0] < 1e-6


def test_of_no_cost_there_is_one_limit():
    limits = limits_between(np.zeros(0), np.zeros(0), 5, np.random.default_rng(0))
    assert best_within(np.array([0.3, 0.6]), np.zeros((2, 0)), limits).tolist() == [0.6]


def test_the_front_is_of_all_costs():
    scores = np.array([0.5, 0.5, 0.4, 0.6])
    costs = np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert front_of(scores, costs) == [0, 1, 3]


def test_an_appraisal_says_why_a_network_is_not_worth_training():
    cheap, dear = Budget.parse("flops<=0.5G"), Budget.parse("params<=2M")
    appraise = Appraiser(19, 512, {}, [cheap, dear])
    found = appraise(Architecture(Genotype.parse("1 [0, 3]")))
    assert found.excess == pytest.approx(found.costs["flops"] / 0.5e9 - 1)
    assert "flops" in found.complaint
    assert "is over the budget" in found.complaint
    nothing = appraise(Architecture(Genotype.parse("10 [0, 1]")))
    assert (nothing.complaint, nothing.excess) == ("its context cell ignores the image", 1.0)
    assert Appraiser(19, 512, {})(Architecture(Genotype.parse("1 [0, 3]"))).complaint is None
