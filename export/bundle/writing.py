"""A folder that runs a model without this project: files, examples, expected output, checksums."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
import onnx
from PIL import Image

from export.onnx_file.metadata import ModelMetadata, Precision
from export.precision.half import precision_of
from export.runtimes import get_runtime, open_session
from export.runtimes.base import Array
from export.system.errors import DataError, GateError, UsageError
from export.system.files import whole_folder

FORMAT_VERSION = 1
SUMS = "SHA256SUMS"
MARK = "bundle.json"
TEMPLATES = Path(__file__).with_name("files")
NAMES: dict[Precision, str] = {
    "fp32": "model.onnx",
    "fp16": "model-fp16.onnx",
    "int8": "model-int8.onnx",
}
# By how much another machine's agreement with the expected labels may fall short of this one's. In
# fp32 only the order of sums differs; the fewer the bits, the more labels hang on a rounding.
MARGINS: dict[Precision, float] = {"fp32": 0.001, "fp16": 0.01, "int8": 0.05}
SAME_NETWORK = 0.5
"""A file that agrees less than this with the reference is broken, or another network's."""


@dataclass(frozen=True)
class _Model:
    """One of the model files, as this machine runs it on the sample."""

    path: Path
    precision: Precision
    metadata: ModelMetadata
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sample: Array
    labels: Array

    def agreement(self, expected: Array) -> float:
        return float((self.labels == expected).mean())


def write_bundle(
    models: Sequence[str | Path],
    folder: str | Path,
    *,
    sample: Array,
    figures: Mapping[str, Any] | None = None,
) -> Path:
    """Write a folder with everything that it takes to run a model, and nothing of this project.

    It gets the model files, ``example.py`` with ``requirements.txt``, ``cpp/`` (source and
    CMakeLists), the sample as PNG and PPM, its expected labels as palette PNG and PGM, the model
    card ``README.md``, ``bundle.json`` and ``SHA256SUMS``. The expected labels are those that ONNX
    Runtime computes on this CPU from the fp32 file; without one, from fp16, then int8.

    Args:
        models: files of one network by `export_onnx`, at most one a precision.
        folder: appears whole or not at all; a bundle that was there is replaced.
        sample: a picture that shows the model at work, uint8 [H, W, 3] RGB of any size.
        figures: JSON-ready documents by title (parity, F1, latency and where it was measured), put
            into the model card as tables and into ``bundle.json`` as they are.

    Returns:
        The folder.

    Raises:
        UsageError: there is no model, two have the same precision, or the sample has another form.
        DataError: a file is not such a model, two are of different networks, or the folder holds
            something else than a bundle.
        GateError: a file's labels for the sample agree with less than half of the expected ones.
    """
    folder = Path(folder)
    if sample.dtype != np.uint8 or sample.ndim != 3 or sample.shape[2] != 3 or not sample.size:
        raise UsageError(f"the sample must be uint8 [H, W, 3], not {sample.dtype} {sample.shape}")
    opened = _open(models, sample)
    document = _document(opened, figures or {})
    with whole_folder(folder, "a bundle", marks=(MARK, SUMS)) as new:
        shutil.copytree(
            TEMPLATES, new, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        for model in opened:
            shutil.copyfile(model.path, new / NAMES[model.precision])
        _write_pictures(new, opened[0])
        (new / MARK).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        card = Template((TEMPLATES / "README.md").read_text(encoding="utf-8"))
        text = card.substitute(_card(opened[0], document))
        (new / "README.md").write_text(text, encoding="utf-8")
        (new / SUMS).write_text(checksums(new), encoding="utf-8")
    return folder


def checksums(folder: Path) -> str:
    """Return the SHA-256 of every file of a folder, as ``sha256sum -c`` reads them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in paths
    )


def _open(paths: Sequence[str | Path], sample: Array) -> list[_Model]:
    """Run every file on the sample; the first of the result is the reference."""
    if not paths:
        raise UsageError("a bundle needs at least one model")
    models = sorted(
        (_run(Path(path), sample) for path in paths),
        key=lambda model: list(NAMES).index(model.precision),
    )
    for before, model in pairwise(models):
        if model.precision == before.precision:
            raise UsageError(f"{before.path} and {model.path} are both {model.precision}; give one")
        if _network(model.metadata) != _network(before.metadata):
            raise DataError(model.path, f"is not of the same network as {before.path}")
    for model in models:
        agreement = model.agreement(models[0].labels)
        if agreement < SAME_NETWORK:
            raise GateError(
                f"{model.path}: only {agreement:.2%} of the sample's pixels agree with "
                f"{models[0].path}; leave it out of the bundle"
            )
    return models


def _network(metadata: ModelMetadata) -> ModelMetadata:
    """Return what files of one network have in common, whatever their precision."""
    return metadata.model_copy(update={"float_parts": None})


def _run(path: Path, sample: Array) -> _Model:
    with open_session(path) as session:
        metadata = ModelMetadata.read(session.metadata, path)
        size = metadata.input_size
        method = cv2.INTER_AREA if min(sample.shape[:2]) > size else cv2.INTER_LINEAR
        image = cv2.resize(sample, (size, size), interpolation=method)
        labels = session.run({"image": image[None]})["labels"][0]
        return _Model(
            path,
            precision_of(path),
            metadata,
            tuple(map(str, session.inputs)),
            tuple(map(str, session.outputs)),
            image,
            labels,
        )


def _document(models: Sequence[_Model], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes into bundle.json; the C++ example finds its first keys by their text."""
    files = [
        {
            "file": NAMES[model.precision],
            "precision": model.precision,
            "size_bytes": model.path.stat().st_size,
            "opset": onnx.load(model.path).opset_import[0].version,
            "agreement": model.agreement(models[0].labels),
        }
        for model in models
    ]
    return {
        "format_version": FORMAT_VERSION,
        "reference": NAMES[models[0].precision],
        "floors": {
            file["file"]: round(file["agreement"] - MARGINS[file["precision"]], 3) for file in files
        },
        "runtime": f"ONNX Runtime {get_runtime('onnxruntime').version()} on the CPU",
        "files": files,
        "figures": dict(figures),
    }


def _write_pictures(folder: Path, reference: _Model) -> None:
    height, width = reference.labels.shape
    header = f"{width} {height}\n255\n".encode()
    (folder / "sample.ppm").write_bytes(b"P6\n" + header + reference.sample.tobytes())
    (folder / "expected.pgm").write_bytes(b"P5\n" + header + reference.labels.tobytes())
    Image.fromarray(reference.sample).save(folder / "sample.png")
    labels = Image.fromarray(reference.labels)
    labels.putpalette(np.array(reference.metadata.palette, np.uint8).ravel().tolist())
    labels.save(folder / "expected.png")


def _card(reference: _Model, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template of the model card leaves open."""
    metadata = reference.metadata
    files = [
        (
            f"`{file['file']}`",
            file["precision"],
            f"{file['size_bytes'] / 1e6:.2f}",
            file["opset"],
            f"{file['agreement']:.3%}",
            f"{document['floors'][file['file']]:.1%}",
        )
        for file in document["files"]
    ]
    classes = [
        (label, name, ", ".join(map(str, colour)))
        for label, (name, colour) in enumerate(zip(metadata.classes, metadata.palette, strict=True))
    ]
    origin: dict[str, Any] = {
        "genotype": metadata.genotype,
        "encoder": metadata.encoder,
        "working size": metadata.working_size,
        **metadata.training,
    }
    figures = [
        f"### {title}\n" + _table(("figure", "value"), _flat(figure))
        for title, figure in document["figures"].items()
    ]
    return {
        "count": len(metadata.classes),
        "size": metadata.input_size,
        "image": ", ".join(reference.inputs),
        "outputs": ", ".join(f"`{output}`" for output in reference.outputs),
        "reference": document["reference"],
        "runtime": document["runtime"],
        "files": _table(
            ("file", "precision", "MB", "opset", "agrees on the sample", "floor"), files
        ),
        "classes": _table(("label", "class", "red, green, blue"), classes),
        "origin": _table(("", ""), _flat(origin)),
        "figures": "\n\n".join(figures) or "None were given.",
        "licence": metadata.licence,
    }


def _table(heads: Sequence[str], rows: Iterator[Any] | Sequence[Any]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names and values in a document, ``latency_ms.median`` and the like."""
    parts: Any = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        parts = enumerate(value)
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    elif isinstance(value, float):
        yield name, f"{value:.6g}"
    elif value is not None:
        yield name, str(value)
    for key, part in parts:
        yield from _flat(part, f"{name}.{key}" if name else str(key))
