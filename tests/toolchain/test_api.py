"""The chain from Python: each command is one call, and says what the command says."""

import json
import subprocess
import sys

import pytest

from export.system.errors import NastoolError
from toolchain import api

TINY = {"data": "synthetic:120", "input_size": 64}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "run"
    result = api.search(
        folder,
        **TINY,
        encoders=["ghostnet-0.1"],
        search_size=64,
        search_images=8,
        search_validation=4,
        trials=2,
        rescore=0,
    )
    return folder, result


def test_a_search_is_picked_from_and_reported(searched, tmp_path):
    run, result = searched
    assert result.front == api.pick(run, "pareto")
    (best,) = api.pick(run)
    assert best.reward == max(trial.reward for trial in result.trials)
    document = api.report([run], tmp_path / "report.html")
    assert document["runs"][0]["trials"] == len(result.trials)
    assert (tmp_path / "report.html").stat().st_size > 1e6


def test_what_is_picked_is_trained_scored_exported_and_timed(searched, tmp_path):
    (best,) = api.pick(searched[0])
    trained = api.train(
        tmp_path / "t", **TINY, genotype=best.genotype, encoder=best.encoder, epochs=1
    )
    scored = api.evaluate(trained.checkpoint, TINY["data"])
    assert 0 <= scored["mean_f1"] <= 1
    files = api.export(trained.checkpoint, tmp_path / "x", precisions=["fp32"], images=2)
    assert files.failure is None
    timed = api.benchmark([file.path for file in files.files], seconds=0.1)
    assert timed.document()["models"][0]["latency_ms"]["median"] > 0


def test_costs_are_those_of_the_command(cli):
    genotype = "[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]"
    command = cli("cost", genotype, "--working-size", 256, "--json")
    assert api.cost(genotype, working_size=256) == [command.document]


def test_what_is_wrong_is_one_line_with_the_remedy(tmp_path):
    with pytest.raises(NastoolError, match="--epochs"):
        api.train(tmp_path, **TINY, genotype="1 [0,1]", epochs=0)
    with pytest.raises(NastoolError, match="ghostnet-9"):
        api.cost("1 [0,1]", "ghostnet-9")


def test_nothing_heavy_is_imported_before_a_call():
    code = "import json, sys; from toolchain import api; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "onnxruntime", "cv2", "optuna"} & set(json.loads(done.stdout))
