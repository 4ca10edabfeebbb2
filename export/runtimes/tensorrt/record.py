"""What an engine was built from and for, and whether it may be loaded here.

An engine is a program for one runtime, one operating system and one GPU, or, of TensorRT for RTX,
for some compute capabilities. Loading another's ends in an error of many lines, or in wrong
numbers; so each engine has its record beside it, and the record is compared with the machine before
a byte of the engine reaches the runtime.
"""

import hashlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from export.system.errors import DataError
from export.system.files import read_json, validated, write_json

FORMAT_VERSION = 2
ENGINE_SUFFIXES = (".engine", ".plan")
Capability = tuple[int, int]
# Hardware-compatible engines run on this compute capability (Ampere) and newer ones.
AMPERE = (8, 0)
# How names of engines begin.
SHORT = {"tensorrt": "trt", "tensorrt-rtx": "rtx"}
REMEDY = (
    "build it again here from its ONNX file (open the .onnx, or nastool export with this --runtime)"
)


@dataclass(frozen=True)
class Machine:
    """What an engine depends on.

    Attributes:
        runtime: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        version: of it, such as ``"10.16.1.11"``.
        compute_capability: of the GPU, such as ``(8, 9)``.
        gpu: its name.
        system: operating system and processor, such as ``"linux-x86_64"``.
    """

    runtime: str
    version: str
    compute_capability: Capability
    gpu: str
    system: str


class EngineRecord(BaseModel):
    """The JSON document beside an engine.

    Attributes:
        runtime: as in `Machine`, of the machine that built it; so is the version.
        compute_capabilities: that it was built for, each major and minor.
        gpu: name of the one that it was built on and for; None: any of those capabilities.
        system: operating system and processor.
        precision: of the ONNX file: ``fp32``, ``fp16`` or ``int8``.
        layers: how many layers compute in each precision, as the runtime's inspector says; None:
            not read back, as there was no GPU.
        onnx_sha256: of the ONNX file.
        engine_sha256: of the engine, which tells a truncated one.
        version_compatible: loads with any TensorRT of the same major version.
        hardware_compatible: runs on every GPU since Ampere.
        optimisation_level: 0 to 5.
        workspace_bytes: the limit that was set, or None.
        seconds: that the build took.
        metadata: the ONNX file's key-value pairs, which engines do not keep.
        format_version: of this record.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    runtime: str
    version: str
    compute_capabilities: tuple[Capability, ...]
    gpu: str | None
    system: str
    precision: str
    layers: dict[str, int] | None
    onnx_sha256: str
    engine_sha256: str
    version_compatible: bool
    hardware_compatible: bool
    optimisation_level: int
    workspace_bytes: int | None
    seconds: float
    metadata: dict[str, str]
    format_version: int = FORMAT_VERSION

    def write(self, engine: Path) -> None:
        """Write this record beside its engine."""
        write_json(record_path(engine), self.model_dump(mode="json"))

    @classmethod
    def read(cls, engine: Path) -> "EngineRecord":
        """Read the record beside an engine.

        Raises:
            DataError: there is none, or it is not such a record.
        """
        path = record_path(engine)
        if not path.is_file():
            raise DataError(
                engine, f"has no record {path.name} beside it, so it may not fit here; {REMEDY}"
            )
        record = validated(cls, read_json(path), path, REMEDY)
        if record.format_version > FORMAT_VERSION:
            raise DataError(
                path,
                f"format_version is {record.format_version}, this program knows {FORMAT_VERSION}; "
                "update nastool",
            )
        return record


def system() -> str:
    """Return this operating system and processor, such as ``linux-x86_64``."""
    return f"{platform.system()}-{platform.machine()}".lower()


def record_path(engine: Path) -> Path:
    """Return where the record of an engine is."""
    return engine.with_name(engine.name + ".json")


def engine_name(
    stem: str,
    runtime: str,
    version: str,
    capabilities: Iterable[Capability],
    precision: str,
    onnx_sha256: str,
) -> str:
    """Name an engine by what it depends on: ``model.trt10.16.1.11-sm89-fp16-0123456789ab.engine``.

    Args:
        stem: of the ONNX file's name.
        runtime: as in `Machine`.
        version: of the runtime.
        capabilities: that it is built for.
        precision: of the ONNX file.
        onnx_sha256: of the ONNX file.
    """
    cards = "-".join(f"sm{major}{minor}" for major, minor in capabilities)
    return (
        f"{stem}.{SHORT[runtime]}{version}-{cards}-{precision}-{onnx_sha256[:12]}"
        f"{ENGINE_SUFFIXES[0]}"
    )


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def difference(record: EngineRecord, machine: Machine) -> str | None:
    """Return what keeps an engine from loading on a machine, or None when it fits.

    The text names the field, what the engine has and what the machine has.
    """
    if record.system != machine.system:
        return f"system is {record.system}, here it is {machine.system}"
    if record.runtime != machine.runtime:
        return f"runtime is {record.runtime}, here it is {machine.runtime}"
    if record.version_compatible:
        built, here = (text.partition(".")[0] for text in (record.version, machine.version))
        if built != here:
            return f"version is {record.version}, here it is {machine.version} (another major)"
    elif record.version != machine.version:
        return f"version is {record.version}, here it is {machine.version}"
    here_is = _dotted(machine.compute_capability)
    if record.hardware_compatible:
        if machine.compute_capability < AMPERE:
            return f"compute_capabilities is {_dotted(AMPERE)} or newer, here it is {here_is}"
        return None
    if machine.compute_capability not in record.compute_capabilities:
        built_for = ", ".join(map(_dotted, record.compute_capabilities))
        return f"compute_capabilities is {built_for}, here it is {here_is}"
    if record.gpu not in (None, machine.gpu):
        return f"gpu is {record.gpu}, here it is {machine.gpu}"
    return None


def check_before_loading(engine: Path, content: bytes, machine: Machine | None) -> EngineRecord:
    """Refuse an engine that was built for something else, or is not whole.

    Args:
        engine: its path; its record is beside it.
        content: of the engine.
        machine: this one; None: one elsewhere, for which the engine was named.

    Raises:
        DataError: there is no record, a field differs, or the content is not what was built.
    """
    record = EngineRecord.read(engine)
    found = None if machine is None else difference(record, machine)
    if found is None and sha256(content) != record.engine_sha256:
        found = "engine_sha256 differs: the engine is truncated or was replaced"
    if found:
        raise DataError(engine, f"does not fit here: {found}; {REMEDY}")
    return record


def _dotted(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"
