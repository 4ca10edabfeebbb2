from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_network import make_metadata
from torch import nn

from export.errors import UsageError
from export.onnx import export_onnx
from export.parity import check_parity
from export.runtimes.base import Array

Pictures = list[tuple[str, Array]]


@pytest.fixture
def damaged(exported: Path, tmp_path: Path) -> Path:
    """Make a copy of the file with one class's bias changed."""
    model = onnx.load(exported)
    for tensor in model.graph.initializer:
        if tensor.name == "network.head.bias":
            bias = numpy_helper.to_array(tensor).copy()
            bias[2] += 1.5
            tensor.CopyFrom(numpy_helper.from_array(bias, tensor.name))
    path = tmp_path / "damaged.onnx"
    onnx.save(model, path)
    return path


def test_faithful_file_passes(network: nn.Module, exported: Path, pictures: Pictures) -> None:
    (parity,) = check_parity(network, [(exported, 0.9999, {})], iter(pictures))
    assert parity.passed
    assert parity.argmax_agreement > 0.9999
    assert 0 < parity.max_abs_error < 1e-4
    assert parity.images == len(pictures)
    assert parity.reference.startswith("torch ")
    assert parity.document()["passed"] is True


def test_reference_shrinks_as_the_file_does(network: nn.Module, tmp_path: Path) -> None:
    path = export_onnx(
        network, tmp_path / "m.onnx", metadata=make_metadata(), input_size=128, working_size=96
    )
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    check = partial(check_parity, network, [(path, 0.9999, {})], [("noise", noise)])
    (parity,) = check(Fraction(3, 4))
    assert parity.passed
    assert 0 < parity.max_abs_error < 1e-4
    with pytest.raises(ValueError, match="broadcast"):  # of logits at another resolution
        check(Fraction(1))


def test_damaged_file_fails_and_shows_where(
    network: nn.Module, exported: Path, damaged: Path, pictures: Pictures
) -> None:
    files = [(exported, 0.9999, {}), (damaged, 0.9999, {})]
    good, bad = check_parity(network, files, pictures)
    assert good.passed
    assert not bad.passed
    assert bad.max_abs_error == pytest.approx(1.5, abs=1e-4)
    assert bad.worst_agreement < bad.argmax_agreement < 0.9999
    assert bad.worst_image in {name for name, _ in pictures}
    assert bad.worst_map == damaged.with_name("damaged-worst.png")
    drawn = cv2.imread(str(bad.worst_map))
    red = (drawn == (0, 0, 255)).all(-1)
    assert 1 - red.mean() == pytest.approx(bad.worst_agreement)


def test_floor_decides(network: nn.Module, damaged: Path, pictures: Pictures) -> None:
    (parity,) = check_parity(network, [(damaged, 0.01, {})], pictures)
    assert parity.passed


def test_no_images(network: nn.Module, exported: Path) -> None:
    with pytest.raises(UsageError, match="at least one image"):
        check_parity(network, [(exported, 0.9999, {})], [])


def test_images_of_another_size(network: nn.Module, exported: Path) -> None:
    with pytest.raises(UsageError, match=r"takes image uint8 \[1, 64, 64, 3\]"):
        check_parity(network, [(exported, 0.9, {})], [("small", np.zeros((32, 32, 3), np.uint8))])
