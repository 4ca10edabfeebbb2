"""A face-parsing model file, opened to label one picture at a time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from demo.geometry import Fit
from demo.shipped import shipped_model
from export.onnx_file.metadata import ModelMetadata
from export.runtimes import TensorSpec, open_session
from export.system.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]

GRID = 128  # places along each side of a mask that is made of labels


@dataclass(frozen=True)
class Look:
    """What a model says of the part of a frame that it saw.

    Attributes:
        fit: which part that is.
        labels: uint8 [size, size], on the model's square.
        probabilities: float32 [classes, h, w] on the same square, where the file gives them.
    """

    fit: Fit
    labels: Array
    probabilities: Array | None = None

    def share(self, targets: Iterable[int]) -> Array:
        """Return how probably each place is of one of some classes: float32 [h, w] from 0 to 1."""
        targets = list(targets)
        if self.probabilities is not None:
            others = sorted(set(range(len(self.probabilities))) - set(targets))
            if len(others) < len(targets):
                return 1 - self.probabilities[others].sum(axis=0)
            return self.probabilities[targets].sum(axis=0)
        table = np.zeros(256, np.uint8)
        table[targets] = 255
        side = min(GRID, len(self.labels))
        mask = cv2.resize(
            cv2.LUT(self.labels, table), (side, side), interpolation=cv2.INTER_AREA
        ).astype(np.float32)
        return cv2.GaussianBlur(mask, (0, 0), 1) / np.float32(255)

    def mirrored(self) -> Self:
        """Return what it says of the mirrored frame: left and right stay the person's own."""
        flipped = None if self.probabilities is None else self.probabilities[:, :, ::-1]
        return replace(
            self,
            fit=self.fit.mirrored(),
            labels=cv2.flip(self.labels, 1),
            probabilities=flipped,
        )

    def of_part(self) -> Self:
        """Return the same, placed in the part of the frame that was seen alone."""
        return replace(self, fit=self.fit.of_part())


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
            self._session.run({"image": np.zeros((1, self.size, self.size, 3), np.uint8)})
        except BaseException:
            self._session.close()
            raise

    def __call__(self, square: Array, fit: Fit) -> Look:
        """Label a picture, uint8 [1, size, size, 3] RGB, that a placement has filled."""
        outputs = self._session.run({"image": square})
        probabilities = outputs.get("probabilities")
        return Look(fit, outputs["labels"][0], None if probabilities is None else probabilities[0])

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
