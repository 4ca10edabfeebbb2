"""The benchmark of the space that ships with the tests, through the command line."""

import json
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "data" / "space-celebamask-hq-mini.json"


def test_the_benchmark_is_as_large_and_as_sure_as_its_document_says(cli):
    document = cli("space", "show", BENCHMARK, "--json").document
    assert document["architectures"] >= 300
    assert document["surrogate"]["spearman"] > 0.85
    assert document["surrogate"]["error"] < 0.07
    text = cli("space", "show", BENCHMARK).out
    assert "the surrogate foretells stage 1, epoch 1 with Spearman 0." in text
    # What ranks candidates is known after stage 0, and not after its first epoch.
    spearman = document["spearman"]
    assert spearman["stage 0, epoch 2"]["stage 1, epoch 1"] > 0.9
    assert spearman["stage 0, epoch 1"]["stage 1, epoch 1"] < 0.8
    # And what more training would say: 24 were trained for longer.
    assert document["fidelities"]["long"] == 24
    assert spearman["stage 0, epoch 2"]["long"] > 0.8
    assert spearman["stage 1, epoch 1"]["long"] > 0.85


def test_the_benchmark_is_of_two_encoders_and_two_working_sizes():
    document = json.loads(BENCHMARK.read_text())
    found = {(row["encoder"], row["working_size"]) for row in document["rows"]}
    assert found == {
        (encoder, size) for encoder in document["encoders"] for size in document["working_sizes"]
    }
    assert len(found) == 4
    counts = [
        sum((row["encoder"], row["working_size"]) == pair for row in document["rows"])
        for pair in found
    ]
    assert min(counts) > 50


@pytest.mark.timeout(600)
def test_the_default_finds_in_30_trainings_more_than_chance_in_150(cli):
    reached = {}
    for algorithm, trials in (("predictor", 30), ("random", 150)):
        contest = ("space", "contest", BENCHMARK, "--algorithm", algorithm, "--trials", trials)
        result = cli(*contest, "--seeds", 2, "--json")
        (standing,) = result.document["standings"]
        assert (standing["algorithm"], standing["trials"]) == (algorithm, trials)
        reached[algorithm] = min(standing["seeds"]), max(standing["seeds"])
    assert reached["predictor"][0] > reached["random"][1]


def test_a_benchmark_of_another_space_is_one_line(cli, tmp_path):
    result = cli("space", "contest", BENCHMARK, "--encoder", "ghostnet-0.25")
    assert result.code == 2
    assert "is of another space: encoders are mobilenetv2, mobilenetv2-0.5" in result.err
    assert len(result.err.strip().splitlines()) == 1
    (tmp_path / "space.json").write_text("{}")
    assert "is no benchmark of a space" in cli("space", "show", tmp_path / "space.json").err
