"""What an export has written and what its gates say of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.benchmarking.tail_choice import TailChoice
from export.checks.parity import Parity
from export.onnx_file.metadata import Precision
from export.precision.quantisation import FloatParts
from export.runtimes.tensorrt.record import EngineRecord
from toolchain.deploy.quality import Quality


@dataclass(frozen=True)
class ExportedFile:
    """A file of a deployment.

    Attributes:
        path: of the file.
        precision: of its network.
        opset: of the operators of the ONNX file.
        engine: of an engine, what it was built from and for.
        parities: how well it agrees with torch, wherever it runs here; where it is to run first.
        quality: its F1, where labelled data was given.
        float_parts: of an int8 file, what stays in float, where labelled data was given.
    """

    path: Path
    precision: Precision
    opset: int
    engine: EngineRecord | None = None
    parities: tuple[Parity, ...] = ()
    quality: Quality | None = None
    float_parts: FloatParts | None = None

    @property
    def format(self) -> str:
        """``"onnx"``, or the runtime of an engine."""
        return self.engine.runtime if self.engine else "onnx"

    @property
    def parity(self) -> Parity | None:
        """The agreement where it is least; None for a file that does not run here."""
        return min(self.parities, key=lambda parity: parity.margin, default=None)

    @property
    def complaint(self) -> str | None:
        """Say which floor is missed, if one is."""
        complaints = [parity.complaint for parity in self.parities]
        complaints.append(self.quality.complaint if self.quality else None)
        return next(filter(None, complaints), None)

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "path": str(self.path),
            "format": self.format,
            "precision": self.precision,
            "size_bytes": self.path.stat().st_size,
            "opset": self.opset,
            "engine": self.engine and self.engine.model_dump(mode="json", exclude={"metadata"}),
            "parity": self.parity and self.parity.document(),
            "parities": [parity.document() for parity in self.parities],
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
        parities = [file.parity for file in self.files if file.parity]
        least = min(parities, key=lambda parity: parity.margin)
        return {
            "files": [file.document() for file in self.files],
            "parity": least.document(),
            "split": self.split,
            "seen_in_training": self.seen_in_training,
            "tail": asdict(self.tail),
            "bundle": self.bundle and str(self.bundle),
        }
