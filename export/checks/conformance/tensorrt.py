"""What both of NVIDIA's libraries promise besides: engines reused, refused, and what they are."""

import json
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path

from export.checks.conformance import models
from export.checks.conformance.checks import EXACT, random_image
from export.checks.conformance.contract import (
    CheckFunction,
    Target,
    check,
    require,
    require_close,
    require_error,
)
from export.runtimes.tensorrt.binding import BINDINGS, TENSORRT, TENSORRT_RTX
from export.runtimes.tensorrt.record import AMPERE, record_path
from export.system.errors import DataError

# A field of the record, and what it is falsified to.
FALSE_FIELDS = {
    "runtime": "tensorflow",
    "version": "0.9.9",
    "compute_capabilities": [[6, 0]],
    "gpu": "another GPU",
    "system": "plan9-mips",
    "engine_sha256": "0" * 64,
}


def tensorrt_check(
    name: str, runtimes: Collection[str] = BINDINGS
) -> Callable[[CheckFunction], CheckFunction]:
    """Add a check that other runtimes skip."""

    def add(function: CheckFunction) -> CheckFunction:
        @wraps(function)
        def only_theirs(target: Target, folder: Path) -> str | None:
            if target.runtime in runtimes:
                return function(target, folder)
            return f"only for {' and '.join(runtimes)}"

        return check(f"TensorRT: {name}")(only_theirs)

    return add


def _engine(target: Target, folder: Path, model: bytes, **options: object) -> Path:
    """Open a model so that its engine lies in the folder; return the engine's path."""
    path = folder / "model.onnx"
    path.write_bytes(model)
    before = set(folder.glob("*.engine"))
    target.open(path, **options).close()
    (engine,) = set(folder.glob("*.engine")) - before
    return engine


@tensorrt_check("an engine is reused, and rebuilt when the file or the options change")
def reused(target: Target, folder: Path) -> str | None:
    """Watch the engine's time of change, and the names, which carry the file's hash."""
    engine = _engine(target, folder, models.tiny_model())
    written = engine.stat().st_mtime_ns
    path = folder / "model.onnx"
    target.open(path).close()
    require(engine.stat().st_mtime_ns == written, "built again though nothing changed")
    target.open(path, optimisation_level=1).close()
    require(engine.stat().st_mtime_ns != written, "not built again for another level")
    other = _engine(target, folder, models.tiny_model({"licence": "other"}))
    require(other != engine, "another file has an engine of the same name")
    return None


@tensorrt_check("measured kernels are kept from build to build", (TENSORRT.name,))
def timing_cache(target: Target, folder: Path) -> str | None:
    """Look for TensorRT's timing cache beside the engine."""
    _engine(target, folder, models.tiny_model())
    require(list(folder.glob("*.cache")), "no timing cache was written")
    return None


@tensorrt_check("compiled kernels are kept beside the engine", (TENSORRT_RTX.name,))
def kernels_kept(target: Target, folder: Path) -> str | None:
    """Look for them, then spoil them: they must be made anew."""
    x = models.convolution_input()
    path = folder / "model.onnx"
    path.write_bytes(models.convolution_model())
    for spoil in (False, True):
        with target.open(path) as session:
            require_close(session.run({"x": x})["y"], models.convolve(x), EXACT)
        (kept,) = folder.glob("*.kernels")
        require(kept.stat().st_size, "the file of compiled kernels is empty")
        if not spoil:
            kept.write_bytes(kept.read_bytes()[:-1])
    return None


@tensorrt_check("an engine opens without its ONNX file, metadata included")
def alone(target: Target, folder: Path) -> str | None:
    """Open it after the ONNX file is gone."""
    engine = _engine(target, folder, models.tiny_model({"licence": "free"}))
    (folder / "model.onnx").unlink()
    image = random_image()
    with target.open(engine) as session:
        require_close(session.run({"image": image})["labels"], models.tiny_labels(image), 0)
        require(session.metadata == {"licence": "free"}, f"metadata is {session.metadata}")
    return None


@tensorrt_check("an engine of another machine is refused, the field named")
def refused(target: Target, folder: Path) -> str | None:
    """Falsify each field of the record, take it away, and cut the engine."""
    engine = _engine(target, folder, models.tiny_model())
    record, content = record_path(engine), engine.read_bytes()
    truth = record.read_text(encoding="utf-8")
    for field, value in FALSE_FIELDS.items():
        if field == "gpu" and json.loads(truth)["gpu"] is None:
            continue  # for every card of a compute capability
        record.write_text(json.dumps({**json.loads(truth), field: value}), encoding="utf-8")
        require_error(
            lambda: target.open(engine), DataError, field, "build it again", beginning=f"{engine}: "
        )
    record.write_text(truth, encoding="utf-8")
    engine.write_bytes(content[:-1])
    require_error(lambda: target.open(engine), DataError, "truncated")
    engine.write_bytes(content)
    target.open(engine).close()
    record.unlink()
    require_error(lambda: target.open(engine), DataError, "has no record")
    return None


@tensorrt_check("an engine computes in the precision of its file")
def precision_read_back(target: Target, folder: Path) -> str | None:
    """Ask TensorRT's own inspector."""
    for precision in ("fp32", "fp16", "int8"):
        with target.open(models.convolution_model(precision)) as session:
            layers = session.settings["layers"]
        require(layers.get(precision), f"a file in {precision} became layers in {layers}")
    return None


@tensorrt_check("compatible engines give the same numbers", (TENSORRT.name,))
def compatible(target: Target, folder: Path) -> str | None:
    """Build for other versions, and for other GPUs where this one can."""
    x = models.convolution_input()
    kinds = ["version_compatible"]
    if TENSORRT.machine(int(target.device.partition(":")[2] or 0)).compute_capability >= AMPERE:
        kinds.append("hardware_compatible")
    for kind in kinds:
        with target.open(models.convolution_model(), **{kind: True}) as session:
            require(session.settings[kind] is True, f"settings {session.settings}")
            require_close(session.run({"x": x})["y"], models.convolve(x), EXACT)
    return None
