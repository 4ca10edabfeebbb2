"""Does the file compute what the network computes? Pixel by pixel, on real pictures."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import onnx
import torch
from torch import nn

from export.onnx_file.metadata import Precision
from export.onnx_file.tail import resize
from export.onnx_file.writing import LOGITS, InputConversion
from export.runtimes import Session, open_session
from export.runtimes.base import Array
from export.system.errors import UsageError
from export.system.files import whole_file

RED = np.array([255, 0, 0], np.uint8)


@dataclass(frozen=True)
class Floors:
    """What a file must reach to pass.

    Attributes:
        agreement: share of all pixels with torch's label.
        class_agreement: the same of each class (`Parity.class_agreement`). All pixels say little of
            it: eyes, brows, nose and lips together are a twentieth of them.
        error: largest difference between logits, over the range of torch's logits.
    """

    agreement: float
    class_agreement: float
    error: float


# Reduced precision moves boundaries by design; how much is worth it is for the F1 to say, and these
# floors only catch what is broken. Of a trained network with faces fp16 keeps 0.999 of all pixels,
# 0.99 of the least class and errs by 0.013; int8 keeps 0.97 and 0.83 and errs by 0.19.
FLOORS: dict[Precision, Floors] = {
    "fp32": Floors(0.9999, 0.995, 1e-3),
    "fp16": Floors(0.995, 0.95, 0.1),
    "int8": Floors(0.9, 0.5, 0.5),
}
LEAST_SHARE = 1e-4
LEAST_PIXELS = 100
"""Classes of a smaller share of all pixels, or of fewer, are not judged: a few are many then."""


@dataclass(frozen=True)
class Subject:
    """A file that is compared, and where.

    Attributes:
        path: of the file.
        floors: that it must reach.
        where: runtime and device, and further arguments of `export.runtimes.open_session`.
    """

    path: Path
    floors: Floors
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parity:
    """How well one file agrees with the network.

    Attributes:
        path: the file.
        reference: what it was compared with.
        runtime: that ran it.
        device: on which.
        images: how many pictures.
        argmax_agreement: the share of pixels with the same label, 0 to 1, over all pictures.
        class_agreement: by name of the class, twice the pixels that have it in both over those that
            have it in one and in the other, over all pictures: 0 where it vanished. None for a
            class that torch gives to fewer pixels than `LEAST_SHARE` or `LEAST_PIXELS`.
        max_abs_error: the largest difference between logits, at the network's resolution; no
            upsampled logit differs by more, since each is a weighted mean of those. None for a
            file that shows no logits: one of constant labels, or an engine.
        logit_range: between the least and the largest of torch's logits.
        not_finite: how many outputs (logits and probabilities) are no number, or infinite.
        worst_image: the picture with the fewest agreeing pixels, and its share
        worst_agreement: of them.
        worst_map: a PNG of it with the disagreeing pixels in red, or None where all agree.
        floors: what was asked for.
    """

    path: Path
    reference: str
    runtime: str
    device: str
    images: int
    argmax_agreement: float
    class_agreement: dict[str, float | None]
    max_abs_error: float | None
    logit_range: float
    not_finite: int
    worst_image: str
    worst_agreement: float
    worst_map: Path | None
    floors: Floors

    @property
    def passed(self) -> bool:
        """Whether every floor is reached."""
        return self.complaint is None

    @property
    def least_class(self) -> tuple[str, float]:
        """The class that agrees least, and its agreement; 1 where no class is judged."""
        judged = [
            (share, name) for name, share in self.class_agreement.items() if share is not None
        ]
        share, name = min(judged, default=(1.0, "none"))
        return name, share

    @property
    def complaint(self) -> str | None:
        """Say which floor is missed, if one is."""
        place = f"on {self.device} with {self.runtime}"
        if self.not_finite:
            return f"{self.not_finite} of its outputs {place} are no finite numbers"
        if self.argmax_agreement < self.floors.agreement:
            return (
                f"{self.argmax_agreement:.4%} of the pixels agree with torch {place}, below "
                f"{self.floors.agreement:.4%}; worst image {self.worst_image}"
            )
        name, share = self.least_class
        if share < self.floors.class_agreement:
            return (
                f"class {name} agrees with torch by {share:.4f} {place}, below "
                f"{self.floors.class_agreement:g}; worst image {self.worst_image}"
            )
        largest = self.floors.error * self.logit_range
        if self.max_abs_error is not None and self.max_abs_error > largest:
            return (
                f"a logit differs from torch's by {self.max_abs_error:.3g} {place}, more than "
                f"{largest:.3g} ({self.floors.error:g} of their range)"
            )
        return None

    @property
    def margin(self) -> float:
        """How far above its floor the agreement is, of all pixels or the least class."""
        return min(
            self.argmax_agreement - self.floors.agreement,
            self.least_class[1] - self.floors.class_agreement,
        )

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "reference": self.reference,
            "runtime": self.runtime,
            "device": self.device,
            "images": self.images,
            "argmax_agreement": self.argmax_agreement,
            "class_agreement": self.class_agreement,
            "max_abs_error": self.max_abs_error,
            "logit_range": self.logit_range,
            "not_finite": self.not_finite,
            "worst_image": self.worst_image,
            "worst_agreement": self.worst_agreement,
            "worst_map": str(self.worst_map) if self.worst_map else None,
            "floor": self.floors.agreement,
            "class_floor": self.floors.class_agreement,
            "error_floor": self.floors.error,
            "passed": self.passed,
        }


class _Tally:
    """The running comparison of one file.

    Args:
        subject: the file.
        classes: how many.
    """

    def __init__(self, subject: Subject, classes: int):
        self.subject = subject
        self._stack = ExitStack()
        self.labels = self._stack.enter_context(open_session(subject.path, **subject.where))
        self.logits: Session | None = None
        if model := _with_logits(subject.path):
            self.logits = self._stack.enter_context(open_session(model, **subject.where))
        # Pixels that have a class in torch, in the file, and in both.
        self.counts = np.zeros((3, classes), np.int64)
        self.error = 0.0
        self.not_finite = 0
        self.worst = 2.0
        self.worst_name = ""
        self.worst_picture: Array = np.empty(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, name: str, image: Array, labels: Array, logits: Array) -> None:
        feeds = {"image": image[None]}
        outputs = self.labels.run(feeds)
        found = outputs.pop("labels")[0]
        same = found == labels
        classes = self.counts.shape[1]
        for row, values in enumerate((labels, found, labels[same])):
            # A broken file may give labels that no class has; they agree with nothing.
            self.counts[row] += np.bincount(values.ravel(), minlength=classes)[:classes]
        if self.logits:
            outputs[LOGITS] = self.logits.run(feeds)[LOGITS]
            difference = np.abs(outputs[LOGITS] - logits)
            self.error = max(self.error, float(np.nan_to_num(difference, nan=np.inf).max()))
        self.not_finite += sum(int((~np.isfinite(o)).sum()) for o in outputs.values())
        if same.mean() < self.worst:
            self.worst, self.worst_name = float(same.mean()), name
            self.worst_picture = np.where(same[..., None], image // 2, RED)

    def result(self, images: int, classes: Sequence[str], logit_range: float) -> Parity:
        in_torch, in_file, in_both = self.counts
        pixels = int(in_torch.sum())
        least = max(LEAST_SHARE * pixels, LEAST_PIXELS)
        return Parity(
            path=self.subject.path,
            reference=f"torch {torch.__version__}",
            runtime=str(self.subject.where.get("runtime", "onnxruntime")),
            device=self.labels.device,
            images=images,
            argmax_agreement=int(in_both.sum()) / pixels,
            class_agreement={
                name: 2 * int(b) / int(t + f) if t >= least else None
                for name, t, f, b in zip(classes, in_torch, in_file, in_both, strict=True)
            },
            max_abs_error=self.error if self.logits else None,
            logit_range=logit_range,
            not_finite=self.not_finite,
            worst_image=self.worst_name,
            worst_agreement=self.worst,
            worst_map=self._write_map(pixels),
            floors=self.subject.floors,
        )

    def _write_map(self, pixels: int) -> Path | None:
        path = self.subject.path
        if int(self.counts[2].sum()) == pixels:
            return None
        target = path.with_name(f"{path.stem}-worst.png")
        with whole_file(target) as temporary:
            # Not imwrite: at a name that is no text OpenCV ends the process.
            picture = cv2.cvtColor(self.worst_picture, cv2.COLOR_RGB2BGR)
            temporary.write_bytes(cv2.imencode(target.suffix, picture)[1].tobytes())
        return target


def check_parity(
    network: nn.Module,
    subjects: Sequence[Subject],
    images: Iterable[tuple[str, Array]],
    classes: Sequence[str],
    shrink: Fraction = Fraction(1),
) -> list[Parity]:
    """Compare exported files with the network in torch, on the same pictures.

    The reference upsamples with torch's own bilinear interpolation, whichever tail a file has. The
    worst picture of a file that disagrees anywhere is written beside it as ``NAME-worst.png``.

    Args:
        network: as given to `export.onnx_file.writing.export_onnx`, in evaluation mode, on the CPU.
        subjects: the files, and where each is compared.
        images: names and pictures, uint8 [H, W, 3] of the files' size.
        classes: names of the labels.
        shrink: by which the files shrink the pictures; see `export.onnx_file.writing.Deployable`.

    Raises:
        UsageError: there are no images, or they have another size.
    """
    count, convert = 0, InputConversion(shrink)
    least, largest = np.inf, -np.inf
    with ExitStack() as stack, torch.inference_mode():
        tallies = [stack.enter_context(_Tally(subject, len(classes))) for subject in subjects]
        for name, image in images:
            count += 1
            logits = network(convert(torch.from_numpy(image)[None]))
            least, largest = min(least, float(logits.min())), max(largest, float(logits.max()))
            labels = resize(logits, *image.shape[:2])[0].numpy()
            for tally in tallies:
                tally.add(name, image, labels, logits.numpy())
    if not count:
        raise UsageError("parity needs at least one image")
    return [tally.result(count, classes, largest - least) for tally in tallies]


def _with_logits(path: str | Path) -> bytes | None:
    """Return a file's contents with the logits as a further output, if it computes any."""
    if Path(path).suffix != ".onnx":
        return None
    model = onnx.load(path)
    if not any(LOGITS in node.output for node in model.graph.node):
        return None
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(LOGITS))
    return onnx.shape_inference.infer_shapes(model).SerializeToString()
