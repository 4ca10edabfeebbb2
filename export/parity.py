"""Does the file compute what the network computes? Pixel by pixel, on real pictures."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from torch import nn

from export.errors import UsageError
from export.files import whole_file
from export.onnx import LOGITS, InputConversion
from export.runtimes import Session, open_session
from export.runtimes.base import Array
from export.tail import resize

RED = np.array([255, 0, 0], np.uint8)


@dataclass(frozen=True)
class Parity:
    """How well one file agrees with the network.

    Attributes:
        path: the file.
        reference: what it was compared with.
        images: how many pictures.
        argmax_agreement: the share of pixels with the same label, 0 to 1, over all pictures.
        max_abs_error: the largest difference between logits, at the network's resolution; no
            upsampled logit differs by more, since each is a weighted mean of those. None for a
            file that shows no logits: one of constant labels, or an engine.
        worst_image: the picture with the fewest agreeing pixels, and its share
        worst_agreement: of them.
        worst_map: a PNG of it with the disagreeing pixels in red, or None where all agree.
        floor: the agreement that was asked for.
    """

    path: Path
    reference: str
    images: int
    argmax_agreement: float
    max_abs_error: float | None
    worst_image: str
    worst_agreement: float
    worst_map: Path | None
    floor: float

    @property
    def passed(self) -> bool:
        """Whether the agreement reaches the floor."""
        return self.argmax_agreement >= self.floor

    @property
    def complaint(self) -> str | None:
        """Say how the floor is missed, if it is."""
        if self.passed:
            return None
        return (
            f"{self.argmax_agreement:.4%} of the pixels agree with torch, below {self.floor:.4%}; "
            f"worst image {self.worst_image}"
        )

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "reference": self.reference,
            "images": self.images,
            "argmax_agreement": self.argmax_agreement,
            "max_abs_error": self.max_abs_error,
            "worst_image": self.worst_image,
            "worst_agreement": self.worst_agreement,
            "worst_map": str(self.worst_map) if self.worst_map else None,
            "floor": self.floor,
            "passed": self.passed,
        }


@dataclass
class _Tally:
    """The running comparison of one file."""

    labels: Session
    logits: Session | None = None
    pixels: int = 0
    agreeing: int = 0
    error: float = 0.0
    worst: float = 2.0
    worst_name: str = ""
    worst_picture: Array = field(default_factory=lambda: np.empty(0))

    def add(self, name: str, image: Array, labels: Array, logits: Array) -> None:
        feeds = {"image": image[None]}
        same = self.labels.run(feeds)["labels"][0] == labels
        self.pixels += same.size
        self.agreeing += int(same.sum())
        if self.logits:
            difference = np.abs(self.logits.run(feeds)[LOGITS] - logits)
            self.error = max(self.error, float(difference.max()))
        if same.mean() < self.worst:
            self.worst, self.worst_name = float(same.mean()), name
            self.worst_picture = np.where(same[..., None], image // 2, RED)


def check_parity(
    network: nn.Module,
    files: Sequence[tuple[str | Path, float, Mapping[str, Any]]],
    images: Iterable[tuple[str, Array]],
    shrink: Fraction = Fraction(1),
) -> list[Parity]:
    """Compare exported files with the network in torch, on the same pictures.

    The reference upsamples with torch's own bilinear interpolation, whichever tail a file has. The
    worst picture of a file that disagrees anywhere is written beside it as ``NAME-worst.png``.

    Args:
        network: as given to `export.onnx.export_onnx`, in evaluation mode, on the CPU.
        files: paths, the agreement that each must reach, 0 to 1, and how each is opened: further
            arguments of `export.runtimes.open_session`.
        images: names and pictures, uint8 [H, W, 3] of the files' size.
        shrink: by which the files shrink them; see `export.onnx.Deployable`.

    Raises:
        UsageError: there are no images, or they have another size.
    """
    count, convert = 0, InputConversion(shrink)
    with ExitStack() as stack, torch.inference_mode():
        tallies = []
        for path, _, options in files:
            tally = _Tally(stack.enter_context(open_session(path, **options)))
            if model := _with_logits(path):
                tally.logits = stack.enter_context(open_session(model, **options))
            tallies.append(tally)
        for name, image in images:
            count += 1
            logits = network(convert(torch.from_numpy(image)[None]))
            labels = resize(logits, *image.shape[:2])[0].numpy()
            for tally in tallies:
                tally.add(name, image, labels, logits.numpy())
    if not count:
        raise UsageError("parity needs at least one image")
    return [
        Parity(
            path=Path(path),
            reference=f"torch {torch.__version__}",
            images=count,
            argmax_agreement=tally.agreeing / tally.pixels,
            max_abs_error=tally.error if tally.logits else None,
            worst_image=tally.worst_name,
            worst_agreement=tally.worst,
            worst_map=_write_map(Path(path), tally),
            floor=floor,
        )
        for (path, floor, _), tally in zip(files, tallies, strict=True)
    ]


def _with_logits(path: str | Path) -> bytes | None:
    """Return a file's contents with the logits as a further output, if it computes any."""
    if Path(path).suffix != ".onnx":
        return None
    model = onnx.load(path)
    if not any(LOGITS in node.output for node in model.graph.node):
        return None
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(LOGITS))
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def _write_map(path: Path, tally: _Tally) -> Path | None:
    if tally.agreeing == tally.pixels:
        return None
    target = path.with_name(f"{path.stem}-worst.png")
    with whole_file(target) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(tally.worst_picture, cv2.COLOR_RGB2BGR))
    return target
