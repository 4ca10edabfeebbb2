import numpy as np
import pytest
import torch
from PIL import Image

from toolchain.cli.training import SPLITS
from toolchain.datasets import open_dataset
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import first, open_part
from toolchain.datasets.writing import write_folder
from toolchain.training.checkpoints import CheckpointInfo, load_segmenter, save_checkpoint

DATA = "synthetic:60"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    seen = SeenImages.of(open_part(DATA, "train")).encode()
    info = CheckpointInfo(
        "[[2], [[0, 1]]]", "ghostnet-0.1", 8, CELEBAMASK_HQ, 64, "none", seen=seen
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "a.pt"
    save_checkpoint(path, info, info.build().state_dict())
    return path


def test_evaluate_gives_the_promised_document(cli, checkpoint):
    result = cli("evaluate", checkpoint, "--data", DATA, "--limit-images", 3, "--json")
    assert result.code == 0
    document = result.document
    assert set(document) == {
        *("images", "split", "seen_in_training", "own_size"),
        *("pixel_accuracy", "mean_f1", "miou", "f1", "groups", "framing", "mirrored", "faceless"),
    }
    assert document["framing"] == []
    assert list(document["f1"]) == list(CELEBAMASK_HQ.classes)
    assert set(document["groups"]) == {"eyes", "brows", "nose", "mouth", "overall"}
    assert (document["images"], document["split"], document["seen_in_training"]) == (3, "val", 0)
    assert "3 images of val" in cli("evaluate", checkpoint, "--data", DATA, "--limit-images", 3).out


def test_pictures_without_a_face_are_background_or_found_out(cli, checkpoint, tmp_path):
    """A network whose biases see background everywhere, and one whose biases see skin."""
    for name, side in (("desk", 40), ("cup", 90)):
        Image.new("RGB", (side, 30), "brown").save(tmp_path / f"{name}.png")
    network, info = load_segmenter(checkpoint)
    command = ("--data", DATA, "--images", 2, "--faceless", tmp_path)
    for label, share in ((0, 0.0), (1, 1.0)):
        network.decoder.classifier.bias.data[:] = 0
        network.decoder.classifier.bias.data[label] = 1e4
        path = tmp_path / f"{label}.pt"
        save_checkpoint(path, info, network.state_dict())
        found = cli("evaluate", path, *command, "--json").document["faceless"]
        assert (found["pictures"], found["share"], found["worst"]["share"]) == (2, share, share)
        assert found["worst"]["name"] in ("desk", "cup")
    said = cli("evaluate", path, *command).out
    assert "100.0% of 2 pictures without a face is taken for one; most of cup, 100%" in said
    result = cli("evaluate", path, "--data", DATA, "--faceless", tmp_path / "none")
    assert (result.code, "none: does not exist (--faceless)" in result.err) == (2, True)


def test_framing_scores_faces_that_do_not_fill_the_picture(cli, checkpoint):
    command = ("evaluate", checkpoint, "--data", DATA, "--limit-images", 3)
    document = cli(*command, "--framing", "1,0.5", "--json").document
    whole, half = document["framing"]
    assert (whole["scale"], half["scale"]) == (1.0, 0.5)
    assert whole["f1"] == document["f1"]
    assert half["f1"] != document["f1"]
    assert "at 0.5 of the frame" in cli(*command, "--framing", "0.5").out
    for wrong, words in (
        ("0", "--framing 0 is not 0.02 to 1"),
        ("1.5", "--framing 1.5 is not 0.02 to 1"),
        ("1e-9", "--framing 1e-09 is not 0.02 to 1"),
        ("half", "--framing half is not a list of numbers"),
    ):
        result = cli(*command, "--framing", wrong)
        assert (result.code, words in result.err) == (2, True)


def test_mirror_images_are_scored_with_left_and_right_exchanged(cli, checkpoint, tmp_path):
    write_folder([(None, first(open_part(DATA, "val"), 3))], tmp_path)

    def change(action):
        for path in tmp_path.glob("*/*.png"):
            with Image.open(path) as picture:
                pixels = action(np.asarray(picture), path.parent.name)
            Image.fromarray(pixels).save(path)

    def turned(pixels, kind):
        pixels = np.ascontiguousarray(pixels[:, ::-1])
        return np.array(CELEBAMASK_HQ.mirrored, np.uint8)[pixels] if kind == "masks" else pixels

    change(lambda pixels, _: pixels[:64, :64])  # the model's size: nothing is resized
    command = ("evaluate", checkpoint, "--data", tmp_path, "--split", "all")
    document = cli(*command, "--mirrored", "--json").document
    assert "mirrored" in cli(*command, "--mirrored").out
    change(turned)
    assert cli(*command, "--json").document["f1"] == document["mirrored"]["f1"] != document["f1"]


@pytest.mark.parametrize("split", SPLITS)
def test_each_part_is_judged_or_refused(cli, checkpoint, names_read, split):
    judged = ("evaluate", checkpoint, "--data", DATA, "--split", split)
    result = cli(*judged, "--json")
    if split == "test":
        assert (result.code, "has no test images of its own" in result.err) == (2, True)
    elif split in ("train", "all"):
        count = len(open_part(DATA, "train"))
        assert (result.code, result.out) == (2, "")
        assert f"trained on {count} of these " in result.err
        assert len(result.err.splitlines()) == 1
        assert not names_read
        forced = cli(*judged, "--force", "--json").document
        assert forced["seen_in_training"] == count
        assert forced["images"] == (60 if split == "all" else count)
        assert f"{count} of them were seen in training" in cli(*judged, "--force").out
    else:
        assert result.document["seen_in_training"] == 0
        assert names_read == set(open_part(DATA, split).names)


def test_the_sources_own_test_images_come_first(cli, checkpoint, tmp_path):
    faces = open_dataset("synthetic:6:1")
    parts = [
        (split, faces.subset([2 * place, 2 * place + 1]))
        for place, split in enumerate(("train", "val", "test"))
    ]
    write_folder(parts, tmp_path)
    result = cli("evaluate", checkpoint, "--data", tmp_path, "--json")
    assert (result.document["split"], result.document["images"]) == ("test", 2)
    result = cli("evaluate", checkpoint, "--data", tmp_path, "--split", "val", "--json")
    assert (result.document["split"], result.document["images"]) == ("val", 2)


def test_a_checkpoint_of_the_first_version_reports_null(cli, checkpoint, tmp_path):
    document = torch.load(checkpoint, weights_only=True)
    del document["seen"]
    torch.save({**document, "format_version": 1}, tmp_path / "old.pt")
    result = cli("evaluate", tmp_path / "old.pt", "--data", DATA, "--limit-images", 2, "--json")
    assert result.code == 0
    assert result.document["seen_in_training"] is None
    assert len(result.err.splitlines()) == 1
    assert "does not say which images it was trained on" in result.err


def test_a_floor_is_a_gate(cli, checkpoint):
    few = ("--data", DATA, "--limit-images", 2)
    failed = cli("evaluate", checkpoint, *few, "--min-f1", "0.99")
    assert failed.code == 1
    assert "FAILED: mean F1 0." in failed.err
    assert "F1 nose" in failed.out
    assert cli("evaluate", checkpoint, *few, "--min-f1", "0").code == 0


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.pt", None, "does not exist"),
        ("a.pt", b"PK", "is not a torch file"),
        ("a.onnx", None, "does not exist"),
        ("a.onnx", b"\x08\x07garbage", "may be truncated: copy it again, or export it again"),
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
