import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export.benchmarking import energy
from export.checks.conformance.models import tiny_model
from tests.toolchain.profiling.made_tables import made_table
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.profiling.table import LatencyTable

DEMO = Path(__file__).parents[3] / "demo" / "models" / "balanced.onnx"
ENCODER, SIZE = "mobilenetv2-0.75", 320
OPSET = helper.make_opsetid("", 18)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model())
    return path


@pytest.fixture
def peer(tmp_path: Path) -> Path:
    """Make a file as others make them: float planes of free size, and a second input."""
    nodes = [
        helper.make_node("Conv", ["pixels", "weights"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["flag"], ["one"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["maps", "one"], ["scores"]),
    ]
    weights = np.ones((4, 3, 3, 3), np.float32)
    graph = helper.make_graph(
        nodes,
        "peer",
        [
            helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ("n", 3, "h", "w")),
            helper.make_tensor_value_info("flag", TensorProto.INT64, (1,)),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 4, "h", "w"))],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path / "peer.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[OPSET], ir_version=8), path)
    return path


def test_a_published_network_is_timed_beside(cli, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "bisenet.onnx"
    arguments = "benchmark", tiny, "--peer", path, "--input-size", 64, "--seconds", 0.1, "--json"
    document = cli(*arguments).document
    assert [model["path"] for model in document["models"]] == [str(path), str(tiny)]
    weights = onnx.load(path).graph.initializer
    size = sum(int(np.prod(tensor.dims)) for tensor in weights if len(tensor.dims) == 4)
    assert 13.0e6 < size < 13.3e6
    labels = onnxruntime.InferenceSession(path).run(
        ["labels"], {"image": np.zeros((1, 64, 64, 3), np.uint8)}
    )[0]
    assert labels.shape == (1, 64, 64)
    written = path.stat().st_mtime_ns
    assert cli(*arguments).code == 0
    assert path.stat().st_mtime_ns == written  # the file that is there is taken


def test_document_is_as_promised(cli, tiny: Path, peer: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    result = cli(
        "benchmark", tiny, peer, "--threads", 1, "--seconds", 0.3, "--input-size", 96,
        "--raw", raw, "--json",
    )  # fmt: skip
    assert result.code == 0
    document = result.document
    assert document["environment"]["packages"]["onnxruntime"]
    assert document["settings"] == {"threads": 1}
    assert (document["mode"], document["streams"]) == ("latency", 1)
    first, second = document["models"]
    assert first["path"] == str(tiny)
    assert (first["ratio_to_first"], first["ratio_interval"]) == (1, [1, 1])
    low, high = second["ratio_interval"]
    assert 1 < low <= second["ratio_to_first"] <= high
    samples = json.loads(raw.read_text())
    for model in (first, second):
        latency = model["latency_ms"]
        assert set(latency) == {"median", "p90", "p95", "p99", "iqr"}
        assert 0 < latency["median"] <= latency["p90"] <= latency["p95"] <= latency["p99"]
        assert model["fps"] == pytest.approx(1000 / latency["median"], rel=0.1)
        assert model["size_bytes"] == Path(model["path"]).stat().st_size
        assert model["precision"] == "fp32"
        assert model["predicted_ms"] is None
        assert len(samples[model["path"]]) == model["samples"] > 0
        assert model["turns"] == 3
        assert np.median(samples[model["path"]]) == pytest.approx(latency["median"], abs=1e-4)


def test_text_has_a_row_for_each(cli, tiny: Path, peer: Path) -> None:
    result = cli("benchmark", tiny, peer, "--seconds", 0.1, "--input-size", 32)
    assert result.code == 0
    assert "tiny.onnx" in result.out
    assert "peer.onnx" in result.out
    assert "on cpu (threads" in result.out


def test_model_beside_itself_keeps_both_samples(cli, tiny: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    assert cli("benchmark", tiny, tiny, "--seconds", 0.1, "--raw", raw).code == 0
    assert set(json.loads(raw.read_text())) == {str(tiny), f"{tiny} (2)"}


def test_throughput(cli, tiny: Path, peer: Path) -> None:
    document = cli(
        "benchmark", tiny, peer, "--mode", "throughput", "--streams", 2, "--threads", 2,
        "--seconds", 0.3, "--input-size", 96, "--json",
    ).document  # fmt: skip
    assert (document["mode"], document["streams"]) == ("throughput", 2)
    assert document["settings"] == {"threads": 1}
    first, second = document["models"]
    assert first["fps"] > second["fps"] > 0
    assert second["ratio_to_first"] == pytest.approx(first["fps"] / second["fps"], rel=0.01)
    assert second["latency_ms"]["p99"] >= second["latency_ms"]["median"] > 0


def test_streams_are_threads_unless_told(cli, tiny: Path) -> None:
    arguments = ("--mode", "throughput", "--threads", 2, "--seconds", 0.1)
    assert cli("benchmark", tiny, *arguments, "--json").document["streams"] == 2
    assert "threads 1, 2 streams" in cli("benchmark", tiny, *arguments).out


def named_after_modules(path: Path) -> None:
    """Write a model like those of ``nastool export``, of one operation and a tail."""
    model = onnx.load_from_string(tiny_model())
    places = ["input", "input", "network.decoder.merges.0.cells.1.operations.1", "tail", "tail"]
    for node, place in zip(model.graph.node, places, strict=True):
        node.name = f"{place}/{node.op_type}_0"
    model.metadata_props.add(key="genotype", value="[[3, [0, 0, 9, 9]], [[0, 1]]]")
    onnx.save(model, path)


def test_profile_speaks_of_the_genotype(cli, tmp_path: Path) -> None:
    path = tmp_path / "named.onnx"
    named_after_modules(path)
    arguments = ("benchmark", path, "--threads", 1, "--seconds", 0.1, "--profile")
    profile = cli(*arguments, "--json").document["models"][0]["profile"]
    parts = {part["name"]: part for part in profile["parts"]}
    operation = "merge 1, cell 2, operation 1: sep_conv_5x5 of 8x8"
    assert {operation, "input conversion", "tail"} <= set(parts)
    assert sum(part["ms"] for part in parts.values()) == pytest.approx(profile["sum_ms"], abs=0.01)
    assert {"decoder", "input", "tail"} <= {group["name"] for group in profile["groups"]}
    text = cli(*arguments).out
    assert operation in text
    assert "slowest nodes" in text


def test_profile_of_others_goes_by_operators(cli, peer: Path) -> None:
    result = cli("benchmark", peer, "--seconds", 0.1, "--input-size", 32, "--profile", "--json")
    parts = {part["name"] for part in result.document["models"][0]["profile"]["parts"]}
    assert {"Conv", "Cast", "Mul"} <= parts


def test_cold(cli, tiny: Path) -> None:
    arguments = ("benchmark", tiny, "--threads", 1, "--seconds", 0.1, "--cold")
    model = cli(*arguments, "--json").document["models"][0]
    assert model["memory_bytes"] > 0
    assert model["gpu_memory_bytes"] is None
    assert set(model["cold_start_ms"]) == {"import", "open", "first_run"}


def test_energy(cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.benchmarking.benchmark.ENERGY_SECONDS", 0.05)
    monkeypatch.setattr("export.benchmarking.benchmark.energy_per_frame", lambda work, device: (
        energy.energy_per_frame(work, device, tmp_path)
    ))  # fmt: skip
    arguments = ("benchmark", tiny, "--seconds", 0.1, "--energy")
    model = cli(*arguments, "--json").document["models"][0]
    assert model["energy_per_frame_joules"] is None
    assert "no energy counter" in model["energy_note"]
    assert "no energy counter" in cli(*arguments).out


def test_markdown_is_one_table(cli, tiny: Path, peer: Path) -> None:
    result = cli(
        "benchmark", tiny, peer, "--threads", 1, "--seconds", 0.1, "--input-size", 32, "--markdown"
    )
    rows = [line.strip("|").split("|") for line in result.out.strip().splitlines()]
    assert len(rows) == 4
    assert {len(row) for row in rows} == {10}
    assert [cell.strip() for cell in rows[0]] == [
        "model", "precision", "MB", "median ms", "p90 ms", "fps", "ratio", "machine", "runtime",
        "threads",
    ]  # fmt: skip
    assert all(set(cell.strip()) <= {"-", ":"} for cell in rows[1])
    assert [row[0].strip() for row in rows[2:]] == ["tiny.onnx", "peer.onnx"]
    assert rows[2][-1].strip() == "1"


def test_prediction_beside_the_measurement(cli, peer: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    made_table((ENCODER,), threads=1, working_sizes=[SIZE]).save(table)
    result = cli(
        "benchmark", DEMO, peer, "--seconds", 0.1, "--input-size", 32, "--latency-table", table,
        "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    with_markdown = cli(
        "benchmark", DEMO, "--seconds", 0.1, "--latency-table", table, "--markdown", "--json"
    ).document
    head, _, row = with_markdown["markdown"].splitlines()
    assert "| predicted ms |" in head
    assert f"| {with_markdown['models'][0]['predicted_ms']:.2f} (" in row
    assert result.document["settings"] == {"threads": 1}
    ours, other = result.document["models"]
    genotype = onnx.load(DEMO).metadata_props
    text = next(entry.value for entry in genotype if entry.key == "genotype")
    network = ("cost", text, "--encoder", ENCODER, "--working-size", SIZE)
    cost = cli(*network, "--latency-table", table, "--json").document["latency_ms"][str(table)]
    assert ours["predicted_ms"] == cost["median"]
    assert ours["predicted_interval_ms"] == [cost["low"], cost["high"]]
    measured = ours["latency_ms"]["median"]
    assert ours["prediction_error_percent"] == pytest.approx(
        100 * (cost["median"] - measured) / measured, abs=0.01
    )
    assert other["predicted_ms"] is None
    assert "has no metadata 'classes'" in other["prediction_note"]


def test_prediction_of_a_file_with_a_working_size(cli, tmp_path: Path) -> None:
    genotype, encoder = "[[0, [0, 1, 1, 9]], [[0, 1]]]", "ghostnet-0.1"
    network = ("--encoder", encoder, "--input-size", 128, "--working-size", 64)
    exported = cli(
        "export", "--genotype", genotype, "--onnx", *network, "--tail", "boundaries",
        "--images", 1, "--output", tmp_path,
    )  # fmt: skip
    assert exported.code == 0, exported.err
    found = {}
    for sizes in ([128, 64], [128]):
        table = tmp_path / f"table{len(sizes)}.json"
        made_table((encoder,), 128, threads=1, working_sizes=sizes).save(table)
        arguments = ("--seconds", 0.1, "--latency-table", table, "--json")
        result = cli("benchmark", tmp_path / "model.onnx", *arguments)
        assert result.code == 0, result.err
        (found[len(sizes)],) = result.document["models"]
    architecture = Architecture(Genotype.parse(genotype), encoder, 64)
    table = LatencyTable.load(tmp_path / "table2.json")
    expected = table.predict(table.plan(architecture)).median
    assert found[2]["predicted_ms"] == pytest.approx(expected, abs=1e-4)
    assert found[1]["predicted_ms"] is None
    assert "has no entry 'ghostnet-0.1/stage1" in found[1]["prediction_note"]
    assert "--working-size 64" in found[1]["prediction_note"]


@pytest.mark.parametrize(
    ("provenance", "arguments", "words"),
    [
        ({"precision": "int8"}, (), "precision is fp32, the table's int8"),
        ({"classes": 11}, (), "classes is 19, the table's 11"),
        ({"tail": "cells"}, (), "tail is boundaries, the table's cells"),
        ({}, ("--mode", "throughput"), "mode is throughput, the table's latency"),
    ],
)
def test_why_there_is_no_prediction(
    cli, tmp_path: Path, provenance: dict, arguments: tuple, words: str
) -> None:
    table = tmp_path / "table.json"
    made_table((ENCODER,), threads=1, working_sizes=[SIZE], **provenance).save(table)
    result = cli("benchmark", DEMO, "--seconds", 0.1, "--latency-table", table, *arguments)
    assert result.code == 0, result.err
    assert f"no prediction: {DEMO}: {words}" in " ".join(result.out.split())


def bad_models(folder: Path) -> dict[str, Path]:
    """Write models that cannot be timed."""
    model = onnx.load_from_string(tiny_model())
    cut, empty, words = (folder / f"{name}.onnx" for name in ("cut", "empty", "words"))
    cut.write_bytes(tiny_model()[:-60])
    empty.touch()
    words.write_text("not a model at all")
    future = onnx.load_from_string(tiny_model())
    future.opset_import[0].version = 99
    onnx.save(future, folder / "future.onnx")
    weights = np.ones((2, 3, 1, 1), np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    onnx.save(
        model, folder / "apart.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    (folder / "w").unlink()
    for kind, value in (
        ("text", helper.make_tensor_value_info("x", TensorProto.STRING, (1,))),
        ("sequence", helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)),
    ):
        result = onnx.ValueInfoProto()
        result.CopyFrom(value)
        result.name = "y"
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])], kind, [value], [result]
        )
        built = helper.make_model(graph, opset_imports=[OPSET], ir_version=8)
        onnx.save(built, folder / f"{kind}.onnx")
    names = ("cut", "empty", "words", "future", "apart", "text", "sequence")
    return {name.upper(): folder / f"{name}.onnx" for name in names}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Missing argument"),
        (["none.onnx"], 2, "none.onnx: does not exist"),
        (["TINY", "none.onnx"], 2, "none.onnx: does not exist"),
        (["TINY", "--runtime", "tensorflow"], 2, "'tensorflow' is not known; known: onnxruntime"),
        (["TINY", "--device", "gpu"], 2, "device 'gpu' is not known"),
        (["TINY", "--threads", "0"], 2, "0 is not in the range"),
        (["TINY", "--seconds", "0"], 2, "0.0 is not in the range"),
        (["TINY", "--streams", "0"], 2, "0 is not in the range"),
        (["TINY", "--streams", "2"], 2, "2 streams need --mode throughput"),
        (["TINY", "--no-copies"], 2, "a CPU copies nothing"),
        (
            ["TINY", "--mode", "throughput", "--streams", "3", "--threads", "2"],
            2,
            "3 streams need a thread each, but there are 2; give --threads 3 or fewer --streams",
        ),
        (["TINY", "--mode", "speed"], 2, "'speed' is not one of"),
        (["TINY", "--latency-table", "none.json"], 2, "none.json"),
        (["TINY", "--latency-table", "TINY"], 2, "tiny.onnx"),
        (["WORDS"], 2, "words.onnx: cannot be opened as an ONNX model"),
        (["CUT"], 2, "cut.onnx: cannot be opened as an ONNX model"),
        (["EMPTY"], 2, "empty.onnx: is empty"),
        (["FUTURE"], 2, "future.onnx: is newer than onnxruntime"),
        (["APART"], 2, "apart.onnx: keeps weights in another file that cannot be read"),
        (["TEXT"], 2, "'x' is of type tensor(string), which has no array form; give a model"),
        (["SEQUENCE"], 2, "'x' is of type seq(tensor(float)), which has no array form"),
        (["FOLDER"], 2, "is a folder"),
    ],
)
def test_wrong_use_is_one_line(
    cli, tiny: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    names = {"TINY": tiny, "FOLDER": tmp_path, **bad_models(tmp_path)}
    result = cli("benchmark", *(names.get(argument, argument) for argument in arguments))
    assert result.code == code
    assert words in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not result.out


def test_cuda_on_a_cpu_build_is_unavailable(cli, tiny: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    result = cli("benchmark", tiny, "--device", "cuda:0")
    assert (result.code, result.out) == (3, "")
    assert "pip install onnxruntime-gpu" in result.err
    assert len(result.err.strip().splitlines()) == 1
