"""Files that are no models: each is refused in one line that begins with its path."""

from collections.abc import Callable
from pathlib import Path

import onnx

from export.checks.conformance.contract import Target, check, require_error
from export.checks.conformance.models import tiny_model
from export.runtimes.base import IN_MEMORY, MAYBE_TRUNCATED
from export.system.errors import DataError

NOT_ONNX = "cannot be opened as an ONNX model"


def _future() -> bytes:
    model = onnx.load_from_string(tiny_model())
    model.opset_import[0].version = 99
    return model.SerializeToString()


def _no_opset() -> bytes:
    # What is left of a file that was cut behind its graph, and still parses.
    model = onnx.load_from_string(tiny_model())
    del model.opset_import[:]
    return model.SerializeToString()


def _unknown_operator() -> bytes:
    model = onnx.load_from_string(tiny_model())
    model.graph.node[2].op_type = "Convolve"
    return model.SerializeToString()


# What is wrong -> the file's content, and words of the message.
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "not ONNX": (lambda: b"not a model at all", NOT_ONNX),
    "truncated": (lambda: tiny_model()[:-60], MAYBE_TRUNCATED),
    "cut behind its graph": (_no_opset, f"names no opset; {MAYBE_TRUNCATED}"),
    "an unknown operator": (_unknown_operator, NOT_ONNX),
    "a newer opset": (_future, "is newer than"),
}


def _add(kind: str, content: Callable[[], bytes], words: str) -> None:
    @check(f"broken file: {kind}")
    def broken(target: Target, folder: Path) -> None:
        path = folder / "broken.onnx"
        path.write_bytes(content())
        require_error(lambda: target.open(path), DataError, words, beginning=f"{path}: ")


for _kind, (_content, _words) in BROKEN.items():
    _add(_kind, _content, _words)


@check("broken file: missing, or a folder")
def missing(target: Target, folder: Path) -> None:
    """Open paths that are no files."""
    path = folder / "none.onnx"
    require_error(lambda: target.open(path), DataError, "does not exist", beginning=f"{path}: ")
    require_error(lambda: target.open(folder), DataError, "is a folder", beginning=f"{folder}: ")


@check("broken file: in memory")
def in_memory(target: Target, folder: Path) -> None:
    """Open a model without a path: it is called what it is."""
    require_error(lambda: target.open(b"nothing"), DataError, NOT_ONNX, beginning=f"{IN_MEMORY}: ")
