import pytest
import torch

from export.errors import DataError, UnavailableError, UsageError
from export.onnx import export_onnx
from toolchain.training.checkpoints import save_checkpoint
from toolchain.training.evaluation import evaluate, evaluation_data


@pytest.fixture
def checkpoint(tmp_path, info, network):
    # Norms of an untrained network are far from what it sees; a pass in training mode sets them.
    network.train()(torch.rand(8, 3, 64, 64) * 2 - 1)
    save_checkpoint(tmp_path / "a.pt", info, network.state_dict())
    return tmp_path / "a.pt"


def test_a_checkpoint_and_its_export_score_alike(checkpoint, info, network):
    export_onnx(
        network.deployable(64), checkpoint.with_suffix(".onnx"),
        metadata=info.metadata(), input_size=64, batch=3,  # 5 images are not a multiple of it
    )  # fmt: skip
    expected = evaluate(checkpoint, "synthetic:5")
    document = evaluate(checkpoint.with_suffix(".onnx"), "synthetic:5")
    assert document["images"] == 5
    assert document["mean_f1"] == pytest.approx(expected["mean_f1"], abs=1e-3)
    assert document["pixel_accuracy"] == pytest.approx(expected["pixel_accuracy"], abs=1e-3)
    assert list(document) == ["images", "pixel_accuracy", "mean_f1", "miou", "f1", "groups"]
    assert {"eyes", "brows", "nose", "mouth", "overall"} == set(document["groups"])
    assert expected["pixel_accuracy"] > 0


def test_a_limit_spreads_over_the_data():
    names = evaluation_data("synthetic:10", None, 3).names
    assert [name[-1] for name in names] == ["0", "3", "6"]
    assert len(evaluation_data("synthetic:2", None, 3)) == 2


def test_classes_must_be_those_of_the_data(tmp_path, checkpoint):
    import json

    from PIL import Image

    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "images" / "a.png")
    Image.new("L", (64, 64)).save(tmp_path / "masks" / "a.png")
    label_set = {"name": "p", "classes": ["background", "person"], "palette": [[0] * 3, [9] * 3]}
    (tmp_path / "labels.json").write_text(json.dumps(label_set))
    with pytest.raises(DataError, match=r"a\.pt: has 19 classes .* has 2"):
        evaluate(checkpoint, str(tmp_path))


def test_a_device_must_be_there(checkpoint):
    with pytest.raises(UsageError, match="tpu is not known"):
        evaluate(checkpoint, "synthetic:2", device="tpu")
    with pytest.raises(UnavailableError, match="cuda:63"):
        evaluate(checkpoint, "synthetic:2", device="cuda:63")
