"""From one command to the next: which images each of them really reads."""

import pytest
import torch

from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import PARTS, open_part
from toolchain.training.checkpoints import read_checkpoint

DATA = "synthetic:60"
SMALL = ("--data", DATA, "--encoder", "ghostnet-0.1", "--input-size", 64)


@pytest.fixture
def images(names_read):
    """Say which images were read since the last time."""

    def since():
        found = set(names_read)
        names_read.clear()
        return found

    return since


def names(*parts):
    return {name for part in parts for name in open_part(DATA, part).names}


def test_commands_touch_their_own_images_only(cli, tmp_path, images):
    once = ("--epochs", 1)
    result = cli("pretrain", *SMALL, *once, "--output", tmp_path / "encoder", "--json")
    assert result.code == 0, result.err
    assert images() == names("train", "search-score")
    start = result.document["checkpoint"]

    genotype = ("--genotype", "2 [0,1,0,9] [0,1] [2,4]")
    arguments = (
        *genotype,
        "--weights",
        start,
        "--teacher",
        start,
        "--output",
        tmp_path / "network",
    )
    result = cli("train", *SMALL, *once, *arguments, "--with-search-images", "--json")
    assert result.code == 0, result.err
    assert images() == names("train", "search-train", "search-score")
    best = result.document["checkpoint"]
    for path, parts in ((start, ["train"]), (best, ["train", "search-train"])):
        info, _ = read_checkpoint(path)
        seen = SeenImages.of(*(open_part(DATA, part) for part in parts))
        assert SeenImages.decode(info.seen) == seen

    judged = cli("evaluate", best, "--data", DATA, "--json")
    assert judged.document["seen_in_training"] == 0
    assert images() == names("val")
    refused = cli("evaluate", best, "--data", DATA, "--split", "search-train")
    assert (refused.code, "trained on 9 of these 9 images" in refused.err) == (2, True)

    result = cli(
        "export", best, "--onnx", "--tail", "resize", "--precision", "int8", "--data", DATA,
        "--calibration", DATA, "--min-agreement", 0, "--min-class-agreement", 0, "--max-f1-loss", 1,
        "--output", tmp_path / "x", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert (result.document["split"], result.document["seen_in_training"]) == ("val", 0)
    assert images() == names("calibration", "train", "val")

    # What the networks learned from and were chosen by is never what figures are of.
    used = names("train", "search-train", "search-score", "calibration")
    assert not used & names("val")


def test_figures_do_not_depend_on_where_the_images_lie(cli, tmp_path):
    """A copy of the training images in another folder is known all the same."""
    faces = tmp_path / "faces"
    assert cli("faces", "--data", DATA, "--output", faces).code == 0
    small = ("--data", faces, *SMALL[2:], "--epochs", 1, "--output", tmp_path / "network")
    result = cli("train", *small, "--genotype", "1 [0,1]", "--json")
    assert result.code == 0, result.err
    best = result.document["checkpoint"]
    copies = tmp_path / "copies"
    for kind in ("images", "masks"):
        (copies / "test" / kind).mkdir(parents=True)
        for number, file in enumerate(sorted((faces / kind).iterdir())):
            (copies / "test" / kind / f"{number}.png").write_bytes(file.read_bytes())
    trained_on = len(open_part(str(faces), "train"))
    result = cli("evaluate", best, "--data", copies)
    assert (result.code, f"trained on {trained_on} of these 60" in result.err) == (2, True)
    result = cli("evaluate", best, "--data", faces, "--json")
    assert (result.code, result.document["seen_in_training"]) == (0, 0)


def test_pretraining_takes_no_images_of_a_search(cli, tmp_path):
    result = cli("pretrain", *SMALL, "--with-search-images", "--output", tmp_path)
    assert (result.code, "No such option" in result.err) == (2, True)
    assert "--with-search-images" in result.err


def test_a_search_and_its_ranking_touch_their_own_images_only(cli, tmp_path, images):
    data = "synthetic:160"
    parts = {part: set(open_part(data, part).names) for part in PARTS if part != "test"}
    searched = cli(
        *("search", "--data", data, "--encoder", "ghostnet-0.1", "--run", tmp_path / "run"),
        *("--branches", 1, "--cells", 1, "--trials", 5, "--rescore", 2, "--batch-size", 8),
        *("--search-size", 32, "--decoder-epochs", 1, "--joint-epochs", 0),
    )
    assert searched.code == 0, searched.err
    assert images() == parts["search-train"] | parts["search-score"]
    ranked = cli("rank", tmp_path / "run", "--trials", 5, "--epochs", 1, "--images", 16)
    assert ranked.code == 0, ranked.err
    read = images()
    assert parts["val"] <= read <= parts["val"] | parts["train"]
    assert len(read - parts["val"]) == 16


def test_a_search_refuses_weights_that_know_the_images_to_score_on(cli, tmp_path):
    data = "synthetic:160"
    arguments = ("--encoder", "ghostnet-0.1", "--input-size", 64, "--epochs", 1)
    trained = cli("pretrain", "--data", data, *arguments, "--output", tmp_path / "a", "--json")
    best = trained.document["checkpoint"]
    document = torch.load(best, weights_only=True)
    document["seen"] = SeenImages.of(open_part(data, "search-score")).encode()
    torch.save(document, tmp_path / "leaky.pt")
    result = cli(
        *("search", "--data", data, "--encoder", "ghostnet-0.1", "--run", tmp_path / "run"),
        *("--trials", 1, "--batch-size", 8, "--weights", tmp_path / "leaky.pt"),
    )
    count = len(open_part(data, "search-score"))
    assert result.code == 2
    assert f"leaky.pt: was trained on {count} of the {count} images that candidates" in result.err
