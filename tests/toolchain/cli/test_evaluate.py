import pytest
import torch

from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.training.checkpoints import CheckpointInfo, save_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    info = CheckpointInfo("[[2], [[0, 1]]]", "ghostnet-0.1", 8, CELEBAMASK_HQ, 64, "none")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "a.pt"
    save_checkpoint(path, info, info.build().state_dict())
    return path


def test_evaluate_gives_the_promised_document(cli, checkpoint):
    result = cli("evaluate", checkpoint, "--data", "synthetic:3", "--json")
    assert result.code == 0
    document = result.document
    assert set(document) == {"images", "pixel_accuracy", "mean_f1", "miou", "f1", "groups"}
    assert list(document["f1"]) == list(CELEBAMASK_HQ.classes)
    assert set(document["groups"]) == {"eyes", "brows", "nose", "mouth", "overall"}
    assert document["images"] == 3


def test_a_floor_is_a_gate(cli, checkpoint):
    failed = cli("evaluate", checkpoint, "--data", "synthetic:2", "--min-f1", "0.99")
    assert failed.code == 1
    assert "FAILED: mean F1 0." in failed.err
    assert "F1 nose" in failed.out
    assert cli("evaluate", checkpoint, "--data", "synthetic:2", "--min-f1", "0").code == 0


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.pt", None, "does not exist"),
        ("a.pt", b"PK", "is not a torch file"),
        ("a.onnx", None, "does not exist"),
        ("a.onnx", b"\x08\x07garbage", "may be truncated"),
        ("a.onnx", b"", "is empty"),
    ],
)
def test_a_broken_model_is_one_line(cli, tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = cli("evaluate", tmp_path / name, "--data", "synthetic:1")
    assert result.code == 2
    assert f"{tmp_path / name}: " in result.err
    assert problem in result.err
    assert len(result.err.strip().splitlines()) == 1
