"""The benchmark of a space, and contests of algorithms on it."""

import json

import numpy as np
import pytest

from export.system.errors import DataError, UsageError
from export.system.files import write_json
from tests.toolchain.search.stand_in import score
from tests.toolchain.search.test_predictor import networks
from toolchain.architecture import Architecture
from toolchain.search.algorithms import ALGORITHMS
from toolchain.search.contest import Rules, contest, hold
from toolchain.search.executors import InlineExecutor
from toolchain.search.run import RANKING, Run
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
        (json.dumps({"fidelities": 3}), "branches, .*: Field required"),
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
        ({"classes": 0}, "classes: Input should be greater"),
        ({"branches": 17}, "branches: Input should be less"),
        ({"input_size": 50}, "input_size: Input should be a multiple of 32"),
        ({"encoders": []}, "encoders: List should have at least 1 item"),
        ({"target": "short", "fidelities": ["short", "full", "long"]}, "rows.0: 2 scores for 3"),
        ({"cells": 2}, "rows.0: cells 3 is none of the benchmark's"),
    ):
        (tmp_path / "space.json").write_text(json.dumps(document | change))
        with pytest.raises(DataError, match=words):
            SpaceBenchmark.load(tmp_path / "space.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scores": []}, "rows.7: 0 scores for 2 fidelities"),
        ({"scores": [0.1, float("nan")]}, "NaN is no finite number"),
        ({"scores": [0.1, -500]}, "rows.7.scores.1: Input should be greater"),
        ({"scores": ["x", 0.5]}, "rows.7.scores.0: Input should be a valid number"),
        ({"seconds": [3]}, "rows.7: 1 seconds for 2 fidelities"),
        ({"genotype": "3 ["}, "rows.7: "),
        ({"genotype": "10 [0, 1] [0, 1] [0, 1]"}, "rows.7: branches 1 is none"),
        ({"encoder": "ghostnet-0.1"}, "rows.7: encoder ghostnet-0.1 is none"),
        ({"encoder": "resnet"}, "rows.7: "),
        ({"working_size": 256}, "rows.7: working_size 256 is none"),
        ({"working_size": 250}, "rows.7.working_size: Input should be a multiple of 32"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, benchmark, change, words):
    document = json.loads(benchmark.model_dump_json())
    document["rows"][7] |= change
    (tmp_path / "space.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=words) as raised:
        SpaceBenchmark.load(tmp_path / "space.json")
    assert "\n" not in str(raised.value)


def test_a_surrogate_needs_scores_that_differ(tmp_path, benchmark):
    for scores in ([0.5, None], [0.5, 0.5]):
        rows = [row.model_copy(update={"scores": scores}) for row in benchmark.rows]
        benchmark.model_copy(update={"rows": rows}).save(tmp_path / "space.json")
        with pytest.raises(DataError, match="scores of the target, a surrogate needs 30 and some"):
            SpaceBenchmark.load(tmp_path / "space.json")
    # Of fidelities that are all equal no correlation is told.
    rows = [row.model_copy(update={"scores": [0.5, row.scores[1]]}) for row in benchmark.rows]
    assert fidelity_correlations(benchmark.model_copy(update={"rows": rows})) == {}


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
    for changes, words in (
        ({"working_sizes": (100,)}, "--working-size is a multiple of 32"),
        ({"budgets": ("params<=1",)}, "none of 2000 random networks keeps the --budget"),
    ):
        with pytest.raises(UsageError, match=words):
            hold(benchmark, tmp_path / "space.json", ContestSettings(**changes))


def test_a_run_becomes_a_benchmark_without_a_word_of_its_machine(tmp_path):
    def evaluate(candidate):
        final = score(candidate.architecture.genotype)
        scores = [0.5 * final, 0.7 * final, final]
        phases = {"stage0": 4.0, "stage1": 3.0, "scoring": 1.5}
        return Evaluation(final, phases, epoch_scores=scores)

    def run(path, **changes):
        path.mkdir()
        (path / "encoder.pt").write_bytes(b"weights")
        chosen = SearchSettings(
            data=str(path / "faces"),
            weights=(path / "encoder.pt",),
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

    searched = run(tmp_path / "run")
    ranked = {"id": 3, "chosen": "best", "search_score": 0.5, "result": 0.7, "seconds": 80.0}
    write_json(tmp_path / "run" / RANKING, {"settings": {"epochs": 3}, "trials": [ranked]})
    benchmark = benchmark_of(Run.load(searched.path))
    assert len(benchmark.rows) == 32
    assert benchmark.provenance["data"] == "faces"
    assert benchmark.provenance["rank"] == {"epochs": 3}
    assert [row.scores[-1] for row in benchmark.rows].count(None) == 31
    assert benchmark.rows[3].scores[-1] == 0.7
    assert benchmark.rows[3].seconds[-1] == 80.0
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
