"""Images averaged down inside the file: exact, and the same as a file of any precision."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from small_network import make_metadata
from torch import nn

from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.tail import resize
from export.onnx_file.writing import InputConversion, export_onnx, normalise, part
from export.precision.half import to_fp16
from export.precision.quantisation import Quantiser, Target
from export.runtimes import open_session
from export.runtimes.base import Array
from export.system.errors import UsageError


def noise(height: int, width: int, batch: int = 1) -> torch.Tensor:
    values = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)
    return torch.from_numpy(values)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
@pytest.mark.parametrize("shrink", ["1/2", "1/4", "3/4", "3/8", "5/8", "11/16", "2/3"])
def test_areas_are_averaged_as_opencv_does(shrink: str, target: Target) -> None:
    factor = Fraction(shrink)
    height, width = 16 * factor.denominator, 8 * factor.denominator
    images = noise(height, width, 2)
    result = InputConversion(factor, target)(images)
    assert result.shape == (2, 3, height * factor, width * factor)
    for image, made in zip(images, result, strict=True):
        size = (int(width * factor), int(height * factor))
        wanted = cv2.resize(image.numpy().astype(np.float32), size, interpolation=cv2.INTER_AREA)
        pixels = (made.permute(1, 2, 0).numpy() + 1) * 127.5
        assert np.abs(pixels - wanted).max() < 1e-4


def test_without_shrinking_it_normalises() -> None:
    images = noise(32, 64)
    assert torch.equal(InputConversion()(images), normalise(images))


def test_white_and_black_stay_so() -> None:
    for factor in (Fraction(1, 2), Fraction(11, 16)):
        for value in (0, 255):
            images = torch.full((1, 64, 64, 3), value, dtype=torch.uint8)
            assert InputConversion(factor)(images) == pytest.approx(value / 127.5 - 1, abs=1e-6)


WORKING = {"1/2": (128, 64), "3/4": (128, 96)}  # shrink: input size, working size
Pictures = list[Array]


@pytest.fixture(scope="module", params=WORKING)
def sizes(request: pytest.FixtureRequest) -> tuple[int, int]:
    return WORKING[request.param]


@pytest.fixture(scope="module")
def large(pictures: list[tuple[str, Array]]) -> Pictures:
    return [cv2.resize(image, (128, 128), interpolation=cv2.INTER_CUBIC) for _, image in pictures]


@pytest.fixture(scope="module")
def shrunk(
    network: nn.Module, sizes: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("shrunk") / "model.onnx"
    size, working = sizes
    metadata = make_metadata(input_size=size, working_size=working)
    return export_onnx(network, path, metadata=metadata, input_size=size, working_size=working)


def labels(path: Path, images: Pictures) -> Array:
    with open_session(path, threads=1, float_quantised=True) as session:
        return np.stack([session.run({"image": image[None]})["labels"][0] for image in images])


def in_torch(network: nn.Module, images: Array, shrink: Fraction) -> Array:
    with torch.inference_mode():
        logits = network(InputConversion(shrink)(torch.from_numpy(images)))
        return resize(logits, *images.shape[1:3]).numpy()


def test_file_computes_what_torch_does(
    network: nn.Module, shrunk: Path, sizes: tuple[int, int], large: Pictures
) -> None:
    wanted = in_torch(network, np.stack(large), Fraction(sizes[1], sizes[0]))
    assert (labels(shrunk, large) == wanted).mean() > 0.9999
    with open_session(shrunk) as session:
        assert ModelMetadata.read(session.metadata, shrunk).working_size == sizes[1]


def input_nodes(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node if part(node) == "input"]


def test_nodes_of_the_conversion_are_its_own(shrunk: Path, sizes: tuple[int, int]) -> None:
    by_pooling = ["Transpose", "Cast", "AveragePool"]
    by_products = ["Cast", "Reshape", "MatMul", "Reshape", "MatMul", "Reshape", "Transpose"]
    averaging = by_pooling if sizes[1] == 64 else by_products
    assert input_nodes(shrunk) == [*averaging, "Mul", "Sub"]
    nodes = onnx.load(shrunk).graph.node
    assert sum(part(node) == "network" and node.op_type == "Conv" for node in nodes) == 4


def test_fp16_averages_in_float(shrunk: Path, large: Pictures, tmp_path: Path) -> None:
    path = to_fp16(shrunk, tmp_path / "half.onnx")
    assert (labels(path, large) == labels(shrunk, large)).mean() > 0.99
    assert input_of(path) == input_of(shrunk)


def test_int8_for_gpus_averages_in_float(shrunk: Path, large: Pictures, tmp_path: Path) -> None:
    with Quantiser(shrunk, large, "gpu") as quantiser:
        path = quantiser.write(tmp_path / "eighth.onnx", ("head",))
    assert (labels(path, large) == labels(shrunk, large)).mean() > 0.9
    assert input_of(path) == input_of(shrunk)


@pytest.mark.parametrize("floats", [0, 1])
def test_int8_for_cpus_averages_bytes(
    shrunk: Path, sizes: tuple[int, int], large: Pictures, tmp_path: Path, floats: int
) -> None:
    """Rounded where bytes are fewest, and read by the network as they are."""
    with Quantiser(shrunk, large) as quantiser:
        path = quantiser.write(tmp_path / "eighth.onnx", quantiser.parts[:floats])
    assert (labels(path, large) == labels(shrunk, large)).mean() > 0.9
    if not floats:  # else the first part reads floats
        by_pooling = ["Transpose", "Cast", "AveragePool", "QuantizeLinear"]
        in_integers = ["Reshape", "MatMulInteger", "Cast", "Reshape", "MatMul", "QuantizeLinear"]
        moved = [*in_integers, "Reshape", "Transpose"]
        assert input_nodes(path) == (by_pooling if sizes[1] == 64 else moved)


def test_averaged_bytes_are_the_means(shrunk: Path, large: Pictures, tmp_path: Path) -> None:
    with Quantiser(shrunk, large) as quantiser:
        model = onnx.load(quantiser.write(tmp_path / "eighth.onnx"))
    value = next(
        name for node in reversed(model.graph.node) if part(node) == "input" for name in node.output
    )
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(value, onnx.TensorProto.UINT8, None)
    )
    with open_session(model.SerializeToString()) as session:
        made = session.run({"image": large[0][None]})[value][0].transpose(1, 2, 0)
    wanted = cv2.resize(large[0].astype(np.float32), made.shape[:2], interpolation=cv2.INTER_AREA)
    assert np.abs(made - wanted).max() <= 0.501


def input_of(path: Path) -> list[tuple[str, list[str]]]:
    """Return the operators from the image to the network, and what each reads, on the way back."""
    graph = onnx.load(path).graph
    makers = {name: node for node in graph.node for name in node.output}
    (node,) = [n for n in graph.node if n.name == "input/Sub_0"]
    found = []
    while node is not None:
        found.append((node.op_type, list(node.input)))
        node = makers.get(node.input[0])
    return found


@pytest.mark.parametrize(
    ("shape", "sizes"), [((1, 128, 192), (256, 128)), ((2, 128, 256), (256, 192))]
)
def test_file_of_any_size(
    network: nn.Module, tmp_path: Path, shape: tuple[int, int, int], sizes: tuple[int, int]
) -> None:
    size, working = sizes
    path = export_onnx(
        network,
        tmp_path / "model.onnx",
        metadata=make_metadata(),
        input_size=size,
        working_size=working,
        batch=None,
        any_size=True,
        tail="resize",
    )
    images = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    wanted = in_torch(network, images, Fraction(working, size))
    with open_session(path) as session:
        assert session.outputs[0].shape == session.inputs[0].shape[:3]
        found = session.run({"image": images})["labels"]
    assert found.shape == shape
    assert (found == wanted).mean() > 0.9999


@pytest.mark.parametrize(("tail", "working"), [("boundaries", 96), ("cells", 96), ("resize", 352)])
def test_any_batch(network: nn.Module, tmp_path: Path, tail: str, working: int) -> None:
    # In float32, 352/4 x 52/11 is below 416: by a factor instead of a size a row would be lost.
    size = 416 if working == 352 else 128
    path = export_onnx(
        network,
        tmp_path / "model.onnx",
        metadata=make_metadata(),
        input_size=size,
        working_size=working,
        batch=None,
        tail=tail,
    )
    images = noise(size, size, 2).numpy()
    wanted = in_torch(network, images, Fraction(working, size))
    with open_session(path) as session:
        assert (session.run({"image": images})["labels"] == wanted).mean() > 0.9999


@pytest.mark.parametrize("working", [160, 100, 0])
def test_other_working_sizes_are_refused(network: nn.Module, tmp_path: Path, working: int) -> None:
    with pytest.raises(
        UsageError, match=f"is {working}, but must be a multiple of 32 up to .* 128; give"
    ):
        export_onnx(
            network,
            tmp_path / "m.onnx",
            metadata=make_metadata(),
            input_size=128,
            working_size=working,
        )
