import contextlib
import importlib.util
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from export.checks.parity import FLOORS
from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.tail import TAILS
from export.runtimes import RUNTIMES, open_session
from export.system.files import only_one
from toolchain.cli import run
from toolchain.cli.export import export
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import open_part
from toolchain.deploy import deployment
from toolchain.deploy.deployment import FASTEST, load_network
from toolchain.training.checkpoints import save_checkpoint

GENOTYPE = "[[0, [0, 1, 1, 9]], [[0, 1]]]"
DATA = "synthetic:60"
SMALL = ("--encoder", "ghostnet-0.25", "--input-size", 64, "--images", 2)
Export = tuple[int, dict[str, Any], Path]


def call(*arguments: Any) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run([str(argument) for argument in arguments])
    return code, out.getvalue()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export")
    precisions = ("--precision", "fp32", "--precision", "fp16", "--precision", "int8")
    quantise = ("--calibration", "synthetic:2", "--probabilities", "--min-agreement", 0)
    quantise += ("--licence", "for tests only")
    code, out = call(
        "export", "--genotype", GENOTYPE, "--onnx", *SMALL, *precisions, *quantise,
        "--output", folder, "--json",
    )  # fmt: skip
    return code, json.loads(out), folder


def test_document_is_as_promised(exported: Export) -> None:
    code, document, folder = exported
    assert code == 0
    assert [file["precision"] for file in document["files"]] == ["fp32", "fp16", "int8"]
    for file, name in zip(
        document["files"], ("model.onnx", "model-fp16.onnx", "model-int8.onnx"), strict=True
    ):
        assert file["path"] == str(folder / name)
        assert file["size_bytes"] == (folder / name).stat().st_size
        assert (file["format"], file["opset"]) == ("onnx", 18)
    keys = {"reference", "images", "argmax_agreement", "max_abs_error", "passed"}
    assert keys <= document["parity"].keys()
    assert document["parity"] in [file["parity"] for file in document["files"]]
    for file in document["files"]:
        assert file["parity"] in file["parities"]
        assert (file["parity"]["runtime"], file["parity"]["device"]) == ("onnxruntime", "cpu")
        assert file["parity"]["not_finite"] == 0
        assert file["engine"] is None
    assert (document["split"], document["seen_in_training"]) == (None, None)
    assert json.loads((folder / "export.json").read_text()) == document


def test_fp32_agrees_with_torch(exported: Export) -> None:
    parity = exported[1]["files"][0]["parity"]
    assert parity["argmax_agreement"] > 0.9999
    assert parity["images"] == 2
    assert parity["max_abs_error"] < 1e-4


def test_files_run_and_say_what_they_are(exported: Export) -> None:
    _, document, _ = exported
    for file in document["files"]:
        with open_session(file["path"], threads=1) as session:
            outputs = session.run({"image": np.zeros((1, 64, 64, 3), np.uint8)})
            metadata = ModelMetadata.read(session.metadata, file["path"])
        assert outputs["labels"].shape == (1, 64, 64)
        assert outputs["probabilities"].shape[:2] == (1, 19)
        assert metadata.genotype == GENOTYPE
        assert (metadata.encoder, metadata.input_size) == ("ghostnet-0.25", 64)
        assert (metadata.classes[0], len(metadata.palette)) == ("background", 19)
        assert metadata.licence == "for tests only"


def test_worst_picture_lies_beside_a_file_that_disagrees(exported: Export) -> None:
    _, document, folder = exported
    for file in document["files"]:
        worst = file["parity"]["worst_map"]
        assert (worst is None) == (file["parity"]["argmax_agreement"] == 1)
        assert worst is None or Path(worst).parent == folder


def test_checkpoint_fails_its_gate_and_says_so(cli, tmp_path: Path) -> None:
    network, info = load_network(None, GENOTYPE, "ghostnet-0.25")
    save_checkpoint(tmp_path / "best.pt", info, network.state_dict())
    result = cli(
        "export", tmp_path / "best.pt", "--onnx", *SMALL, "--precision", "int8",
        "--calibration", "synthetic:2", "--min-agreement", 1, "--output", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 1
    assert "FAILED" in result.out
    last = result.err.strip().splitlines()[-1]
    assert last.startswith(f"FAILED: {tmp_path / 'out' / 'model-int8.onnx'}: ")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock",
        "export.json",
        "model-int8-worst.png",
        "model-int8.onnx",
    ]


def test_f1_by_class_and_its_floor(cli, tmp_path: Path) -> None:
    result = cli(
        "export", "--genotype", GENOTYPE, "--onnx", *SMALL, "--precision", "fp32",
        "--precision", "int8", "--calibration", "synthetic:3", "--data", "synthetic:60:1",
        "--min-agreement", 0, "--max-f1-loss", 1, "--min-f1", 0.5, "--tail", "cells", "--bundle",
        "--output", tmp_path, "--json",
    )  # fmt: skip
    assert result.code == 1
    assert "mean F1 is 0.0" in result.err
    plain, int8 = result.document["files"]
    assert plain["f1"]["images"] == 2
    assert (result.document["split"], result.document["seen_in_training"]) == ("val", 0)
    assert plain["f1"]["loss"] == pytest.approx(0, abs=1e-4)
    assert plain["f1"]["f1"].keys() >= {"background", "skin", "hair"}
    assert not plain["f1"]["passed"]
    assert int8["float_parts"]["names"] == []  # it may lose everything
    assert result.document["tail"] == {"name": "cells", "latency_ms": {}}
    assert result.document["bundle"] is None  # a gate failed
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("said", "flags", "sizes"),
    [
        ((64, None), ("--input-size", 128, "--working-size", 64), (128, 64)),
        ((128, 96), (), (128, 96)),
        ((128, 96), ("--input-size", 192), (192, 96)),
        ((128, 96), ("--input-size", 96), (96, None)),
        ((128, 96), ("--working-size", 128), (128, None)),
        ((128, 96), ("--working-size", 64), (128, 64)),
    ],
)
def test_sizes_are_those_of_the_training_unless_told(
    cli, tmp_path: Path, said: tuple[int, Any], flags: tuple[Any, ...], sizes: tuple[int, Any]
) -> None:
    network, info = load_network(None, GENOTYPE, "ghostnet-0.1")
    info = replace(info, input_size=said[0], working_size=said[1])
    save_checkpoint(tmp_path / "best.pt", info, network.state_dict())
    result = cli(
        "export", tmp_path / "best.pt", "--onnx", *flags, "--tail", "resize", "--images", 2,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 0, result.err
    with open_session(tmp_path / "out" / "model.onnx", threads=1) as session:
        metadata = ModelMetadata.read(session.metadata)
        assert session.inputs[0].shape == (1, sizes[0], sizes[0], 3)
        assert session.outputs[0].shape == (1, sizes[0], sizes[0])
    assert (metadata.input_size, metadata.working_size) == sizes


def test_a_working_size_in_every_form(cli, tmp_path: Path) -> None:
    """All precisions, F1, choice of float parts, the measured tail, any batch, the bundle."""
    sizes = ("--encoder", "ghostnet-0.1", "--input-size", 128, "--working-size", 96, "--images", 2)
    result = cli(
        "export", "--genotype", GENOTYPE, "--onnx", *sizes, "--precision", "fp32",
        "--precision", "fp16", "--precision", "int8", "--calibration", "synthetic:60",
        "--data", "synthetic:60:1", "--min-agreement", 0, "--max-f1-loss", 1, "--any-batch",
        "--bundle", "--output", tmp_path, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    plain, half, int8 = result.document["files"]
    assert plain["parity"]["argmax_agreement"] > 0.9999
    assert plain["f1"]["loss"] == pytest.approx(0, abs=1e-4)
    assert half["parity"]["argmax_agreement"] > 0.99
    assert int8["parity"]["argmax_agreement"] > 0.5
    assert set(result.document["tail"]["latency_ms"]) == set(TAILS)
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "| working size | 96 |" in card
    judged = cli("evaluate", plain["path"], "--data", "synthetic:60", "--limit-images", 2, "--json")
    assert (judged.code, judged.document["images"]) == (0, 2)


@pytest.fixture
def taught(tmp_path: Path) -> Path:
    """Write a checkpoint that was trained on the training images of DATA."""
    network, info = load_network(None, GENOTYPE, "ghostnet-0.25")
    info = replace(
        info,
        seen=SeenImages.of(open_part(DATA, "train")).encode(),
        training={"data": DATA, "parts": ["train"]},
    )
    save_checkpoint(tmp_path / "taught.pt", info, network.state_dict())
    return tmp_path / "taught.pt"


def test_images_that_were_trained_on_are_refused(cli, taught: Path, tmp_path: Path) -> None:
    arguments = (taught, "--onnx", *SMALL, "--tail", "resize", "--data", DATA, "--split", "train")
    arguments += ("--output", tmp_path / "out", "--json")
    result = cli("export", *arguments)
    assert (result.code, result.out) == (2, "")
    assert f"{DATA}: the model was trained on 2 of these 2 images (split train)" in result.err
    assert not (tmp_path / "out").exists()
    document = cli("export", *arguments, "--force").document
    assert (document["split"], document["seen_in_training"]) == ("train", 2)
    assert document["files"][0]["f1"]["images"] == 2


@pytest.mark.parametrize("split", ["val", "train", "calibration"])
def test_int8_is_made_by_other_images_than_it_is_judged_on(
    cli,
    taught: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names_read: set[str],
    split: str,
) -> None:
    """Whatever is judged: its own part, then training images, without those that are judged."""
    ranges: set[str] = set()
    choice: set[str] = set()
    quantiser, choose = deployment.Quantiser, deployment.choose_int8

    def quantise(path: Path, pictures: Iterable[Any], *rest: Any) -> Any:
        names_read.clear()
        drawn = list(pictures)
        ranges.update(names_read)
        return quantiser(path, drawn, *rest)

    def choosing(*arguments: Any, **options: Any) -> Any:
        names_read.clear()
        found = choose(*arguments, **options)
        choice.update(names_read)
        names_read.clear()
        return found

    monkeypatch.setattr(deployment, "Quantiser", quantise)
    monkeypatch.setattr(deployment, "choose_int8", choosing)
    monkeypatch.setattr(deployment, "CALIBRATION_IMAGES", 4)
    monkeypatch.setattr(deployment, "CHOICE_IMAGES", 6)
    result = cli(
        "export", taught, "--onnx", "--input-size", 64, "--images", 50, "--tail", "resize",
        "--precision", "int8", "--data", DATA, "--split", split, "--force", "--calibration", DATA,
        "--min-agreement", 0, "--min-class-agreement", 0, "--max-f1-loss", 1,
        "--output", tmp_path / "x",
    )  # fmt: skip
    assert result.code == 0, result.err
    judged = names_read  # what was read after the last choice
    own, train = (set(open_part(DATA, part).names) for part in ("calibration", "train"))
    assert judged == set(open_part(DATA, split).names)
    assert choice <= (own | train) - judged
    assert ranges <= choice
    # All training images are judged: only those that are kept for calibration are left.
    assert (len(choice), len(ranges)) == ((3, 3) if split == "train" else (6, 4))
    assert split == "calibration" or own <= ranges


def test_what_was_seen_travels_but_is_never_shown(cli, taught: Path, tmp_path: Path) -> None:
    seen = SeenImages.of(open_part(DATA, "train"))
    result = cli(
        "export", taught, "--onnx", *SMALL, "--tail", "resize", "--bundle", "--precision", "fp32",
        "--precision", "fp16", "--output", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 0, result.err
    files = list((tmp_path / "out").rglob("*.onnx"))
    assert len(files) == 4
    for file in files:
        with open_session(file, threads=1) as session:
            metadata = ModelMetadata.read(session.metadata, file)
        assert SeenImages.decode(str(metadata.seen)) == seen
        judged = cli("evaluate", file, "--data", DATA, "--split", "train", "--limit-images", 2)
        assert (judged.code, "the model was trained on 2 of these 2" in judged.err) == (2, True)
    texts = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".json", ".md")]
    assert {path.name for path in texts} >= {"export.json", "README.md", "bundle.json"}
    shown = [result.out, result.err, *(path.read_text() for path in texts)]
    assert not any(seen.encode()[:20] in text for text in shown)
    assert "parts" in (tmp_path / "out" / "bundle" / "README.md").read_text()


def test_bundle_and_any_size(cli, tmp_path: Path) -> None:
    result = cli(
        "export", "--genotype", GENOTYPE, "--onnx", *SMALL, "--any-size", "--tail", "resize",
        "--bundle", "--output", tmp_path,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.out.rstrip().endswith("PASSED")
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert GENOTYPE in card
    assert str(tmp_path) not in card
    with open_session(tmp_path / "bundle" / "model.onnx", threads=1) as session:
        images = np.zeros((1, 96, 32 * 4, 3), np.uint8)
        assert session.run({"image": images})["labels"].shape == (1, 96, 128)


def test_tensorrt_needs_tensorrt(cli, tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    result = cli(
        "export", "--genotype", GENOTYPE, "--tensorrt", *SMALL, "--output", tmp_path / "out"
    )
    assert result.code == 3
    assert "pip install tensorrt" in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--onnx"], "give a CHECKPOINT or --genotype GENOTYPE, one of them"),
        ([__file__, "--onnx", "--genotype", GENOTYPE], "one of them"),
        (["--genotype", GENOTYPE, "--gpu", "sm86"], "give --runtime tensorrt-rtx too"),
        (
            ["--genotype", GENOTYPE, "--target", "gpu", "--tail", "boundaries"],
            "--tail boundaries is for CPUs",
        ),
        (["none.pt", "--onnx"], "none.pt: does not exist"),
        (["--onnx", "--genotype", "[[99, [0, 1, 1, 9]], [[0, 1]]]"], "99"),
        (["--onnx", "--genotype", GENOTYPE, "--encoder", "resnet"], "no encoder is named 'resnet'"),
        (["--onnx", "--genotype", GENOTYPE, "--precision", "int8"], "give --calibration DATA"),
        (["--onnx", "--genotype", GENOTYPE, "--precision", "int4"], "'int4' is not one of"),
        (["--onnx", "--genotype", GENOTYPE, "--input-size", "8"], "8 is not in the range"),
        (["--onnx", "--genotype", GENOTYPE, "--working-size", "100"], "100 is no multiple of 32"),
        (["--onnx", "--genotype", GENOTYPE, "--working-size", "544"], "up to the input size 512"),
        (["--onnx", "--genotype", GENOTYPE, "--data", "nowhere"], "nowhere: is not a folder"),
        (["--onnx", "--genotype", GENOTYPE, "--min-f1", "0.5"], "give --data DATA"),
        (["--onnx", "--genotype", GENOTYPE, "--split", "val"], "give --data DATA"),
        (["--onnx", "--genotype", GENOTYPE, "--split", "some"], "'some' is not one of"),
        (["--onnx", "--genotype", GENOTYPE, "--data", "synthetic:2"], "has 2 images"),
        (
            [
                "--onnx",
                "--genotype",
                GENOTYPE,
                "--precision",
                "int8",
                "--calibration",
                "synthetic:1",
            ],
            "synthetic:1: has no images for calibration",
        ),
        (["--onnx", "--genotype", GENOTYPE, "--min-agreement", "2"], "2.0 is not in the range"),
    ],
)
def test_wrong_use_is_one_line(cli, tmp_path: Path, arguments: list[str], words: str) -> None:
    result = cli("export", *arguments, "--output", tmp_path / "out")
    assert result.code == 2
    assert words in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not result.out
    assert not (tmp_path / "out").exists()


def test_checkpoint_that_is_something_else(cli, tmp_path: Path) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(b"nothing of torch")
    result = cli("export", path, "--onnx")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"nastool: {path}: ")


def test_flags_name_what_the_library_has() -> None:
    choices = {option.name: getattr(option.type, "choices", None) for option in export.params}
    assert set(choices["tail"]) == {FASTEST, *TAILS}
    assert set(choices["precisions"]) == set(FLOORS)
    assert set(choices["runtime"]) == set(RUNTIMES)


def test_a_full_disk_and_a_folder_at_work_are_one_line(
    mount: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    disk = mount("tmpfs", "size=100k")
    export = ("export", "--genotype", GENOTYPE, *SMALL, "--output", disk / "e")
    with only_one(disk / "e"):
        assert call(*export)[0] == 2
    line = capsys.readouterr().err
    assert "another process is at work there" in line
    assert "fastest" not in line, "it is said before anything is measured"
    assert call(*export, "--tail", "resize")[0] == 2
    line = capsys.readouterr().err
    assert line.endswith("model.onnx: cannot be written (No space left on device); make room\n")
    assert "Traceback" not in line
    assert not list(disk.iterdir())


def test_photographs_alone_calibrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to choose by what stays in float, which is said."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for sample in open_part("synthetic:60", "calibration"):
        Image.fromarray(sample.image).save(folder / f"{sample.name}.jpg")
    code, out = call(
        "export", "--genotype", GENOTYPE, *SMALL, "--precision", "int8", "--calibration", folder,
        "--data", DATA, "--min-agreement", 0, "--min-class-agreement", 0, "--max-f1-loss", 1,
        "--tail", "resize", "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert code == 0
    (file,) = json.loads(out)["files"]
    assert file["float_parts"] is None
    assert "photographs alone do not tell what int8 costs" in capsys.readouterr().err
