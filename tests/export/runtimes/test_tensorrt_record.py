"""Engine names, records and the check before loading: no TensorRT is needed for any of it."""

import json
from pathlib import Path

import pytest

from export.runtimes.tensorrt.record import (
    EngineRecord,
    Machine,
    check_before_loading,
    difference,
    engine_name,
    record_path,
    sha256,
)
from export.system.errors import DataError

CONTENT = b"an engine"
HERE = Machine("tensorrt", "10.16.1.11", (8, 9), "NVIDIA L4", "linux-x86_64")
RECORD = EngineRecord(
    runtime=HERE.runtime,
    version=HERE.version,
    compute_capabilities=(HERE.compute_capability,),
    gpu=HERE.gpu,
    system=HERE.system,
    precision="fp16",
    layers={"fp16": 7, "fp32": 1},
    onnx_sha256="1a2b3c4d5e6f" + "0" * 52,
    engine_sha256=sha256(CONTENT),
    version_compatible=False,
    hardware_compatible=False,
    optimisation_level=3,
    workspace_bytes=None,
    seconds=1.5,
    metadata={"licence": "free"},
)


def changed(**values: object) -> EngineRecord:
    return RECORD.model_copy(update=values)


def test_name_carries_version_capability_precision_and_hash() -> None:
    name = engine_name("face", "tensorrt", "10.16.1.11", [(8, 9)], "fp16", RECORD.onnx_sha256)
    assert name == "face.trt10.16.1.11-sm89-fp16-1a2b3c4d5e6f.engine"
    name = engine_name("face", "tensorrt-rtx", "1.7", [(8, 6), (12, 0)], "int8", "0" * 64)
    assert name == "face.rtx1.7-sm86-sm120-int8-000000000000.engine"


def test_record_survives_the_disk(tmp_path: Path) -> None:
    engine = tmp_path / "face.engine"
    engine.write_bytes(CONTENT)
    RECORD.write(engine)
    assert record_path(engine) == tmp_path / "face.engine.json"
    assert check_before_loading(engine, CONTENT, HERE) == RECORD


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (RECORD, None),
        (changed(system="windows-amd64"), "system is windows-amd64, here it is linux-x86_64"),
        (changed(version="11.4.0.106"), "version is 11.4.0.106, here it is 10.16.1.11"),
        (changed(version="10.16.0.72"), "version is 10.16.0.72, here it is 10.16.1.11"),
        (changed(version="10.0.1", version_compatible=True), None),
        (changed(version="11.0.0", version_compatible=True), "(another major)"),
        (changed(runtime="tensorrt-rtx"), "runtime is tensorrt-rtx, here it is tensorrt"),
        (
            changed(compute_capabilities=((7, 5), (8, 6))),
            "compute_capabilities is 7.5, 8.6, here it is 8.9",
        ),
        (changed(compute_capabilities=((7, 5), (8, 9)), gpu=None), None),
        (changed(gpu="NVIDIA L40"), "gpu is NVIDIA L40, here it is NVIDIA L4"),
        (changed(compute_capabilities=((12, 0),), gpu="B", hardware_compatible=True), None),
        (
            changed(system="linux-aarch64", hardware_compatible=True, version_compatible=True),
            "system is linux-aarch64",
        ),
    ],
)
def test_difference(record: EngineRecord, words: str | None) -> None:
    found = difference(record, HERE)
    assert (found is None) if words is None else (found is not None and words in found)


def test_hardware_compatible_engine_needs_ampere() -> None:
    turing = Machine(HERE.runtime, HERE.version, (7, 5), "NVIDIA T4", HERE.system)
    found = difference(changed(hardware_compatible=True), turing)
    assert found == "compute_capabilities is 8.0 or newer, here it is 7.5"


def refusal(engine: Path, content: bytes) -> str:
    with pytest.raises(DataError) as caught:
        check_before_loading(engine, content, HERE)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_refusal_names_the_file_the_field_and_the_remedy(tmp_path: Path) -> None:
    engine = tmp_path / "face.engine"
    changed(gpu="NVIDIA T4").write(engine)
    message = refusal(engine, CONTENT)
    assert message.startswith(f"{engine}: does not fit here: gpu is NVIDIA T4")
    assert "build it again" in message


def test_truncated_engine_is_refused(tmp_path: Path) -> None:
    engine = tmp_path / "face.engine"
    RECORD.write(engine)
    assert "engine_sha256 differs" in refusal(engine, CONTENT[:-1])


def test_engine_without_record_is_refused(tmp_path: Path) -> None:
    engine = tmp_path / "face.engine"
    assert "has no record face.engine.json beside it" in refusal(engine, CONTENT)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"version": None}, "version: "),
        ({"compute_capabilities": [[8]]}, "compute_capabilities"),
        ({"format_version": 3}, "update nastool"),
    ],
)
def test_broken_record_is_refused(tmp_path: Path, values: dict, words: str) -> None:
    engine = tmp_path / "face.engine"
    document = {**RECORD.model_dump(mode="json"), **values}
    record_path(engine).write_text(json.dumps(document))
    message = refusal(engine, CONTENT)
    assert message.startswith(f"{record_path(engine)}: ")
    assert words in message


def test_record_that_is_no_json_is_refused(tmp_path: Path) -> None:
    engine = tmp_path / "face.engine"
    record_path(engine).write_text("{")
    assert "is not JSON" in refusal(engine, CONTENT)
