"""What an export has written and what its gates say of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from export.metadata import Precision
from export.parity import Parity
from export.quantisation import FloatParts
from export.tail_choice import TailChoice
from toolchain.quality import Quality


@dataclass(frozen=True)
class ExportedFile:
    """A file of a deployment.

    Attributes:
        path: of the file.
        format: ``"onnx"`` or ``"tensorrt"``.
        precision: of its network.
        opset: of the operators of the ONNX file.
        parity: how well it agrees with torch.
        quality: its F1, where labelled data was given.
        float_parts: of an int8 file, what stays in float, where labelled data was given.
    """

    path: Path
    format: Literal["onnx", "tensorrt"]
    precision: Precision
    opset: int
    parity: Parity
    quality: Quality | None = None
    float_parts: FloatParts | None = None

    @property
    def complaint(self) -> str | None:
        """Say which floor is missed, if one is."""
        return self.parity.complaint or (self.quality.complaint if self.quality else None)

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "path": str(self.path),
            "format": self.format,
            "precision": self.precision,
            "size_bytes": self.path.stat().st_size,
            "opset": self.opset,
            "parity": self.parity.document(),
            "f1": self.quality and self.quality.document(),
            "float_parts": self.float_parts and asdict(self.float_parts),
        }


@dataclass(frozen=True)
class Deployment:
    """The files of one network.

    Attributes:
        files: one a precision and format.
        tail: how their logits become labels, and the times of all ways if they were measured.
        split: which images of the labelled data they were judged on; None without labelled data.
        seen_in_training: on how many of those the network was trained; None where that is not
            known, or without labelled data.
        bundle: the folder that runs without this project, if it was asked for and no gate failed.
    """

    files: tuple[ExportedFile, ...]
    tail: TailChoice
    split: str | None = None
    seen_in_training: int | None = None
    bundle: Path | None = None

    @property
    def failure(self) -> str | None:
        """Why a gate failed, or None."""
        return next((f"{f.path}: {f.complaint}" for f in self.files if f.complaint), None)

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form; ``parity`` is that of the least agreeing file."""
        least = min(self.files, key=lambda file: file.parity.argmax_agreement - file.parity.floor)
        return {
            "files": [file.document() for file in self.files],
            "parity": least.parity.document(),
            "split": self.split,
            "seen_in_training": self.seen_in_training,
            "tail": asdict(self.tail),
            "bundle": self.bundle and str(self.bundle),
        }
