from collections.abc import Callable
from dataclasses import replace
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

from export.checks.parity import FLOORS, Floors, Parity, Subject, check_parity
from export.onnx_file.writing import export_onnx
from export.runtimes.base import Array
from export.system.errors import UsageError

Pictures = list[tuple[str, Array]]


CLASSES = make_metadata().classes
LOOSE = Floors(0, 0, np.inf)


def changed_bias(source: Path, path: Path, change: Callable[[Array], object]) -> Path:
    """Make a copy of a file with the biases of the classes changed."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == "network.head.bias":
            bias = numpy_helper.to_array(tensor).copy()
            change(bias)
            tensor.CopyFrom(numpy_helper.from_array(bias, tensor.name))
    onnx.save(model, path)
    return path


def check(
    network: nn.Module, path: Path, pictures: Pictures, floors: Floors = FLOORS["fp32"]
) -> Parity:
    (parity,) = check_parity(network, [Subject(path, floors)], pictures, CLASSES)
    return parity


@pytest.fixture
def damaged(exported: Path, tmp_path: Path) -> Path:
    """Make a copy of the file with one class's bias changed."""

    def change(bias: Array) -> None:
        bias[2] += 1.5

    return changed_bias(exported, tmp_path / "damaged.onnx", change)


def test_faithful_file_passes(network: nn.Module, exported: Path, pictures: Pictures) -> None:
    parity = check(network, exported, pictures)
    assert parity.passed
    assert parity.argmax_agreement > 0.9999
    assert 0 < parity.max_abs_error < 1e-4
    assert parity.images == len(pictures)
    assert parity.reference.startswith("torch ")
    assert (parity.runtime, parity.device) == ("onnxruntime", "cpu")
    assert set(parity.class_agreement) == set(CLASSES)
    assert parity.least_class[1] > 0.999
    assert parity.document()["passed"] is True


def test_reference_shrinks_as_the_file_does(network: nn.Module, tmp_path: Path) -> None:
    path = export_onnx(
        network, tmp_path / "m.onnx", metadata=make_metadata(), input_size=128, working_size=96
    )
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    subjects = [Subject(path, FLOORS["fp32"])]
    compare = partial(check_parity, network, subjects, [("noise", noise)], CLASSES)
    (parity,) = compare(Fraction(3, 4))
    assert parity.passed
    assert 0 < parity.max_abs_error < 1e-4
    with pytest.raises(ValueError, match="broadcast"):  # of logits at another resolution
        compare(Fraction(1))


def test_damaged_file_fails_and_shows_where(
    network: nn.Module, exported: Path, damaged: Path, pictures: Pictures
) -> None:
    subjects = [Subject(path, FLOORS["fp32"]) for path in (exported, damaged)]
    good, bad = check_parity(network, subjects, pictures, CLASSES)
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
    assert check(network, damaged, pictures, LOOSE).passed


def test_a_class_that_vanishes_fails_though_nearly_all_pixels_agree(
    network: nn.Module, exported: Path, tmp_path: Path, pictures: Pictures
) -> None:
    shares = check(network, exported, pictures).class_agreement
    rarest = max(name for name, share in shares.items() if share is not None)

    def vanish(bias: Array) -> None:
        bias[CLASSES.index(rarest)] -= 1e6

    path = changed_bias(exported, tmp_path / "m.onnx", vanish)
    parity = check(network, path, pictures, replace(LOOSE, class_agreement=0.6))
    assert parity.argmax_agreement > 0
    assert parity.class_agreement[rarest] == 0
    assert not parity.passed
    assert str(parity.complaint).startswith(f"class {rarest} agrees with torch by 0.0000 on cpu")


def test_a_logit_that_is_far_off_fails_though_the_labels_agree(
    network: nn.Module, exported: Path, tmp_path: Path, pictures: Pictures
) -> None:
    def lift(bias: Array) -> None:
        bias += 5

    parity = check(network, changed_bias(exported, tmp_path / "m.onnx", lift), pictures)
    assert parity.argmax_agreement == 1
    assert not parity.passed
    assert str(parity.complaint).startswith("a logit differs from torch's by 5 on cpu")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_fail(
    network: nn.Module, exported: Path, tmp_path: Path, pictures: Pictures, value: float
) -> None:
    def spoil(bias: Array) -> None:
        bias[-1] = value

    path = changed_bias(exported, tmp_path / "m.onnx", spoil)
    parity = check(network, path, pictures, LOOSE)
    assert parity.not_finite > 0
    assert not parity.passed
    assert "of its outputs on cpu with onnxruntime are no finite numbers" in str(parity.complaint)


def test_no_images(network: nn.Module, exported: Path) -> None:
    with pytest.raises(UsageError, match="at least one image"):
        check(network, exported, [])


def test_images_of_another_size(network: nn.Module, exported: Path) -> None:
    with pytest.raises(UsageError, match=r"takes image uint8 \[1, 64, 64, 3\]"):
        check(network, exported, [("small", np.zeros((32, 32, 3), np.uint8))])
