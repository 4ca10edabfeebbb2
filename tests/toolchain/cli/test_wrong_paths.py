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


@pytest.fixture
def run_folder(tmp_path):
    """A folder that looks like a run, a model and a table in it."""
    for name, content in {
        "config.json": b'{"command": "search"}',
        "study.db": b"SQLite format 3\0",
        "a.onnx": b"\x08\x08",
        "t.json": b'{"schema_version": 1}',
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


IN_PLACE = [
    (["benchmark", "a.onnx", "--raw", "a.onnx"], "a.onnx: is what the command reads (--raw)"),
    (["benchmark", "t.json", "--raw", "study.db"], "study.db: exists and is not such a JSON file"),
    (["report", ".", "--output", "study.db"], "study.db: exists and is not a page (--output)"),
    (["report", ".", "--output", "config.json"], "config.json: exists and is not a page"),
    (["table", "plot", "t.json", "--output", "t.json"], "t.json: is what the command reads"),
    (["table", "plot", "t.json", "--output", "link"], "link: is what the command reads"),
    (["table", "anchor", "t.json", "--output", "a.onnx"], "a.onnx: exists and is not such a JSON"),
    (["space", "make", ".", "--output", "study.db"], "study.db: exists and is not such a JSON"),
    (["profile-device", "--output", "a.onnx"], "a.onnx: exists and is not such a JSON file"),
    (["doctor", "--selftest", "--output", "a.onnx"], "a.onnx: exists and is not such a JSON file"),
]


@pytest.mark.parametrize(("arguments", "words"), IN_PLACE, ids=lambda v: str(v)[:50])
def test_what_is_something_else_is_not_replaced(cli, run_folder, monkeypatch, arguments, words):
    """A slip with a path costs a line, not a model or all trials of a run."""
    monkeypatch.chdir(run_folder)
    (run_folder / "link").symlink_to("t.json")
    before = {path: path.read_bytes() for path in run_folder.iterdir()}
    result = cli(*arguments)
    assert result.code == 2
    (line,) = result.err.splitlines()
    assert line.startswith(f"nastool: {words}")
    assert line.endswith("choose another path")
    assert {path: path.read_bytes() for path in run_folder.iterdir()} == before


@pytest.mark.parametrize("there", [None, "", "<!DOCTYPE html>", "\ufeff\n <html>"])
def test_a_page_is_replaced_and_a_file_that_is_empty(cli, tmp_path, there):
    if there is not None:
        (tmp_path / "t.html").write_text(there)
    (table, *_) = sorted(Path("latency_tables").glob("*.json"))
    assert cli("table", "plot", table, "--output", tmp_path / "t.html").code == 0
    assert (tmp_path / "t.html").stat().st_size > 10**6
