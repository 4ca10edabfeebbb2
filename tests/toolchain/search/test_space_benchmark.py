"""The benchmark of a space, and contests of algorithms on it."""

import json

import numpy as np
import pytest

from export.errors import DataError, UsageError
from tests.toolchain.search.stand_in import score
from tests.toolchain.search.test_predictor import networks
from toolchain.architecture import Architecture
from toolchain.search.algorithms import ALGORITHMS
from toolchain.search.contest import Rules, contest, hold
from toolchain.search.executors import InlineExecutor
from toolchain.search.run import Run
from toolchain.search.space_benchmark import (
    Row,
    SpaceBenchmark,
    benchmark_of,
    fidelity_correlations,
)
from toolchain.search.study import Search
from toolchain.search.trial import Evaluation
from toolchain.settings.base import Record
from toolchain.settings.search_settings import ContestSettings, SearchSettings


def made(count=60, **changes):
    rows = [
        Row(
            genotype=str(architecture.genotype),
            encoder=architecture.encoder,
            scores=[round(0.8 * score(architecture.genotype), 4), score(architecture.genotype)],
        )
        for architecture in networks(count)
    ]
    values = {
        "provenance": {"data": "formula"},
        "branches": 3,
        "cells": 3,
        "encoders": ["mobilenetv2"],
        "working_sizes": [None],
        "classes": 19,
        "input_size": 512,
        "fidelities": ["short", "full"],
        "target": "full",
        "rows": rows,
    }
    return SpaceBenchmark(**(values | changes))


@pytest.fixture(scope="module")
def benchmark():
    return made(120)


def test_a_benchmark_is_read_back_as_it_was_written(tmp_path, benchmark):
    path = tmp_path / "space.json"
    benchmark.save(path)
    assert SpaceBenchmark.load(path).model_dump() == benchmark.model_dump()
    # A row a line: a change of one is a change of one line.
    assert len(path.read_text().splitlines()) > 120


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "is no benchmark of a space"),
        ("[1, 2]", "is no benchmark of a space"),
        ("{", "is not JSON"),
        (json.dumps({"fidelities": 3}), "branches: Field required|provenance: Field required"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path, text, words):
    (tmp_path / "space.json").write_text(text)
    with pytest.raises(DataError, match=words) as raised:
        SpaceBenchmark.load(tmp_path / "space.json")
    assert "\n" not in str(raised.value)


def test_a_newer_or_damaged_file_is_refused(tmp_path, benchmark):
    document = json.loads(benchmark.model_dump_json())
    for change, words in (
        ({"schema_version": 2}, "schema_version"),
        ({"target": "none"}, "'none' is none of its fidelities"),
        ({"rows": document["rows"][:5]}, "rows: List should have at least 30 items"),
    ):
        (tmp_path / "space.json").write_text(json.dumps(document | change))
        with pytest.raises(DataError, match=words):
            SpaceBenchmark.load(tmp_path / "space.json")


def test_the_surrogate_says_its_error_and_keeps_its_word(benchmark):
    surrogate = benchmark.surrogate
    assert surrogate.spearman > 0.85
    fresh = networks(40, seed=99)
    found = [surrogate.score(architecture) for architecture in fresh]
    assert found == [surrogate.score(architecture) for architecture in fresh]
    errors = np.array(found) - [score(a.genotype) for a in fresh]
    # Its prediction's error and the chance that it adds are of the size that it says.
    assert np.sqrt((errors**2).mean()) < 2 * surrogate.deviation


def test_fidelities_are_correlated_over_the_rows_that_have_both():
    benchmark = made(40)
    rows = [row.model_copy(update={"scores": [row.scores[0], None]}) for row in benchmark.rows[:10]]
    mixed = benchmark.model_copy(update={"rows": rows + benchmark.rows[10:]})
    assert fidelity_correlations(mixed) == {"short": {"full": pytest.approx(1.0, abs=0.01)}}
    assert len(mixed.scores("full")[0]) == 30


def test_a_contest_tells_a_good_algorithm_from_chance(benchmark):
    rules = Rules(
        SearchSettings(data="synthetic:10", objectives=("flops:3G:-0.3",)),
        19,
        Formula(),
        0.01,
        (30, 60),
    )
    standings = contest(rules, ["predictor", "random"], seeds=3)
    reached = {(one.algorithm, one.trials): one.mean for one in standings}
    assert len(reached) == 4
    assert reached["predictor", 60] > reached["predictor", 30]
    assert reached["predictor", 30] > reached["random", 60]


class Formula:
    """The score of the stand-in, in a form that other processes can make."""

    def __call__(self, architecture: Architecture) -> float:
        return score(architecture.genotype)


def test_a_contest_on_a_benchmark_of_another_space_is_one_line(tmp_path, benchmark):
    for changes, words in (
        ({"encoders": ("ghostnet-0.25",)}, "encoders are mobilenetv2, without ghostnet-0.25"),
        ({"working_sizes": (256,)}, "working_sizes are None, without 256"),
    ):
        with pytest.raises(DataError, match=f"is of another space: {words}"):
            hold(benchmark, tmp_path / "space.json", ContestSettings(**changes))
    with pytest.raises(UsageError, match="--trials is at least 1"):
        hold(benchmark, tmp_path / "space.json", ContestSettings(trials=(0,)))


def test_a_run_becomes_a_benchmark_without_a_word_of_its_machine(tmp_path):
    def evaluate(candidate):
        final = score(candidate.architecture.genotype)
        scores = [0.5 * final, 0.7 * final, final]
        phases = {"stage0": 4.0, "stage1": 3.0, "scoring": 1.5}
        return Evaluation(final, phases, epoch_scores=scores)

    def run(path, **changes):
        path.mkdir()
        chosen = SearchSettings(
            data="synthetic:10",
            trials=32,
            algorithm="random",
            rescore=0,
            working_sizes=(256, 512),
            every_epoch=True,
            early_stop=False,
            **changes,
        )
        Record(path, chosen, {"--data (images)": "abc"}).write()
        Search(chosen, path, 19).run(InlineExecutor(evaluate))
        return Run.load(path)

    benchmark = benchmark_of(run(tmp_path / "run"))
    assert len(benchmark.rows) == 32
    assert benchmark.working_sizes == [256, 512]
    assert {row.working_size for row in benchmark.rows} == {256, 512}
    assert benchmark.fidelities == [
        "stage 0, epoch 1",
        "stage 0, epoch 2",
        "stage 1, epoch 1",
        "long",
    ]
    assert benchmark.target == "stage 1, epoch 1"
    assert benchmark.rows[0].seconds == [2.5, 4.5, 7.5, None]
    assert str(tmp_path) not in benchmark.model_dump_json()


def test_every_algorithm_can_compete():
    rules = Rules(SearchSettings(data="synthetic:10"), 19, Formula(), 0.01, (18,), workers=4)
    standings = contest(rules, list(ALGORITHMS), seeds=1)
    assert [one.algorithm for one in standings] == list(ALGORITHMS)
    assert all(0.2 < one.mean < 0.8 for one in standings)
