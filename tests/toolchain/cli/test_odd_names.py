"""Every path may have spaces, letters of any script, brackets and bytes that are no text."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAME = "größe ñ 日本 [b]x[red] %s {} :smile:"

ROOT = Path(__file__).parents[3]


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


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_the_demo(trained, folder, data, tmp_path, locale):
    """In a process of its own, which OpenCV would end at names that are no text."""
    from toolchain.cli import run

    model = tmp_path / "m" / "model.onnx"
    given = ["export", str(trained), "--images", "1", "--tail", "resize"]
    assert run([*given, "--output", str(model.parent)]) == 0
    odd = os.fsencode(tmp_path) + b"/\xff\xc3\xbc"
    os.mkdir(odd)
    first = sorted(os.listdir(os.fsencode(data / "images")))[0]
    shutil.copy(os.fsencode(data / "images") + b"/" + first, odd + b"/\xfe.png")
    made = odd + b" made"
    for source, output in ((odd, made), (odd + b"/\xfe.png", made + b"/o.png")):
        done = subprocess.run(
            [sys.executable, "-m", "toolchain.cli", "demo", "--model", model, "--no-display",
             "--source", source, "--output", output],
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONCOERCECLOCALE": "0"} | locale,
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert os.path.exists(output)
