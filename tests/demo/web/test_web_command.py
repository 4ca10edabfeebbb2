"""``nastool demo --web`` and ``--web-output``."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest


def test_serves_until_it_is_interrupted(built, web_model):
    command = [sys.executable, "-m", "toolchain.cli", "demo", "--web", "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--model", str(web_model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout
    assert process.stderr
    url = process.stderr.readline().split()[0]
    with urllib.request.urlopen(url + "model.onnx", timeout=10) as answer:
        assert answer.read() == web_model.read_bytes()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out) == {"url": url, "output": None}


def test_folder(cli, page_sources, web_model, tmp_path):
    result = cli("demo", "--web-output", tmp_path / "site", "--model", web_model, "--json")
    assert result.code == 0, result.err
    assert result.document == {"url": None, "output": str(tmp_path / "site")}
    assert (tmp_path / "site" / "model.onnx").read_bytes() == web_model.read_bytes()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--effect", "blur"), "--effect is not for the page, which has its own controls"),
        (("--source", "0"), "--source is not for the page"),
        (("--model", "no.onnx"), "no.onnx: "),
    ],
)
def test_flags_that_are_wrong(cli, page_sources, flags, message):
    result = cli("demo", "--web", *flags)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_port_that_is_taken(cli, page_sources, web_model):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = cli("demo", "--web", "--port", port, "--model", web_model)
    assert result.code == 2
    assert f"port {port} cannot be taken" in result.err


def test_page_that_is_not_built(cli, page_sources):
    (page_sources / "page" / "onnxruntime" / "runtime.wasm").unlink()
    (page_sources / "page" / "onnxruntime").rmdir()
    result = cli("demo", "--web")
    assert result.code == 3
    assert "run 'make web' once" in result.err
