"""What a command is to read is looked for before anything large is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

G = "[[1, [0, 1, 2, 9]], [[0, 1]]]"
TRAIN = ("train", "--output", "out")
SEARCH = ("search", "--run", "out")
FACES = ("--data", "synthetic:160")
WRONG = [
    (*TRAIN, "--data", "nowhere", "--genotype", G),
    (*TRAIN, *FACES, "--genotype", "nowhere.json"),
    (*TRAIN, *FACES, "--genotype", G, "--weights", "nowhere.pt"),
    (*TRAIN, *FACES, "--genotype", G, "--teacher", "nowhere.pt"),
    (*TRAIN, *FACES, "--run", "nowhere", "--pick", "best"),
    ("pretrain", "--output", "out", "--data", "nowhere"),
    ("ablate", "--output", "out", "--data", "nowhere", "--genotype", G, "--switch", "blur=0,1"),
    (*SEARCH, "--data", "nowhere"),
    (*SEARCH, *FACES, "--latency-table", "nowhere.json"),
    (*SEARCH, *FACES, "--weights", "nowhere.pt"),
    (*SEARCH, *FACES, "--teacher", "nowhere.pt"),
    ("rank", "nowhere"),
    ("pareto", "nowhere"),
    ("compare", "nowhere", "elsewhere"),
    ("report", "nowhere"),
    ("space", "make", "nowhere", "--output", "x.json"),
    ("space", "show", "nowhere.json"),
    ("space", "contest", "nowhere.json"),
    ("table", "show", "nowhere.json"),
    ("table", "plot", "nowhere.json"),
    ("certify", "nowhere.json"),
    ("cost", G, "--latency-table", "nowhere.json"),
    ("cost", "--batch", "nowhere.txt"),
    ("evaluate", "nowhere.onnx", *FACES),
    ("export", "nowhere.pt"),
    ("export", "--genotype", G, "--calibration", "nowhere"),
    ("benchmark", "nowhere.onnx"),
    ("profile-device", "--from-kit", "nowhere.jsonl"),
    ("demo", "--model", "nowhere"),
    ("faces", "--data", "nowhere", "--output", "out"),
]  # fmt: skip


def test_a_wrong_path_is_found_before_torch_is_loaded(tmp_path):
    script = f"""
import sys
from toolchain.cli import run
for arguments in {WRONG}:
    print(run(list(arguments)), *({{"torch", "onnxruntime", "cv2"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["2"] * len(WRONG), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(WRONG)
    assert not [line for line in lines if not line.startswith("nastool: nowhere")]
    assert not list(tmp_path.iterdir())


def test_the_flag_of_a_missing_file_is_named(cli):
    result = cli(*SEARCH, *FACES, "--latency-table", "nowhere.json")
    assert result.err == "nastool: nowhere.json: does not exist (--latency-table)\n"


@pytest.mark.parametrize(
    "arguments", [["demo", "--source", "a.png", "--model"], ["benchmark"]], ids=lambda a: a[0]
)
def test_a_checkpoint_is_no_model_and_what_to_do_is_said(cli, tmp_path, arguments):
    import torch

    torch.save({"model": {}}, tmp_path / "best.pt")
    result = cli(*arguments, tmp_path / "best.pt")
    assert result.code == 2
    assert "best.pt: is a checkpoint, not a model that runs; export it first: nastool" in result.err
