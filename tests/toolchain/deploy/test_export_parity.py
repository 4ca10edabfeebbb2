"""Exported files of random genotypes against torch: mixed branches, cells and encoders."""

import random
import time
from itertools import cycle
from pathlib import Path

import pytest
import torch

from export.checks.parity import FLOORS, Subject, check_parity
from export.onnx_file.tail import TAILS
from export.onnx_file.writing import export_onnx
from tests.toolchain.settled_norms import settle_norms
from toolchain.datasets import open_dataset
from toolchain.datasets.base import resize_sample
from toolchain.networks.encoders import encoder_names
from toolchain.networks.segmenter import build_segmenter
from toolchain.profiling.networks import random_genotypes
from toolchain.training.checkpoints import CheckpointInfo

SIZE = 64
FLOOR = 0.9999


def export_random(count: int, seed: int, folder: Path) -> list[tuple[str, float, float]]:
    """Export random networks; return each one's name, agreement and seconds."""
    faces = open_dataset("synthetic:3:5")
    pictures = [(s.name, s.image) for s in (resize_sample(face, SIZE) for face in faces)]
    encoders, tails = cycle(encoder_names()), cycle(TAILS)
    found = []
    for genotype in random_genotypes(count, random.Random(seed)):
        encoder, tail = next(encoders), next(tails)
        torch.manual_seed(0)
        network = settle_norms(build_segmenter(genotype, encoder), torch.randn(2, 3, SIZE, SIZE))
        info = CheckpointInfo(
            str(genotype), encoder, network.aggregation, faces.label_set, SIZE, "random weights"
        )
        started = time.monotonic()
        deployable = network.deployable(SIZE)
        path = export_onnx(
            deployable,
            folder / "model.onnx",
            metadata=info.metadata(),
            input_size=SIZE,
            tail=tail,
        )
        seconds = time.monotonic() - started
        subject = Subject(path, FLOORS["fp32"], {"threads": 1})
        classes = faces.label_set.classes
        (parity,) = check_parity(deployable, [subject], pictures, classes)
        found.append((f"{genotype} on {encoder}, {tail}", parity.argmax_agreement, seconds))
        # A long run that is stopped has still said what it found.
        print(f"{parity.argmax_agreement:.6f} {seconds:5.1f} s {found[-1][0]}", flush=True)
    return found


@pytest.mark.parametrize(
    ("count", "seed"),
    [(4, 0), pytest.param(300, 1, marks=[pytest.mark.slow, pytest.mark.timeout(6 * 3600)])],
)
def test_random_genotypes_agree_with_torch(count: int, seed: int, tmp_path: Path) -> None:
    found = export_random(count, seed, tmp_path)
    failed = [(name, agreement) for name, agreement, _ in found if agreement < FLOOR]
    slowest = max(found, key=lambda entry: entry[2])
    print(
        f"{count - len(failed)} of {count} agree in {FLOOR:.2%} of the pixels; least "
        f"{min(agreement for _, agreement, _ in found):.6f}; median export "
        f"{sorted(entry[2] for entry in found)[count // 2]:.1f} s, slowest {slowest[2]:.1f} s: "
        f"{slowest[0]}"
    )
    assert not failed
