"""The chain on a CUDA GPU. Skips, with its reason, where there is none."""

import pytest

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True, scope="module")
def _cuda():
    import onnxruntime
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA GPU")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime has no CUDA provider; install onnxruntime-gpu")


def test_a_network_is_trained_exported_and_timed(cli, tmp_path):
    from toolchain.cli import run

    folder = str(tmp_path / "m")
    sizes = ["--input-size", "128", "--working-size", "96"]
    flags = ["--encoder", "ghostnet-0.1", *sizes, "--epochs", "1"]
    device = ["--device", "cuda:0", "--output", folder]
    trained = run(["train", "--data", "synthetic:24", "--genotype", "1 [0,1]", *flags, *device])
    assert trained == 0
    exported = cli(
        *("export", tmp_path / "m" / "best.pt", "--onnx", "--tail", "resize"),
        *("--output", tmp_path / "x", "--json"),
    )
    assert exported.document["parity"]["passed"]
    timed = cli(
        *("benchmark", tmp_path / "x" / "model.onnx", "--device", "cuda:0", "--seconds", 1),
        "--json",
    )
    assert timed.document["models"][0]["latency_ms"]["median"] > 0


def test_a_table_is_measured(cli, tmp_path):
    result = cli(
        *("profile-device", "--device", "cuda:0", "--encoder", "ghostnet-0.1"),
        *("--input-size", 128, "--seconds", 0.05, "--output", tmp_path / "t.json", "--json"),
    )
    assert result.code == 0, result.err
    assert result.document["entries"] > 0
