"""Wrong invocations and broken files: an exit code and one line that names what to change."""

import json
from pathlib import Path

import pytest

G = "[[1, [0, 1, 2, 9]], [[0, 1]]]"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Make a folder of broken things."""
    root = tmp_path_factory.mktemp("broken")
    (root / "text.onnx").write_text("this is no model")
    (root / "empty.onnx").write_bytes(b"")
    (root / "text.pt").write_text("this is no checkpoint")
    (root / "table.json").write_text('{"schema_version": 1, "entries"')
    (root / "newer.json").write_text('{"schema_version": 99}')
    (root / "list.json").write_text("[]")
    (root / "genotype.json").write_text('{"genotype": [[42], [[0, 1]]]}')
    (root / "batch.txt").write_text(f"{G}\n[[77], [[0, 1]]]\n")
    (root / "bad.toml").write_text("trials = = 3")
    (root / "unknown.toml").write_text("colour = 3")
    (root / "empty").mkdir()
    for kind in ("images", "masks"):
        (root / "halves" / kind).mkdir(parents=True)
        for number in range(40):
            (root / "halves" / kind / f"{number}.png").write_bytes(b"not a picture")
    record = {"format_version": 2, "command": "search", "contents": {}, "data": "synthetic:9"}
    for name, document in (("run", record), ("old", {"storage": None})):
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps(document))
    return root


CASES = [
    (["cost", "hello"], 2, "'hello' is not a genotype"),
    (["cost", "[[11], [[0, 1]]]"], 2, "operation 0: 11 is not one of 0..10"),
    (["cost", "[[0], [[0, 9]]]"], 2, "connection 1, second map: 9 is not one of 0..3"),
    (["cost", "{}/genotype.json"], 2, "genotype.json: genotype: operation 0: 42"),
    (["cost", "{}/missing.json"], 2, "missing.json: does not exist"),
    (["cost", G, "--encoder", "resnet"], 2, "no encoder is named 'resnet'"),
    (["cost", G, "--colour"], 2, "--colour"),
    (["cost", G, "--classes", "none"], 2, "'none' is not a valid integer"),
    (["cost", G, "--latency-table", "{}/table.json"], 2, "table.json: is not JSON"),
    (["cost", G, "--latency-table", "{}/newer.json"], 2, "newer.json: schema_version is 99"),
    (["cost", G, "--latency-table", "{}/list.json"], 2, "list.json: is not a latency table"),
    (["cost", "--batch", "{}/batch.txt"], 2, "operation 0: 77"),
    (["cost"], 2, "GENOTYPE"),
    (["fly"], 2, "No such command 'fly'"),
    (["profile-device", "--runtime", "caffe"], 2, "caffe"),
    (["profile-device", "--device", "cuda:0"], 3, "onnxruntime-gpu"),
    (["profile-device", "--input-size", "100"], 2, "32"),
    (["certify", "{}/missing.json"], 2, "missing.json: does not exist"),
    (["search", "--run", "{}/new"], 2, "Missing option '--data'"),
    (["search", "--data", "{}/nowhere", "--run", "{}/new"], 2, "nowhere"),
    (["search", "--data", "{}/empty", "--run", "{}/new"], 2, "empty"),
    (["search", "--data", "synthetic:many", "--run", "{}/new"], 2, "synthetic:many"),
    (
        ["search", "--data", "synthetic:160", "--run", "{}/new", "--objective", "latency:5ms:-1"],
        2,
        "latency needs a table: add --latency-table",
    ),
    (
        ["search", "--data", "synthetic:160", "--run", "{}/new", "--objective", "speed:5ms:-1"],
        2,
        "'speed' is none of params, flops, latency",
    ),
    (
        ["search", "--data", "synthetic:160", "--run", "{}/new", "--budget", "flops<2G"],
        2,
        "is not QUANTITY<=LIMIT",
    ),
    (
        ["search", "--data", "synthetic:160", "--run", "{}/new", "--algorithm", "luck"],
        2,
        "'luck' is not one of",
    ),
    (["search", "--data", "synthetic:160", "--run", "{}/run"], 2, "holds a search already"),
    (
        ["search", "--data", "synthetic:160", "--run", "{}/n2", "--config", "{}/bad.toml"],
        2,
        "bad.toml: is not TOML",
    ),
    (
        ["search", "--data", "synthetic:160", "--run", "{}/n2", "--config", "{}/unknown.toml"],
        2,
        "unknown.toml: 'colour' is not a flag of nastool search",
    ),
    (["pareto", "{}/empty"], 2, "is not a run folder"),
    (["pareto", "{}/run"], 2, "study.db: is gone or empty"),
    (["pareto", "{}/old"], 2, "config.json: was written by an earlier nastool"),
    (
        ["train", "--data", "synthetic:9", "--output", "{}/t", "--run", "{}/old", "--pick", "best"],
        2,
        "begin in a new folder",
    ),
    (["report", "{}/missing", "--output", "{}/r.html"], 2, "missing"),
    (["train", "--data", "synthetic:9", "--output", "{}/t"], 2, "--genotype"),
    (
        ["train", "--data", "{}/halves", "--output", "{}/t", "--genotype", G],
        2,
        ".png: cannot be read as an image",
    ),
    (
        [
            "train",
            "--data",
            "synthetic:9",
            "--output",
            "{}/t",
            "--genotype",
            G,
            "--weights",
            "{}/text.pt",
            "--epochs",
            "1",
        ],
        2,
        "text.pt",
    ),
    (
        [
            "train",
            "--data",
            "synthetic:9",
            "--output",
            "{}/t",
            "--genotype",
            G,
            "--input-size",
            "50",
        ],
        2,
        "'--input-size': 50 is no multiple of 32",
    ),
    (["evaluate", "{}/text.onnx", "--data", "synthetic:2"], 2, "text.onnx"),
    (["evaluate", "{}/text.pt", "--data", "synthetic:2"], 2, "text.pt"),
    (["evaluate", "{}/missing.pt", "--data", "synthetic:2"], 2, "missing.pt"),
    (["export", "{}/text.pt", "--onnx", "--output", "{}/x"], 2, "text.pt"),
    (["export", "{}/text.pt", "--output", "{}/x"], 2, "text.pt"),
    (["benchmark", "{}/empty.onnx"], 2, "empty.onnx"),
    (["benchmark", "{}/text.onnx", "--device", "cuda:0"], 3, "onnxruntime-gpu"),
    (["demo", "--model", "{}/text.onnx", "--source", "{}/halves/images"], 2, "text.onnx"),
    (["demo", "--model", "{}/missing.onnx", "--source", "{}/halves/images"], 2, "missing.onnx"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), CASES, ids=lambda v: str(v)[:60])
def test_bad_input_is_one_line_and_an_exit_code(cli, files, arguments, code, words):
    if "cuda:0" in arguments:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this machine has CUDA")
    result = cli(
        *(argument.format(files) if "{}" in argument else argument for argument in arguments)
    )
    assert result.code == code, result.err
    assert words in result.err
    assert len(result.err.strip().splitlines()) <= 2
    assert "Traceback" not in result.err
    assert result.out == ""
    # Nothing half-written is left behind.
    assert not list(files.rglob(".partial-*"))
    assert not (files / "new" / "study.db").exists()


EMPTY = [
    ["faces", "--output", ""],
    ["faces", "--output="],
    ["faces", "--data", "", "--output", "x"],
    ["train", "--genotype", "1 [0,1]", "--data", "synthetic:24", "--output", ""],
    ["search", "--data", "synthetic:160", "--run", "r", "--latency-table", ""],
    ["benchmark", ""],
    ["compare", "", ""],
    ["faces", "--config", "empty.toml"],
]


@pytest.mark.parametrize("arguments", EMPTY)
def test_a_path_that_is_empty_is_not_the_current_folder(cli, tmp_path, monkeypatch, arguments):
    """As of a variable of the shell that has no value."""
    monkeypatch.chdir(tmp_path)
    Path("empty.toml").write_text('output = ""')
    result = cli(*arguments)
    assert result.code == 2
    (line,) = result.err.strip().splitlines()
    assert "it is empty. (see nastool" in line
    assert [path.name for path in Path().iterdir()] == ["empty.toml"]
