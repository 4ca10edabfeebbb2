"""ONNX files that anybody may have made: they read and write nothing outside their folder."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.checks.parity import _with_logits
from export.precision.half import to_fp16
from export.system.errors import DataError, NastoolError
from toolchain.cli import run
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.training.evaluation import open_model

METADATA = {
    "classes": json.dumps(CELEBAMASK_HQ.classes),
    "palette": json.dumps(CELEBAMASK_HQ.palette),
    "input_size": "64",
    "licence": "none",
}
IMAGE = ("image", TensorProto.UINT8, [1, 64, 64, 3])
LABELS = ("labels", TensorProto.UINT8, [1, 64, 64])


def constant(values, name="made"):
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def write(path, inputs=(IMAGE,), outputs=(LABELS,), made=None, **metadata) -> Path:
    """Write a model that gives a constant whatever the image."""
    made = constant(np.zeros((1, 64, 64), np.uint8)) if made is None else made
    graph = helper.make_graph(
        [helper.make_node("Identity", [made.name], [outputs[0][0]])],
        "stranger",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [made],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="nastool")
    for key, value in (METADATA | metadata).items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def evaluate(path):
    return run(["evaluate", str(path), "--data", "synthetic:2", "--split", "all"])


def test_one_that_keeps_to_the_contract_is_scored(tmp_path):
    assert evaluate(write(tmp_path / "a.onnx")) == 0


OTHERS = {
    "no inputs": {"inputs": ()},
    "another input": {"inputs": (IMAGE, ("x", TensorProto.FLOAT, [1]))},
    "floats": {"inputs": (("image", TensorProto.FLOAT, [1, 64, 64, 3]),)},
    "channels first": {"inputs": (("image", TensorProto.UINT8, [1, 3, 64, 64]),)},
    "no images at once": {"inputs": (("image", TensorProto.UINT8, [0, 64, 64, 3]),)},
    "ten million images at once": {"inputs": (("image", TensorProto.UINT8, [10**7, 64, 64, 3]),)},
    "a gigantic image": {"inputs": (("image", TensorProto.UINT8, [1, 10**5, 10**5, 3]),)},
    "labels by another name": {"outputs": (("x", *LABELS[1:]),)},
    "small labels": {"made": constant(np.zeros((1, 8, 8), np.uint8))},
    "labels of no class": {"made": constant(np.full((1, 64, 64), 200, np.uint8))},
    "labels that are no numbers": {
        "outputs": (("labels", TensorProto.FLOAT, [1, 64, 64]),),
        "made": constant(np.full((1, 64, 64), np.nan, np.float32)),
    },
    "a gigantic size": {"input_size": "1000000000"},
    "a number without end": {"input_size": "9" * 5000},
    "depth without end": {"classes": "[" * 100_000},
    "a thousand classes": {"classes": json.dumps([str(number) for number in range(1000)])},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_one_that_does_not_is_refused_in_a_line(tmp_path, capsys, kind):
    path = write(tmp_path / "a.onnx", **OTHERS[kind])
    assert evaluate(path) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"nastool: {path}: ")


@pytest.mark.parametrize("shape", [[10**6, 10**5, 10**5, 3], [10**7, 64, 64, 3], [0, 64, 64, 3]])
def test_inputs_that_no_memory_holds_are_refused(tmp_path, capsys, shape):
    path = write(tmp_path / "a.onnx", inputs=(("image", TensorProto.UINT8, shape),))
    assert run(["benchmark", str(path), "--seconds", "0.1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "of which no sample can be made" in line


@pytest.mark.parametrize("place", ["../secret", "{}/secret", "link", "inner/../../secret"])
def test_weights_outside_the_folder_are_not_read(tmp_path, capsys, place):
    secret, folder = tmp_path / "secret", tmp_path / "model"
    secret.write_bytes(bytes(64 * 64))
    (folder / "inner").mkdir(parents=True)
    (folder / "link").symlink_to(secret)
    made = constant(np.zeros((1, 64, 64), np.uint8))
    made.ClearField("raw_data")
    made.data_location = TensorProto.EXTERNAL
    facts = {"location": place.format(tmp_path), "offset": "0", "length": "4096"}
    for key, value in facts.items():
        made.external_data.add(key=key, value=value)
    path = write(folder / "a.onnx", made=made)
    assert evaluate(path) == 2
    assert run(["benchmark", str(path), "--seconds", "0.1"]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith(f"nastool: {path}: ")
    with pytest.raises(DataError):
        to_fp16(path, tmp_path / "out" / "a.onnx")
    with pytest.raises((NastoolError, onnx.checker.ValidationError)):
        _with_logits(path)
    assert not (tmp_path / "out").exists()


def test_what_is_inside_is_not_written_where_the_file_wants_it(tmp_path):
    """Tensors may hold their values, and name another file too, into which to write them."""
    made = constant(np.zeros((1, 64, 64), np.uint8))
    made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key="location", value="../evil")
    (tmp_path / "model").mkdir()
    path = write(tmp_path / "model" / "a.onnx", made=made)
    with pytest.raises(DataError):
        to_fp16(path, tmp_path / "out" / "a.onnx")
    assert not (tmp_path / "evil").exists()
    with pytest.raises(DataError):
        open_model(path)
