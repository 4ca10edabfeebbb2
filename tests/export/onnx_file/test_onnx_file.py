"""The exported file: what is in it, what it computes, what it refuses."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_network import CLASSES, SIZE, make_metadata
from torch import Tensor, nn

from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.tail import resize
from export.onnx_file.writing import Deployable, export_onnx, normalise, part
from export.runtimes import open_session
from export.runtimes.base import Array
from export.system.errors import DataError, UsageError

CLUTTER = {"Shape", "Expand", "Identity", "ConstantOfShape", "BatchNormalization", "Constant"}


def kinds(path: Path, *parts: str) -> Counter[str]:
    nodes = onnx.load(path).graph.node
    return Counter(node.op_type for node in nodes if part(node) in parts)


def test_normalise() -> None:
    images = torch.tensor([0, 255, 127, 128], dtype=torch.uint8).reshape(1, 2, 2, 1)
    result = normalise(images.expand(1, 2, 2, 3))
    assert result.shape == (1, 3, 2, 2)
    assert torch.allclose(
        result[0, 0].flatten(), torch.tensor([-1, 1, -1 / 255, 1 / 255]), atol=1e-6
    )


def test_inputs_and_outputs_are_as_promised(exported: Path) -> None:
    with open_session(exported) as session:
        (image,) = session.inputs
        labels, probabilities = session.outputs
    assert str(image) == f"image uint8 [1, {SIZE}, {SIZE}, 3]"
    assert str(labels) == f"labels uint8 [1, {SIZE}, {SIZE}]"
    assert str(probabilities) == f"probabilities float32 [1, {CLASSES}, {SIZE // 4}, {SIZE // 4}]"


def test_graph_is_as_small_as_made_by_hand(exported: Path) -> None:
    assert kinds(exported, "input") == {"Transpose": 1, "Cast": 1, "Mul": 1, "Sub": 1}
    assert kinds(exported, "network") == {
        "Conv": 4,
        "Clip": 3,
        "Resize": 1,
        "GlobalAveragePool": 1,
        "Add": 2,
    }
    steps = {"ReduceMax": 1, "Sub": 1, "Exp": 1, "ReduceSum": 1, "Div": 1}
    assert kinds(exported, "probabilities") == steps
    assert not kinds(exported, "tail").keys() & CLUTTER


def test_casts_do_not_follow_each_other(exported: Path) -> None:
    nodes = onnx.load(exported).graph.node
    casts = {node.output[0] for node in nodes if node.op_type == "Cast"}
    assert not [node.name for node in nodes if node.op_type == "Cast" and node.input[0] in casts]


def test_file_says_opset_and_nothing_of_where_it_was_made(exported: Path) -> None:
    model = onnx.load(exported)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.producer_name == "nastool"
    assert not [node.name for node in model.graph.node if node.doc_string or node.metadata_props]
    assert str(Path(__file__).parents[3]).encode() not in exported.read_bytes()
    assert not exported.with_name("model.onnx.data").exists()


def test_nodes_are_named_after_modules(exported: Path) -> None:
    names = {node.name for node in onnx.load(exported).graph.node}
    assert {"input/Cast_0", "network.head/Conv_0", "tail/ArgMax_0"} <= names


def test_metadata_is_in_the_file(exported: Path) -> None:
    with open_session(exported) as session:
        assert ModelMetadata.read(session.metadata, exported) == make_metadata(tail="boundaries")


def test_peer_file_has_no_metadata(tmp_path: Path, exported: Path) -> None:
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "peer.onnx")
    with (
        open_session(tmp_path / "peer.onnx") as session,
        pytest.raises(DataError, match=r"peer\.o"),
    ):
        ModelMetadata.read(session.metadata, session.source)


@pytest.mark.parametrize("opset", [19, 20])
def test_opset_is_the_one_that_was_asked_for_and_export_is_silent(
    network: nn.Module, tmp_path: Path, opset: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = export_onnx(
        network, tmp_path / "m.onnx", metadata=make_metadata(), input_size=SIZE, opset=opset
    )
    assert capfd.readouterr() == ("", "")
    assert onnx.load(path).opset_import[0].version == opset
    with open_session(path) as session:
        assert [spec.name for spec in session.outputs] == ["labels"]


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_other_opsets_are_refused(network: nn.Module, tmp_path: Path, opset: int) -> None:
    with pytest.raises(UsageError, match="opset must be one of 18, 19, 20"):
        export_onnx(network, tmp_path / "m.onnx", metadata=make_metadata(), opset=opset)
    assert not list(tmp_path.iterdir())


def test_unknown_tail_is_refused(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known: resize, cells, boundaries"):
        export_onnx(network, tmp_path / "m.onnx", metadata=make_metadata(), tail="fastest")


def test_any_batch(network: nn.Module, tmp_path: Path, pictures: list[tuple[str, Array]]) -> None:
    path = export_onnx(
        network,
        tmp_path / "m.onnx",
        metadata=make_metadata(),
        input_size=SIZE,
        batch=None,
        output="probabilities",
    )
    assert not kinds(path, "network", "tail").keys() & CLUTTER
    images = np.stack([image for _, image in pictures[:3]])
    with open_session(path) as session, torch.inference_mode():
        labels = session.run({"image": images})["labels"]
        assert (Deployable(network)(torch.from_numpy(images)).numpy() == labels).mean() > 0.9999
        assert session.run({"image": images[:1]})["labels"].shape == (1, SIZE, SIZE)


class Constant(nn.Module):
    """What a network becomes whose searched cell ignores its input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("logits", torch.randn(1, CLASSES, 16, 16))

    def forward(self, images: Tensor) -> Tensor:
        return self.get_buffer("logits").expand(images.shape[0], -1, -1, -1)


@pytest.mark.parametrize("batch", [1, None])
def test_network_that_ignores_its_image(tmp_path: Path, batch: int | None) -> None:
    path = export_onnx(
        Constant(), tmp_path / "m.onnx", metadata=make_metadata(), input_size=SIZE, batch=batch
    )
    with open_session(path) as session:
        images = np.zeros((batch or 3, SIZE, SIZE, 3), np.uint8)
        assert session.run({"image": images})["labels"].shape == images.shape[:3]


def test_failed_export_leaves_nothing(tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("broken")

    with pytest.raises(Exception, match="broken"):
        export_onnx(Broken(), tmp_path / "m.onnx", metadata=make_metadata(), input_size=SIZE)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def any_size(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("any") / "model.onnx"
    settings = {"input_size": SIZE, "batch": None, "any_size": True, "tail": "resize"}
    return export_onnx(network, path, metadata=make_metadata(), **settings)


def test_file_of_any_size_has_no_computed_sizes(exported: Path, any_size: Path) -> None:
    wanted = kinds(exported, "network") | {"Resize": kinds(any_size, "network")["Resize"]}
    assert kinds(any_size, "network") == wanted
    assert "Shape" not in {node.op_type for node in onnx.load(any_size).graph.node}


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 96, 160), (1, 128, 32 * 2)])
def test_file_of_any_size_computes_what_torch_does(
    network: nn.Module, any_size: Path, shape: tuple[int, int, int]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    with torch.no_grad():
        wanted = resize(network(normalise(torch.from_numpy(images))), *shape[1:]).numpy()
    with open_session(any_size) as session:
        assert session.outputs[0].shape == session.inputs[0].shape[:3]
        labels = session.run({"image": images})["labels"]
    assert labels.shape == shape
    assert (labels == wanted).mean() > 0.9999
