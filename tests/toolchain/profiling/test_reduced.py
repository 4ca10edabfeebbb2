"""Checks the fast conversions against the files that are shipped."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.writing import export_onnx, part
from export.precision.half import to_fp16
from export.precision.quantisation import Quantiser
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import build_segmenter
from toolchain.profiling.entry_graphs import GraphBuilder, Map
from toolchain.profiling.reduced import reduce

NETWORKS = {
    # A sum of all maps, constants; Clip in the encoder.
    "mobilenetv2-0.35": "[[10, [1, 0, 1, 9], [2, 0, 1, 4]], [[3, 1], [2, 4]]]",
    # Global averages, one shared by two cells; joins, gates that stay in float in the encoder.
    "ghostnet-0.1": "[[4, [0, 1, 7, 4], [1, 4, 6, 7], [4, 1, 7, 3]], [[2, 3], [3, 2], [5, 4]]]",
}
METADATA = ModelMetadata(
    classes=[str(i) for i in range(19)],
    palette=[(i, i, i) for i in range(19)],
    input_size=64,
    licence="none",
)


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build_segmenter(Genotype.parse(NETWORKS[request.param]), request.param)
    path = tmp_path_factory.mktemp("reduced") / "model.onnx"
    return export_onnx(network.deployable(64), path, metadata=METADATA, input_size=64)


def in_float(model: onnx.ModelProto) -> list[str]:
    return [n.name for n in model.graph.node if part(n) != "network"]


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def executed(model: onnx.ModelProto, path: Path) -> Counter[str]:
    """Count what ONNX Runtime makes of a model."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return operators(onnx.load(path))


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_int8_has_the_form_of_a_quantised_file(exported, target, tmp_path):
    images = [np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)]
    with Quantiser(exported, images, target) as quantiser:
        wanted = onnx.load(quantiser.write(tmp_path / "int8.onnx"))
    plain = onnx.load(exported)
    found = reduce(plain, "int8", in_float(plain), target)
    onnx.checker.check_model(found, full_check=True)
    assert operators(found) == operators(wanted)
    assert stored(found) == stored(wanted)
    if target == "cpu":  # the others' integers are not for this runtime's CPU kernels
        path = tmp_path / "optimised.onnx"
        assert executed(found, path) == executed(wanted, path)


def stored(model: onnx.ModelProto) -> Counter[tuple[int, tuple[int, ...]]]:
    """Count the dequantised tensors and the quantised activations by type and shape of scale."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    return Counter(
        (tensors[node.input[2]].data_type, tuple(tensors[node.input[1]].dims))
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    )


def test_fp16_has_the_form_of_a_converted_file(exported, tmp_path):
    wanted = onnx.load(to_fp16(exported, tmp_path / "half.onnx"))
    plain = onnx.load(exported)
    found = reduce(plain, "fp16", in_float(plain))
    onnx.checker.check_model(found, full_check=True)
    assert operators(found) == operators(wanted)
    path = tmp_path / "optimised.onnx"
    assert executed(found, path) == executed(wanted, path)


def run(model: onnx.ModelProto, feed: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: feed})[0]


def _separable(builder: GraphBuilder, x: Map) -> Map:
    return builder.operation("sep_conv_3x3", x)


def _average(builder: GraphBuilder, x: Map) -> Map:
    return builder.add(x, builder.operation("global_average_pool", x))


def _constant(builder: GraphBuilder, x: Map) -> Map:
    return builder.add(x, builder.constant(8, (1, 1)))


def _upsample(builder: GraphBuilder, x: Map) -> Map:
    return builder.upsample(builder.project(x), (16, 16))


@pytest.mark.parametrize("step", [_separable, _average, _constant, _upsample])
@pytest.mark.parametrize(
    ("precision", "target", "tolerance"),
    [("fp16", "cpu", 0.01), ("int8", "cpu", 0.2), ("int8", "gpu", 0.2)],
)
def test_pieces_compute_the_same_but_for_rounding(
    step: Callable[[GraphBuilder, Map], Map], precision, target, tolerance
):
    results = []
    for builder in (GraphBuilder(), GraphBuilder(0, precision, target)):
        model = builder.model(step(builder, builder.input(8, (8, 8))))
        feed = np.random.default_rng(0).random((1, 8, 8, 8), np.float32)
        results.append(run(onnx.load_from_string(model), feed))
    plain, reduced = results
    assert plain.dtype == reduced.dtype == np.float32
    np.testing.assert_allclose(reduced, plain, atol=tolerance)
    assert not np.array_equal(reduced, plain)
