"""A face-parsing model file, opened to label one picture at a time."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from export.errors import DataError, UnavailableError
from export.metadata import ModelMetadata
from export.runtimes import TensorSpec, open_session

Array = np.ndarray[Any, np.dtype[Any]]


def shipped_model() -> Path:
    """Return the model that comes with this installation.

    Raises:
        UnavailableError: none does.
    """
    models = sorted((Path(__file__).parent / "models").glob("*.onnx"))
    if not models:
        raise UnavailableError("no model ships with this installation: pass --model FILE")
    return models[0]


class FaceParser:
    """A complete exported file: uint8 picture in, uint8 labels out; a context manager.

    Attributes:
        path: the file.
        metadata: what the file says about itself: classes, palette and more.
        size: side in pixels of the square pictures that it takes.
    """

    def __init__(
        self,
        path: Path | None = None,
        runtime: str = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
    ):
        """Open a model, by default the one that ships, and run it once to warm it up.

        Raises:
            DataError: the file is not a model, or not one that labels faces.
            UnavailableError: there is no model, or the runtime or device is missing.
        """
        self.path = path or shipped_model()
        self._session = open_session(self.path, runtime, device, threads)
        try:
            self.metadata = ModelMetadata.read(self._session.metadata, self.path)
            self.size = self.metadata.input_size
            inputs = {spec.name: spec for spec in self._session.inputs}
            outputs = {spec.name: spec for spec in self._session.outputs}
            self._check("input", "image", (1, self.size, self.size, 3), inputs)
            self._check("output", "labels", (1, self.size, self.size), outputs)
            self(np.zeros((1, self.size, self.size, 3), np.uint8))
        except BaseException:
            self._session.close()
            raise

    def __call__(self, square: Array) -> Array:
        """Label a picture, uint8 [1, size, size, 3] RGB; return uint8 [size, size]."""
        return self._session.run({"image": square})["labels"][0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    def _check(
        self, role: str, name: str, shape: tuple[int, ...], found: Mapping[str, TensorSpec]
    ) -> None:
        if name not in found or not found[name].accepts(np.empty(shape, np.uint8)):
            given = ", ".join(str(spec) for spec in found.values())
            raise DataError(
                self.path,
                f"needs the {role} {TensorSpec(name, shape, np.dtype(np.uint8))}, but has {given}; "
                "use a file written by nastool export",
            )
