from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from export.onnx_file.writing import export_onnx
from export.system.errors import DataError, UnavailableError, UsageError
from toolchain.datasets.base import FaceDataset, Sample
from toolchain.datasets.labels import LabelSet
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import open_part
from toolchain.datasets.synthetic import SyntheticFaces
from toolchain.training.checkpoints import save_checkpoint
from toolchain.training.evaluation import Model, evaluate, score_at_own_size

DATA = "synthetic:60"


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
    images = {"data": DATA, "limit_images": 5}
    expected = evaluate(checkpoint, **images)
    document = evaluate(checkpoint.with_suffix(".onnx"), **images)
    assert (document["images"], document["split"]) == (5, "val")
    assert document["mean_f1"] == pytest.approx(expected["mean_f1"], abs=1e-3)
    assert document["pixel_accuracy"] == pytest.approx(expected["pixel_accuracy"], abs=1e-3)
    assert list(document) == [
        "images", "split", "seen_in_training", "own_size", "pixel_accuracy", "mean_f1", "miou",
        "f1", "groups", "framing", "mirrored", "faceless",
    ]  # fmt: skip
    assert {"eyes", "brows", "nose", "mouth", "overall"} == set(document["groups"])
    assert expected["pixel_accuracy"] > 0


@pytest.mark.parametrize("size", [{}, {"own_size": True}])
def test_masks_that_leave_out_every_pixel_are_no_score(tmp_path, checkpoint, size):
    for kind, pixels in (("images", np.zeros((64, 64, 3))), ("masks", np.full((64, 64), 255))):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(4):
            path = tmp_path / "data" / kind / f"{number}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    with pytest.raises(
        DataError, match=r"0\.png: the masks of this image and of the 3 others leave"
    ):
        evaluate(checkpoint, str(tmp_path / "data"), split="all", **size)


@pytest.mark.parametrize("working_size", [64, 96])
def test_a_working_size_is_inside_the_model(tmp_path, info, network, working_size, monkeypatch):
    """Scored is at the input's size, in torch as in the file; the network sees the smaller one."""
    network.train()(torch.rand(8, 3, 64, 64) * 2 - 1)
    said = info.at(128, working_size)
    save_checkpoint(tmp_path / "a.pt", said, network.state_dict())
    sizes = {"input_size": 128, "working_size": working_size}
    export_onnx(
        network.deployable(working_size), tmp_path / "a.onnx", metadata=said.metadata(), **sizes
    )
    seen = set()
    deployable = type(network).deployable

    def watched(network, size):
        result = deployable(network, size)
        result.register_forward_pre_hook(lambda _, given: seen.add(tuple(given[0].shape[1:])))
        return result

    monkeypatch.setattr(type(network), "deployable", watched)
    images = {"data": DATA, "limit_images": 4}
    expected = evaluate(tmp_path / "a.pt", **images)
    assert seen == {(3, working_size, working_size)}
    document = evaluate(tmp_path / "a.onnx", **images)
    assert document["mean_f1"] == pytest.approx(expected["mean_f1"], abs=1e-4)
    assert document["pixel_accuracy"] == pytest.approx(expected["pixel_accuracy"], abs=1e-4)
    assert 0 < expected["pixel_accuracy"] < 1


@pytest.fixture
def taught(tmp_path, info, network):
    """Write the network as one that was trained on a part, as a checkpoint and as a file."""

    def write(seen):
        said = replace(info, seen=None if seen is None else seen.encode())
        save_checkpoint(tmp_path / "b.pt", said, network.state_dict())
        export_onnx(
            network.deployable(64), tmp_path / "b.onnx", metadata=said.metadata(), input_size=64
        )
        return tmp_path / "b.pt", tmp_path / "b.onnx"

    return write


def test_images_that_were_trained_on_are_refused_unless_forced(taught):
    train, val = open_part(DATA, "train"), open_part(DATA, "val")
    for model in taught(SeenImages.of(train)):
        assert evaluate(model, DATA)["seen_in_training"] == 0
        with pytest.raises(DataError) as error:
            evaluate(model, DATA, split="train")
        assert f"{DATA}: the model was trained on {len(train)} of these" in str(error.value)
        assert "--split or --data, or insist with --force" in str(error.value)
        forced = evaluate(model, DATA, split="train", force=True)
        assert forced["seen_in_training"] == forced["images"] == len(train)
        assert evaluate(model, DATA, split="all", force=True)["seen_in_training"] == len(train)
    # One image is enough.
    for model in taught(SeenImages.of(val.subset([3]))):
        with pytest.raises(DataError, match=f"trained on 1 of these {len(val)} images"):
            evaluate(model, DATA)


def test_a_model_that_does_not_say_is_judged_with_a_warning(taught, caplog):
    for model in taught(None):
        caplog.clear()
        assert evaluate(model, DATA, split="train", limit_images=2)["seen_in_training"] is None
        assert [r.levelname for r in caplog.records] == ["WARNING"]
        assert "does not say which images it was trained on" in caplog.text


def test_a_damaged_record_of_images_is_named(taught):
    _, model = taught(SeenImages())
    document = onnx.load(model)
    (entry,) = (entry for entry in document.metadata_props if entry.key == "seen")
    entry.value = "?"
    onnx.save(document, model)
    with pytest.raises(DataError, match=r"b\.onnx: metadata 'seen' is no record of images"):
        evaluate(model, DATA)


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
        evaluate(checkpoint, str(tmp_path), split="all")


class OfTwoSizes(FaceDataset):
    """A red half to the left of a green one, 10 and 90 pixels high."""

    label_set = LabelSet("halves", ("background", "green"), ((255, 0, 0), (0, 255, 0)))
    licence, names = "drawn", ("small", "large")

    def read(self, index):
        labels = np.zeros(((10, 20), (90, 60))[index], np.uint8)
        labels[:, labels.shape[1] // 2 :] = 1
        return Sample(self.names[index], np.array(self.label_set.palette, np.uint8)[labels], labels)

    def image_path(self, index):
        return None


def test_predictions_are_compared_at_the_size_of_each_label_map():
    left = Model(lambda images: torch.zeros(images.shape[:3], dtype=torch.uint8), 32, (), 8)
    right = Model(lambda images: (images[..., 1] > 127).to(torch.uint8), 32, (), 8)
    assert score_at_own_size(right, OfTwoSizes()).counts.tolist() == [[2800, 0], [0, 2800]]
    assert score_at_own_size(left, OfTwoSizes()).counts.tolist() == [[2800, 0], [2800, 0]]


@pytest.mark.parametrize(("asked", "protocol", "own"), [
    (None, False, False), (None, True, True), (True, False, True), (False, True, False),
])  # fmt: skip
def test_the_protocol_of_the_data_says_where_to_compare(
    checkpoint, monkeypatch, asked, protocol, own
):
    monkeypatch.setattr(SyntheticFaces, "own_size", protocol)
    document = evaluate(checkpoint, DATA, limit_images=3, own_size=asked)
    assert document["own_size"] is own
    # At 64 pixels a picture of 512 has other shares of right pixels.
    other = evaluate(checkpoint, DATA, limit_images=3, own_size=not own)
    assert document["pixel_accuracy"] != other["pixel_accuracy"]


def test_a_device_must_be_there(checkpoint):
    with pytest.raises(UsageError, match="tpu is not known"):
        evaluate(checkpoint, DATA, device="tpu")
    with pytest.raises(UnavailableError, match="cuda:63"):
        evaluate(checkpoint, DATA, device="cuda:63")
