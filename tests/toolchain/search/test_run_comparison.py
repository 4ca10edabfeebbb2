"""Which of two runs is better, on searches whose scores are a formula."""

import json
from dataclasses import replace

import numpy as np
import pytest

from export.system.errors import DataError, UsageError
from tests.toolchain.search.stand_in import CLASSES, searched
from toolchain.reporting.logs import read_log
from toolchain.reporting.verdicts import comparison_document, sentences, side_names
from toolchain.search.comparable import differences
from toolchain.search.comparison import compare
from toolchain.search.prediction import RunPredictor, classes_of
from toolchain.search.trial import TrialState
from toolchain.settings.base import Record


def changed(run, make_score):
    """Return a run as if its candidates had other scores."""
    trials = [
        t if t.score is None else replace(t, score=make_score(t), reward=None) for t in run.trials
    ]
    ends = [t for t in trials if t.state is TrialState.COMPLETE]
    return replace(run, trials=trials, finalists=ends)


@pytest.fixture(scope="module")
def sixty(tmp_path_factory):
    """Return a random search of 60 candidates."""
    return searched(tmp_path_factory.mktemp("runs") / "sixty", trials=60)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("runs") / "small")


def test_a_run_does_not_differ_from_itself(sixty):
    found = compare({"a": sixty}, {"b": sixty})
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert found.difference.better is None
    assert [lead.side for _, leads in found.leads for lead in leads] == [None] * len(found.costs)
    assert all(sides == [0, 1] for _, sides in found.front)
    words = " ".join(sentences(found))
    assert words.startswith("No difference can be seen: hypervolume 0.")
    assert "about equal: 60 and 60 candidates" in words


def test_a_predictor_is_better_than_chance_over_seeds(tmp_path):
    sides = [
        {
            f"{algorithm}{seed}": searched(
                tmp_path / f"{algorithm}{seed}", algorithm=algorithm, seed=seed, trials=36
            )
            for seed in range(3)
        }
        for algorithm in ("random", "predictor")
    ]
    found = compare(*sides)
    assert found.difference.method == "welch"
    assert found.difference.better == 1
    words = sentences(found)
    assert words[0].startswith("predictor is better: mean hypervolume 0.")
    assert "The runs differ in --algorithm (random; predictor)." in words
    document = comparison_document(found)
    assert document["better"] == "predictor"
    assert document["difference"]["low"] > 0
    assert [len(side["runs"]) for side in document["sides"]] == [3, 3]
    json.dumps(document)
    # The sides in the other order: the same, from the other end.
    turned = compare(*sides[::-1]).difference
    assert turned.better == 0
    assert turned.low == pytest.approx(-found.difference.high)


def test_runs_of_one_algorithm_do_not_differ_over_seeds(tmp_path):
    runs = [searched(tmp_path / str(seed), seed=seed, trials=12) for seed in range(6)]
    first, second = (
        dict(zip("ace", runs[:3], strict=True)),
        dict(zip("bdf", runs[3:], strict=True)),
    )
    found = compare(first, second)
    assert found.difference.low < 0 < found.difference.high
    assert sentences(found)[0].startswith("No difference can be seen: ")


def test_the_interval_over_seeds_is_welchs(small):
    """By hand: means 0.5 and 0.6, variances 0.01 and 0.0004, three runs each."""

    def runs(names, scores):
        return {
            name: changed(small, lambda _, value=value: value)
            for name, value in zip(names, scores, strict=True)
        }

    # Of scores that are all one number the hypervolume is that number from the cheapest trial on.
    found = compare(runs("abc", (0.4, 0.5, 0.6)), runs("def", (0.58, 0.6, 0.62)), ["score"])
    assert found.difference.value == pytest.approx(0.1)
    error = (0.01 / 3 + 0.0004 / 3) ** 0.5
    freedom = error**4 / ((0.01 / 3) ** 2 / 2 + (0.0004 / 3) ** 2 / 2)
    assert freedom == pytest.approx(2.1597, abs=1e-3)
    quantile = 4.01  # of Student's t with 2.16 degrees of freedom, between 4.303 (2) and 3.182 (3)
    assert found.difference.low == pytest.approx(0.1 - quantile * error, abs=0.003)
    assert found.difference.high == pytest.approx(0.1 + quantile * error, abs=0.003)


@pytest.mark.parametrize(("more", "better"), [(0.1, 1), (-0.1, 0), (0.002, None)])
def test_a_difference_counts_where_luck_does_not_make_it(sixty, more, better):
    chance = np.random.default_rng(0)
    # Luck of 0.02, another for each run.
    one, two = (
        changed(sixty, lambda t, extra=extra: t.score + extra + chance.normal(0, 0.02))
        for extra in (0, more)
    )
    found = compare({"one": one}, {"two": two})
    assert found.difference.method == "bootstrap"
    assert found.difference.better is better
    assert found.difference.low < found.difference.value < found.difference.high
    assert "luck of the searches' seeds" in sentences(found)[1]


def test_the_best_scores_alone_are_compared_too(sixty):
    """Without a cost the hypervolume is the best score."""
    chance = np.random.default_rng(0)
    found = compare({"a": sixty}, {"b": sixty}, ["score"])
    assert found.difference.better is None
    assert (found.difference.low, found.difference.high) == (0, 0)
    worse = changed(sixty, lambda t: t.score - 0.2 + chance.normal(0, 0.01))
    found = compare({"a": sixty}, {"b": worse}, ["score"])
    assert found.sides[0][0].hypervolume == max(t.score for t in sixty.trials if t.score)
    assert found.difference.better == 0
    assert found.difference.low < found.difference.value < found.difference.high


def test_the_luck_in_scores_is_told_from_what_features_say(sixty):
    """A formula has little; luck that is added comes back, as far as 60 scores can tell."""
    chance = np.random.default_rng(1)
    quiet = RunPredictor.of(sixty)
    loud = RunPredictor.of(changed(sixty, lambda t: t.score + chance.normal(0, 0.1)))
    assert quiet.noise < 0.05
    assert 0.05 < loud.noise < 0.15


def at(trial, number, value, flops):
    return replace(trial, id=number, score=value, flops=flops, canonical=str(number), reward=value)


def test_where_each_run_leads(small):
    template = next(t for t in small.trials if t.score is not None)
    one = [at(template, 0, 0.5, 10**9), at(template, 1, 0.6, 4 * 10**9)]
    two = [at(template, 0, 0.3, 10**9), at(template, 1, 0.7, 2 * 10**9)]
    two.append(at(template, 2, 0.702, 16 * 10**9))
    runs = [replace(small, trials=trials, finalists=trials) for trials in (one, two)]
    found = compare({"a": runs[0]}, {"b": runs[1]}, ["score", "flops"])
    [(cost, leads)] = found.leads
    assert cost.objective == "flops"
    assert [(lead.start, lead.end, lead.side) for lead in leads] == [
        (10**9, 2 * 10**9, 0),
        (2 * 10**9, None, 1),
    ]
    # Over four doublings: a 0.5, 0.5, 0.6, 0.6; b 0.3, 0.7, 0.7, 0.7.
    assert found.sides[0][0].hypervolume == pytest.approx(0.55)
    assert found.sides[1][0].hypervolume == pytest.approx(0.6)
    assert [sides for _, sides in found.front] == [[1], [1], [0]]
    words = sentences(found)
    assert words[0] == "b has the larger hypervolume, 0.600 against 0.550, by 0.050."
    assert "There is no interval" in words[1]
    assert (
        "The best score within a limit of FLOPs is higher, by 0.005 or more: below 2.00 G a, from "
        "2.00 G on b." in words
    )
    assert "The front of all runs together has 3 members: 1 of a, 2 of b." in words
    [stretches] = comparison_document(found)["leads"]
    assert stretches["stretches"][0] == {
        "from_flops": 10**9,
        "to_flops": 2 * 10**9,
        "leader": "a",
    }


def test_scores_of_a_longer_training_count_where_all_runs_have_them(tmp_path):
    runs = [searched(tmp_path / str(n), rescore=n, seed=n) for n in (0, 3, 4)]
    both = compare({"a": runs[1]}, {"b": runs[2]})
    assert both.rescored
    assert [len(side[0].trials) for side in both.sides] == [3, 4]
    mixed = compare({"a": runs[0]}, {"b": runs[1]})
    assert not mixed.rescored
    assert [len(side[0].trials) for side in mixed.sides] == [8, 8]
    assert max(t.score for t in mixed.sides[1][0].trials) < max(
        t.score for t in both.sides[0][0].trials
    )
    assert "those after a longer training, of b, do not count" in " ".join(sentences(mixed))


def test_other_efforts_are_said(small, sixty):
    words = sentences(compare({"small": small}, {"sixty": sixty}))
    assert "The effort was not equal: sixty had 60 candidates trained, small 8." in words, words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search_size": 96}, "--search-size was 192 and 96; search both with the same"),
        ({"search_images": 9}, "--images was 320 and 9"),
        ({"joint_epochs": 2}, "--joint-epochs was 1 and 2"),
        ({"parts": ("nose",)}, "--part was left out and nose"),
        ({"input_size": 256}, "--input-size was 512 and 256"),
        ({"data": "synthetic:9"}, "--data was .*formula and synthetic:9"),
    ],
)
def test_runs_that_do_not_compare(tmp_path, small, settings, message):
    other = searched(tmp_path / "other", trials=2, **settings)
    with pytest.raises(UsageError, match=f"a and b do not compare: {message}"):
        compare({"a": small}, {"b": other})


def test_runs_of_other_spaces_algorithms_and_budgets_compare(tmp_path, small):
    settings = {"cells": 1, "budgets": ("params<=3M",), "encoders": ("ghostnet-0.1",)}
    other = searched(tmp_path / "other", algorithm="tpe", working_sizes=(512, 256), **settings)
    compare({"a": small}, {"b": other})
    assert set(differences([[small], [other]])) == {
        *("algorithm", "cells", "budget", "encoder", "working-size")
    }


def test_weights_compare_by_their_contents(tmp_path, small):
    for name, held in (("a", b"one"), ("b", b"two"), ("again", b"one")):
        (tmp_path / name).write_bytes(held)

    def run(name, *weights, **settings):
        files = tuple(tmp_path / each for each in weights)
        return searched(tmp_path / "runs" / name, trials=2, weights=files, **settings)

    both = ("mobilenetv2", "ghostnet-0.1")
    first, moved = run("first", "a"), run("moved", "again")
    compare({"a": first}, {"b": moved})
    compare({"a": first}, {"b": run("more", "b", "a", encoders=both)})
    compare({"a": first}, {"b": run("others", "b", encoders=both[1:])})
    turned = run("turned", "b", "a", encoders=both[::-1])
    compare({"a": run("unturned", "a", "b", encoders=both)}, {"b": turned})
    for other in (
        run("changed", "b"),
        run("changed too", "b", encoders=both),
        run("none", encoders=both),
        small,
    ):
        with pytest.raises(UsageError, match="do not compare: --weights was"):
            compare({"a": first}, {"b": other})


def test_images_are_known_by_their_contents(tmp_path):
    images = {"--data (images to score on)": "one"}
    first = searched(tmp_path / "first", images, trials=2, data=str(tmp_path / "here"))
    moved = searched(tmp_path / "moved", images, trials=2, data=str(tmp_path / "there"))
    compare({"a": first}, {"b": moved})
    images = {"--data (images to score on)": "two"}
    later = searched(tmp_path / "later", images, trials=2, data=str(tmp_path / "here"))
    with pytest.raises(UsageError, match=r"the images in .*here \(--data\) have changed"):
        compare({"a": first}, {"b": later})
    # Working sizes and scoring again take other images of the same data.
    other = searched(tmp_path / "other", images, trials=2, data=first.settings.data, rescore=1)
    compare({"a": first}, {"b": other})


def with_table(path, run, name, contents):
    """Return a run as if it had been searched with a latency table."""
    path.mkdir()
    (path / f"{name}.json").write_text(contents)
    settings = run.settings.model_copy(update={"latency_tables": (path / f"{name}.json",)})
    Record(path, settings).write()
    trials = [replace(t, latency_ms={name: t.flops / 1e8}) for t in run.trials]
    ends = [t for t in trials if t.score is not None]
    return replace(run, path=path, settings=settings, trials=trials, finalists=ends)


def test_latencies_compare_on_the_same_table_alone(tmp_path, small):
    phone = with_table(tmp_path / "1", small, "phone", "{}")
    same = with_table(tmp_path / "2", small, "phone", "{}")
    again = with_table(tmp_path / "3", small, "phone", '{"of": "another day"}')
    desktop = with_table(tmp_path / "4", small, "desktop", "{}")
    found = compare({"a": phone}, {"b": same})
    assert [cost.objective for cost in found.costs] == ["latency@phone"]
    assert "from_ms" in comparison_document(found)["limits"][0]
    with pytest.raises(UsageError, match="--latency-table phone had other contents"):
        compare({"a": phone}, {"b": again})
    with pytest.raises(UsageError, match="a, b have no latency table in common; add --objectives"):
        compare({"a": phone}, {"b": desktop})
    compare({"a": phone}, {"b": desktop}, ["score", "params"])
    with pytest.raises(UsageError, match="'latency' is none of those that every run has"):
        compare({"a": phone}, {"b": desktop}, ["score", "latency"])


def test_a_log_is_compared_by_what_it_knows(tmp_path, small):
    line = (
        "o_reward: 0.59, reward: 0.46, Epoch: 7     , params: {}, delay: 0.00,flops: 0.00, "
        "mo_params_coe: 0.85, mo_delay_coe: 0.66, mo_flops_coe: 0.76, epoch_time: 67.33   , "
        "genotype: [[7, [1, 0, 8, 0], [0, 1, 7, 3]], [[2, 0], [3, 1]]]"
    )
    path = tmp_path / "search.out"
    path.write_text(line.format("0.66"))
    found = compare({"a": small}, {"log": read_log(path)})
    assert [cost.objective for cost in found.costs] == ["params"]
    words = " ".join(sentences(found))
    assert "Of published logs (log) it is not known" in words
    assert "There is no interval" in words
    path.write_text(line.format("0.00"))
    with pytest.raises(UsageError, match="a, log have no cost in common"):
        compare({"a": small}, {"log": read_log(path)})
    flops = line.format("0.00").replace("flops: 0.00", "flops: 1.50")
    path.write_text("\n".join([line.format("0.66"), flops]))
    with pytest.raises(
        DataError, match=r"search\.out: has no trial with all of score, params, flops"
    ):
        compare({"a": small}, {"log": read_log(path)})


def test_a_run_without_a_score_is_refused(small):
    trials = [replace(t, state=TrialState.FAILED, score=None) for t in small.trials]
    lost = replace(small, trials=trials, finalists=[])
    with pytest.raises(DataError, match="small: has no trial with a score; compare it after"):
        compare({"a": small}, {"b": lost})


def test_one_run_is_not_compared_with_several(small):
    with pytest.raises(UsageError, match="give one each, or several each"):
        compare({"a": small, "b": small}, {"c": small})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([["first"], ["second"]], ["first", "second"]),
        ([["a-1", "a-2"], ["b_1", "b_10"]], ["a", "b"]),
        ([["run1", "run2"], ["run3", "run4"]], ["run1, run2", "run3, run4"]),
        ([["x", "y"], ["z", "zz"]], ["x, y", "z, zz"]),
    ],
)
def test_sides_have_names(names, expected):
    assert side_names(names) == expected


def test_the_number_of_classes_follows_from_the_parameters(small):
    trial = next(t for t in small.trials if t.score is not None)
    assert classes_of(trial, 512) == CLASSES
    assert classes_of(replace(trial, parameters=trial.parameters + 1), 512) is None
    assert classes_of(trial, 256) is None  # its FLOPs are of another size


def test_what_is_predicted_for_other_networks(sixty):
    predictor = RunPredictor.of(sixty, drawn=300)
    true, predicted = zip(*((t.score, p) for t, p in predictor.held_out), strict=True)
    assert len(true) == 60
    assert np.corrcoef(true, predicted)[0, 1] > 0.6
    outlook = predictor.outlook("params")
    assert (np.diff(outlook.costs) > 0).all()
    assert (np.diff(outlook.means) > 0).all()
    cheapest = outlook.costs[0]
    means, deviations = outlook.at(np.array([cheapest / 2, cheapest, 1e12]))
    assert np.isnan(means[0])
    assert means[1] == outlook.means[0]
    assert (means[2], deviations[2]) == (outlook.means[-1], outlook.deviations[-1])
    # Networks are predicted that cost less than any trained one.
    assert outlook.costs[0] < min(t.parameters for t in sixty.trials if t.score)
    assert not predictor.knows("latency")
    assert predictor.knows("flops")


def test_predictions_keep_the_budgets(sixty):
    """Those of a latency whose table is gone cannot be kept."""
    budgets = {"budgets": ("params<=1.9M", "latency<=9ms")}
    settings = sixty.settings.model_copy(update=budgets)
    kept = [t for t in sixty.trials if t.score is None or t.parameters <= 1.9e6]
    run = replace(sixty, settings=settings, trials=kept)
    limited, free = (RunPredictor.of(each, drawn=200) for each in (run, sixty))
    assert max(each.costs["parameters"] for each in limited._networks) <= 1.9e6
    assert max(each.costs["parameters"] for each in free._networks) > 1.9e6


def test_too_few_trials_predict_nothing(small):
    assert RunPredictor.of(small) is None
    assert RunPredictor.of(replace(small, settings=None)) is None
