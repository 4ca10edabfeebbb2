"""Every path may have spaces, letters of any script, brackets and bytes that are no text."""

import json
import os

import numpy as np
import pytest
from PIL import Image

NAME = "größe ñ 日本 [b]x[red] %s {} :smile:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp(NAME)


@pytest.fixture(scope="module")
def data(folder):
    """Pairs of noise, one of whose names is no text."""
    rng = np.random.default_rng(0)
    for kind, shape in (("images", (32, 32, 3)), ("masks", (32, 32))):
        inside = os.fsencode(folder / "f f" / kind)
        os.makedirs(inside)
        for name in (b"\xff\xc3\xbc", *(b"%d" % number for number in range(32))):
            with open(inside + b"/ " + name + b".png", "wb") as file:
                Image.fromarray(rng.integers(0, 19, shape, np.uint8)).save(file, "PNG")
    return folder / "f f"


@pytest.fixture(scope="module")
def trained(folder, data):
    from toolchain.cli import run

    arguments = ["--encoder", "ghostnet-0.1", "--input-size", "32", "--epochs", "1", "--no-augment"]
    place = folder / "t ü"
    given = ["--genotype", "1 [0,1]", "--data", str(data), "--output", str(place)]
    assert run(["train", *given, *arguments]) == 0
    return place / "best.pt"


def test_evaluate(cli, trained, data):
    given = ("--data", data, "--split", "all", "--force", "--framing", "0.5")
    result = cli("evaluate", trained, *given)
    assert result.code == 0, result.err


def test_export_and_benchmark(cli, trained, folder):
    output, raw = folder / "e é", folder / "r ö.json"
    result = cli("export", trained, "--output", output, "--images", 1, "--tail", "resize")
    assert (output / "model.onnx").is_file(), result.err
    result = cli("benchmark", output / "model.onnx", "--seconds", 0.1, "--raw", raw)
    assert result.code == 0, result.err
    assert list(json.loads(raw.read_text())) == [str(output / "model.onnx")]


def test_a_table(cli, folder):
    table = "amd-epyc-milan-2-core-onnxruntime-fp32-1t.json"
    output = folder / "p [" / "b] ☃.html"
    result = cli("table", "plot", f"latency_tables/{table}", "--output", output)
    assert result.code == 0, result.err
    assert str(output) in result.out
    assert output.is_file()
