"""The tutorial on one's own data, run from its first command to its last, at small sizes."""

import json

import numpy as np
import pytest
from documented import ROOT, commands
from PIL import Image

from toolchain.cli import run
from toolchain.datasets import open_dataset
from toolchain.datasets.labels import CELEBAMASK_HQ

TEXT = (ROOT / "docs/tutorials/own-data.md").read_text(encoding="utf-8")
# What follows needs files that the reader has.
STEPS = commands(TEXT.partition("## What can go wrong")[0])

CLASSES = ["background", "face", "hair"]
PAIRS = 160
WORDS = {"CLASSES": str(len(CLASSES))}
# Of what is given twice, the last counts.
SMALL = {
    "profile-device": "--input-size 64 --threads 1 --seconds 0.01 --max-drift 1000000 "
    "--fit-networks 10 --certify-networks 10",
    "pretrain": "--input-size 64 --epochs 1 --no-augment --limit-images 16",
    "search": "--input-size 64 --search-size 64 --search-images 8 --search-validation 4 "
    "--decoder-epochs 1 --joint-epochs 0 --batch-size 4 --trials 2 --rescore 1",
    "train": "--epochs 1 --no-augment --limit-images 8",
    "evaluate": "--limit-images 4",
    "export": "--images 2 --tail resize",
    "benchmark": "--seconds 0.2 --threads 1",
    "demo": "--limit 2",
}


def write_own_data(root):
    """Write faces with three classes, as somebody's own data is."""
    background, hair = (CELEBAMASK_HQ.classes.index(name) for name in ("background", "hair"))
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for sample in open_dataset(f"synthetic:{PAIRS}"):
        mask = np.where(sample.labels == background, 0, np.where(sample.labels == hair, 2, 1))
        small = Image.fromarray(sample.image).resize((96, 96))
        small.save(root / "images" / f"{sample.name}.jpg")
        Image.fromarray(mask.astype(np.uint8)).resize((96, 96), Image.Resampling.NEAREST).save(
            root / "masks" / f"{sample.name}.png"
        )
    labels = {
        "name": "portrait",
        "classes": CLASSES,
        "palette": [[0, 0, 0], [236, 178, 140], [110, 70, 40]],
        "swaps": [],
    }
    (root / "labels.json").write_text(json.dumps(labels), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_goes_through(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_own_data(tmp_path / "DATA")
    for step in STEPS:
        words = [WORDS.get(word, word) for word in step] + SMALL.get(step[0], "").split()
        assert run(words) == 0, f"nastool {' '.join(words)}\n{capsys.readouterr().err}"
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "runs/best/training.html").is_file()
    assert list((tmp_path / "frames").iterdir())


def test_the_tutorial_has_steps():
    assert {step[0] for step in STEPS} >= {"profile-device", "search", "train", "export", "demo"}
    assert set(SMALL) <= {step[0] for step in STEPS}
