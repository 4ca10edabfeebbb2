"""Every tail against torch's own interpolation, and as the file that it becomes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.onnx_file.tail import DEFAULT_TAIL, TAILS
from export.onnx_file.writing import to_onnx
from export.runtimes import open_session


def smooth(batch: int, classes: int, h: int, w: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, classes, max(h // 4, 2), max(w // 4, 2), generator=generator)
    return F.interpolate(coarse, size=(h, w), mode="bicubic")


def noise(batch: int, classes: int, h: int, w: int) -> Tensor:
    return torch.randn(batch, classes, h, w, generator=torch.Generator().manual_seed(1))


def expected(logits: Tensor, height: int, width: int) -> Tensor:
    full = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    return full.argmax(1).to(torch.uint8)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("make", [smooth, noise])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 19, 32, 32), (128, 128)),
        ((3, 19, 16, 24), (128, 192)),
        ((2, 2, 8, 8), (16, 16)),
        ((1, 5, 2, 2), (64, 64)),
        ((1, 5, 1, 1), (32, 32)),
        ((1, 5, 16, 16), (48, 48)),  # an odd scale
        ((1, 19, 24, 24), (128, 128)),  # 16/3
        ((2, 5, 15, 30), (32, 64)),  # 32/15
        ((1, 3, 3, 3), (16, 16)),
        ((1, 5, 15, 15), (50, 50)),  # 10/3
        ((1, 5, 15, 10), (30, 30)),  # none that is the same both ways
        ((1, 5, 12, 12), (21, 21)),  # 7/4
        ((1, 5, 16, 16), (16, 16)),  # nothing to upsample
    ],
)
def test_labels_are_those_of_torch(tail: str, make, shape, size) -> None:
    logits = make(*shape)
    labels = TAILS[tail](logits, *size)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, expected(logits, *size))


@pytest.mark.parametrize("tail", TAILS)
def test_one_class_everywhere(tail: str) -> None:
    logits = torch.zeros(2, 4, 8, 8)
    logits[:, 2] = 1
    assert (TAILS[tail](logits, 32, 32) == 2).all()


def test_a_class_that_wins_between_the_corners_is_found() -> None:
    # Class 1 is second at every corner of the middle cell, and first in its middle.
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    logits[0, 2] = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    logits[0, 1] = 0.5
    for tail in TAILS.values():
        labels = tail(logits, 16, 16)
        assert labels[0, 7, 7] == 1
        assert torch.equal(labels, expected(logits, 16, 16))


class Tail(nn.Module):
    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def forward(self, logits: Tensor) -> Tensor:
        return TAILS[self.name](logits, 128, 128)


@pytest.fixture(scope="module")
def tail_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tails")
    for name in TAILS:
        model = to_onnx(
            Tail(name),
            torch.zeros(2, 19, 32, 32),
            ["logits"],
            ["labels"],
            dynamic_shapes={"logits": {0: torch.export.Dim("batch")}},
        )
        onnx.save(model, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in TAILS}


@pytest.fixture(params=TAILS)
def tail_file(request: pytest.FixtureRequest, tail_files: dict[str, Path]) -> Path:
    return tail_files[request.param]


@pytest.mark.parametrize("batch", [1, 3])
def test_file_gives_the_labels_of_torch(tail_file: Path, batch: int) -> None:
    with open_session(tail_file, threads=1) as session:
        for logits in (smooth(batch, 19, 32, 32), noise(batch, 19, 32, 32)):
            labels = session.run({"logits": logits.numpy()})["labels"]
            different = np.count_nonzero(labels != expected(logits, 128, 128).numpy())
            assert different <= 1  # a tie of two floats in 16,384 pixels


def test_file_without_boundaries(tail_file: Path) -> None:
    logits = np.zeros((1, 19, 32, 32), np.float32)
    logits[:, 3] = 1
    with open_session(tail_file, threads=1) as session:
        assert (session.run({"logits": logits})["labels"] == 3).all()


def test_graphs_hold_no_shape_arithmetic(tail_file: Path) -> None:
    kinds = {node.op_type for node in onnx.load(tail_file).graph.node}
    assert not kinds & {"Shape", "Expand", "Identity", "ConstantOfShape", "Range", "If", "Loop"}
    if tail_file.stem == "resize":
        assert kinds == {"Resize", "ArgMax", "Cast"}


def test_default_is_the_fastest_on_a_face_like_map(tail_files: dict[str, Path]) -> None:
    # Two halves: one cell in 32 lies on the boundary, about as in a face.
    logits = np.zeros((1, 19, 32, 32), np.float32)
    logits[:, 1, :, :16] = 1
    logits[:, 2, :, 16:] = 1
    best = {}
    for name, path in tail_files.items():
        with open_session(path, threads=1) as session:
            best[name] = min(session.time({"logits": logits}, 50))
    assert min(best, key=lambda name: best[name]) == DEFAULT_TAIL
