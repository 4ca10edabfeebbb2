"""Exported files in the hands of NVIDIA's own parser and builder; skips where they are missing.

TensorRT for RTX builds for named cards on any machine, so no GPU is needed. What it has built does
not run here.
"""

import random
from itertools import cycle, islice, product
from pathlib import Path

import onnx
import pytest

from export.errors import DataError
from export.onnx import export_onnx
from export.precision import to_fp16
from export.quantisation import Quantiser
from export.runtimes.tensorrt.engine import build_engine
from export.runtimes.tensorrt.library import TENSORRT_RTX, make_log
from toolchain.deployment import face_photo, load_network
from toolchain.genotype import Genotype

trt = pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt-rtx is not installed", exc_type=ImportError
)

SIZE = 256
GENOTYPES = 60
# Working sizes by averaging over whole blocks, over blocks of 5 of 8 and of 3 of 4 pixels, and none.
KINDS = product(
    ("mobilenetv2-0.35", "ghostnet-0.1", "mobilenetv2"), (None, 128, 160, 192), ("resize", "cells")
)
CASES = [
    (seed, precision, encoder, working, tail, seed % 5 == 4)
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
    built = build_engine(TENSORRT_RTX, path, tmp_path, gpus=["sm75", "sm89"])
    assert built.record.precision == precision
    assert built.size_bytes > 0
