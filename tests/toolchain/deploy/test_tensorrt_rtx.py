"""Exported files in the hands of NVIDIA's own parser and builder; skips where they are missing.

TensorRT for RTX builds for named cards on any machine, so no GPU is needed. What it has built does
not run here.
"""

import random
import subprocess
import sys
from itertools import cycle, islice, product
from pathlib import Path

import pytest

from export.onnx_file.writing import export_onnx
from export.precision.half import to_fp16
from export.precision.quantisation import Quantiser
from export.runtimes.tensorrt.binding import TENSORRT_RTX, make_log
from export.runtimes.tensorrt.engine import build_engine
from export.system.errors import DataError
from toolchain.deploy.deployment import face_photo, load_network
from toolchain.genotype import Genotype
from toolchain.graph import cell_graph

trt = pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt-rtx is not installed", exc_type=ImportError
)

SIZE = 256
GENOTYPES = 60
# Working sizes: none, whole blocks averaged, blocks of 5 of 8 pixels, and of 3 of 4.
KINDS = product(("mobilenetv2-0.35", "ghostnet-0.1"), (None, 128, 160, 192), ("resize", "cells"))
WIDE = 7
"""So many networks in turn have one encoder of full width, and are built for a second card."""
CASES = [
    # Of any size an export takes long; at blocks of 5 of 8 pixels, 512 pixels wide, very long.
    (
        seed,
        precision,
        encoder if seed % WIDE else "mobilenetv2",
        working,
        tail,
        seed % 11 == 4 and working != 160,
    )
    for seed, precision, (encoder, working, tail) in zip(
        range(GENOTYPES),
        cycle(("fp32", "fp16", "int8")),
        islice(cycle(KINDS), GENOTYPES),
        strict=False,
    )
]


def refusal(path: Path) -> str | None:
    """What the parser itself says of a file as it is."""
    builder = trt.Builder(log := make_log(trt))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    return None if parser.parse(path.read_bytes()) else parser.get_error(0).desc()


@pytest.mark.parametrize(("seed", "precision", "encoder", "working", "tail", "any_size"), CASES)
def test_files_for_gpus_are_parsed_as_they_are_and_built(
    tmp_path: Path,
    seed: int,
    precision: str,
    encoder: str,
    working: int | None,
    tail: str,
    any_size: bool,
) -> None:
    chance = random.Random(seed)
    genotype = Genotype.sample(chance, chance.randint(1, 3), chance.randint(1, 3))
    network, info = load_network(None, str(genotype), encoder)
    info = info.at(SIZE, working)
    # One that ignores its image has labels of one size, and nothing to convert.
    constant = cell_graph(genotype.operation, genotype.entries).is_constant
    any_size = any_size and not constant
    path = export_onnx(
        network.deployable(info.network_size, any_size=any_size),
        tmp_path / "model.onnx",
        metadata=info.metadata(),
        input_size=SIZE,
        working_size=working,
        any_size=any_size,
        tail=tail,
        target="gpu",
    )
    if precision == "fp16":
        path = to_fp16(path, tmp_path / "half.onnx")
    elif precision == "int8":
        with Quantiser(path, [face_photo(SIZE)], "gpu") as quantiser:
            path = quantiser.write(tmp_path / "int8.onnx")
    assert refusal(path) is None
    # Turing multiplies no matrices in fp32, as the tail cells does.
    oldest = "sm75" if tail == "resize" else "sm80"
    gpus = [oldest] if seed % WIDE else [oldest, "sm89"]
    built = build_engine(TENSORRT_RTX, path, tmp_path, gpus=gpus)
    assert built.record.precision == ("fp32" if constant else precision)
    assert built.size_bytes > 0


@pytest.fixture(scope="module")
def for_cpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for CPUs, whose bytes are moved before they are floats."""
    network, info = load_network(None, "[[8, [0, 0, 9, 8]], [[1, 2]]]", "mobilenetv2-0.35")
    return export_onnx(
        network.deployable(SIZE),
        tmp_path_factory.mktemp("cpu") / "model.onnx",
        metadata=info.metadata(),
        input_size=SIZE,
    )


def test_files_for_cpus_are_refused_as_they_are_and_opened_all_the_same(
    for_cpus: Path, tmp_path: Path
) -> None:
    assert "UInt8" in str(refusal(for_cpus))
    built = build_engine(TENSORRT_RTX, for_cpus, tmp_path, gpus=["sm86"])
    assert built.record.metadata["tail"] == "boundaries"
    assert built.record.layers is None


def test_int8_for_cpus_is_refused_with_the_remedy(for_cpus: Path, tmp_path: Path) -> None:
    with Quantiser(for_cpus, [face_photo(SIZE)], "cpu") as quantiser:
        path = quantiser.write(tmp_path / "int8.onnx")
    with pytest.raises(DataError, match=r"int8\.onnx: .*nastool export --target gpu"):
        build_engine(TENSORRT_RTX, path, tmp_path, gpus=["sm86"])


def test_a_truncated_file_is_one_line(for_cpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.onnx"
    path.write_bytes(for_cpus.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"short\.onnx: cannot be opened as an ONNX model") as found:
        build_engine(TENSORRT_RTX, path, tmp_path, gpus=["sm86"])
    assert "\n" not in str(found.value)
    assert not list(tmp_path.glob("*.engine*"))


def test_export_builds_for_cards_that_are_not_here(cli, tmp_path: Path) -> None:
    result = cli(
        "export", "--genotype", "[[8, [0, 0, 9, 8]], [[1, 2]]]", "--encoder", "ghostnet-0.1",
        "--input-size", 128, "--images", 2, "--precision", "fp16", "--runtime", "tensorrt-rtx",
        "--gpu", "sm86", "--gpu", "sm120", "--min-agreement", 0, "--output", tmp_path, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    file, engine = result.document["files"]
    assert (file["format"], file["parity"]["device"]) == ("onnx", "cpu")
    assert refusal(Path(file["path"])) is None
    assert engine["format"] == "tensorrt-rtx"
    assert engine["engine"]["compute_capabilities"] == [[8, 6], [12, 0]]
    # Nothing is claimed of what did not run.
    assert (engine["parity"], engine["parities"], engine["f1"]) == (None, [], None)
    assert engine["engine"]["layers"] is None
    assert result.document["tail"] == {"name": "resize", "latency_ms": {}}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_polygraphy_reads_and_runs_files_for_gpus(cli, tmp_path: Path, precision: str) -> None:
    pytest.importorskip("polygraphy", reason="polygraphy is not installed")
    result = cli(
        "export", "--genotype", "[[8, [0, 0, 9, 8]], [[1, 2]]]", "--encoder", "ghostnet-0.1",
        "--input-size", 128, "--working-size", 96, "--images", 2, "--target", "gpu",
        "--precision", precision, "--calibration", "synthetic:2", "--min-agreement", 0,
        "--output", tmp_path, "--json",
    )  # fmt: skip
    (file,) = result.document["files"]
    assert file["precision"] == precision
    for action in (["inspect", "model"], ["run", "--onnxrt"]):
        command = [str(Path(sys.executable).with_name("polygraphy")), *action, file["path"]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
