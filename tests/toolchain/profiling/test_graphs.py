from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest

from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.writing import export_onnx, part
from export.runtimes import open_session
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import build_segmenter
from toolchain.profiling.entry_graphs import GraphBuilder
from toolchain.profiling.face import face_labels, feeds
from toolchain.profiling.networks import Shape, network_model, random_genotypes

ENCODER = "ghostnet-0.1"
SMALL, LARGE = Shape(image=(64, 64)), Shape(image=(128, 128))
GENOTYPE = Genotype.parse("8 [1,1,1,10] [4,3,1,3] [0,1] [2,0]")
AVERAGING = Architecture(Genotype.parse("2 [0,1]"), ENCODER, 96)
METADATA = ModelMetadata(
    classes=[str(i) for i in range(19)],
    palette=[(i, i, i) for i in range(19)],
    input_size=64,
    licence="none",
)


@pytest.mark.parametrize(
    "text",
    [
        # a global average that feeds a convolution, an average shared by two merge cells
        "[[4, [0, 1, 7, 4], [1, 4, 6, 7], [4, 1, 7, 3]], [[2, 3], [3, 2], [5, 4]]]",
        # constants, among them a 3x3 convolution of one; one end at the head
        "[[10, [1, 0, 1, 9], [2, 0, 1, 4]], [[3, 1], [2, 4]]]",
    ],
)
def test_has_the_nodes_of_the_exported_file(text, tmp_path):
    genotype = Genotype.parse(text)
    network = build_segmenter(genotype, ENCODER).deployable(64)
    exported = export_onnx(network, tmp_path / "model.onnx", metadata=METADATA, input_size=64)
    wanted = Counter(node.op_type for node in onnx.load(exported).graph.node)
    built = onnx.load_from_string(network_model(Architecture(genotype, ENCODER), SMALL))
    assert Counter(node.op_type for node in built.graph.node) == wanted


def test_has_the_nodes_of_the_exported_file_at_a_working_size(tmp_path):
    network = build_segmenter(AVERAGING.genotype, ENCODER).deployable(96)
    path = tmp_path / "model.onnx"
    export_onnx(network, path, metadata=METADATA, input_size=128, working_size=96)
    built = onnx.load_from_string(network_model(AVERAGING, LARGE))
    wanted, found = (
        Counter((part_of(node), node.op_type) for node in model.graph.node)
        for model in (onnx.load(path), built)
    )
    assert found == wanted
    # The averaging from 4x4 to 3x3 pixels; the tail takes the scale of 16/3 without a resize.
    assert found["input", "MatMul"] == 2
    assert not found["tail", "Resize"]


def part_of(node: onnx.NodeProto) -> str:
    """Return the part of the exported file; networks have it behind where the node comes from."""
    name = onnx.NodeProto(name=node.name.removeprefix("encoder/").removeprefix("tail/tail/"))
    return "tail" if node.name.startswith("tail/") else part(name)


def test_a_network_at_a_working_size_labels_the_whole_image():
    with open_session(network_model(AVERAGING, LARGE)) as session:
        (labels,) = session.run(feeds(session.inputs)).values()
    assert (labels[0] == face_labels(19, LARGE.image)).mean() > 0.5


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_labels_of_a_random_network_look_like_the_face(precision):
    model = network_model(Architecture(GENOTYPE, ENCODER), replace(SMALL, precision=precision))
    with open_session(model) as session:
        (labels,) = session.run(feeds(session.inputs)).values()
    assert (labels[0] == face_labels(19, (64, 64))).mean() > 0.5


@pytest.mark.parametrize("working_size", [None, 96])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_input_conversion_and_tail_keep_their_precision(precision, working_size):
    shape = replace(LARGE if working_size else SMALL, precision=precision, tail="cells")
    architecture = Architecture(GENOTYPE, ENCODER, working_size)
    graph = onnx.load_from_string(network_model(architecture, shape)).graph
    halves = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    dequantised = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    others = [n for n in graph.node if n.name.startswith(("encoder/input/", "tail/"))]
    convolutions = [n.input[1] for n in graph.node if n.op_type == "Conv" and n not in others]
    assert "ScatterND" not in {n.op_type for n in others}
    stored = halves | {name for name in convolutions if name in dequantised}
    assert not stored.intersection(name for n in others for name in n.input)
    reduced = halves if precision == "fp16" else dequantised
    assert reduced.issuperset(convolutions)


def test_keeps_only_what_the_outputs_need():
    builder = GraphBuilder()
    x = builder.input(8, (4, 4))
    builder.operation("conv3x3", builder.input(8, (4, 4)))
    graph = onnx.load_from_string(builder.model(builder.operation("sep_conv_5x5_dil6", x))).graph
    assert [node.op_type for node in graph.node] == ["Conv", "Conv", "Relu"]
    assert [value.name for value in graph.input] == [x.name]
    assert len(graph.initializer) == 4


def test_equal_nodes_are_written_once_and_weights_never_shared():
    builder = GraphBuilder()
    x = builder.input(8, (4, 4))
    assert builder.add(x, x) == builder.add(x, x)
    assert builder.project(x) != builder.project(x)


def test_upsampling_follows_torch():
    import torch

    builder = GraphBuilder()
    x = builder.input(3, (4, 4))
    values = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
    with open_session(builder.model(builder.upsample(x, (16, 16)))) as session:
        (found,) = session.run({x.name: values}).values()
    wanted = torch.nn.functional.interpolate(torch.tensor(values), size=(16, 16), mode="bilinear")
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


def test_random_genotypes_are_different_networks_that_read_their_image():
    import random

    from toolchain.graph import canonical, graphs

    first = list(random_genotypes(30, random.Random(3)))
    forms = {canonical(genotype) for genotype in first}
    assert len(forms) == 30
    assert not any(graphs(genotype)[0].is_constant for genotype in first)
    again = random_genotypes(30, random.Random(3), avoid=forms)
    assert forms.isdisjoint(map(canonical, again))
