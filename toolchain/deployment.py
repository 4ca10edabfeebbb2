"""From a checkpoint, or a bare genotype, to files that run on a device and their parity."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from export.console import track
from export.errors import UsageError
from export.files import whole_file, write_json
from export.onnx import export_onnx
from export.parity import Parity, check_parity
from export.precision import Precision, Target, to_fp16, to_int8
from export.runtimes.base import Array
from export.tail import DEFAULT_TAIL
from toolchain.blueprint import AGGREGATION
from toolchain.datasets import FaceDataset, open_dataset
from toolchain.datasets.base import resize_sample
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import Segmenter
from toolchain.training.checkpoints import CheckpointInfo, load_segmenter
from toolchain.training.evaluation import evaluation_data

# Shares of pixels that keep their label. Reduced precision moves boundaries by design; how much is
# worth it is for the F1 to say, and these floors only catch what is broken.
FLOORS: dict[Precision, float] = {"fp32": 0.9999, "fp16": 0.995, "int8": 0.9}
NAMES: dict[Precision, str] = {
    "fp32": "model.onnx",
    "fp16": "model-fp16.onnx",
    "int8": "model-int8.onnx",
}
CALIBRATION_IMAGES = 100


@dataclass(frozen=True)
class ExportedFile:
    """A file of a deployment and how well it agrees with torch."""

    path: Path
    precision: Precision
    opset: int
    parity: Parity

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "path": str(self.path),
            "format": "onnx",
            "precision": self.precision,
            "size_bytes": self.path.stat().st_size,
            "opset": self.opset,
            "parity": self.parity.document(),
        }


@dataclass(frozen=True)
class Deployment:
    """The files of one network."""

    files: tuple[ExportedFile, ...]

    @property
    def failure(self) -> str | None:
        """Why the parity gate failed, or None."""
        failed = [file for file in self.files if not file.parity.passed]
        if not failed:
            return None
        parity = failed[0].parity
        return (
            f"{failed[0].path}: {parity.argmax_agreement:.4%} of the pixels agree with torch, "
            f"below {parity.floor:.4%}; worst image {parity.worst_image}"
        )

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form; ``parity`` is that of the least agreeing file."""
        least = min(self.files, key=lambda file: file.parity.argmax_agreement - file.parity.floor)
        return {
            "files": [file.document() for file in self.files],
            "parity": least.parity.document(),
        }


def load_network(
    checkpoint: str | Path | None, genotype: str | None, encoder: str
) -> tuple[Segmenter, CheckpointInfo]:
    """Load a checkpoint, or build a genotype's network with untrained weights.

    Raises:
        UsageError: both are given, or neither; the genotype or the encoder is not valid.
        DataError: the checkpoint cannot be used.
    """
    if (checkpoint is None) == (genotype is None):
        raise UsageError("give a CHECKPOINT or --genotype GENOTYPE, one of them")
    if checkpoint is not None:
        return load_segmenter(checkpoint)
    info = CheckpointInfo(
        genotype=str(Genotype.parse(str(genotype))),
        encoder=encoder,
        aggregation=AGGREGATION,
        label_set=CELEBAMASK_HQ,
        input_size=512,
        licence="untrained weights",
    )
    return info.build().eval(), info


def deploy(
    network: Segmenter,
    info: CheckpointInfo,
    output: str | Path,
    *,
    precisions: Sequence[Precision] = ("fp32",),
    input_size: int | None = None,
    batch: int | None = 1,
    probabilities: bool = False,
    tail: str = DEFAULT_TAIL,
    target: Target = "cpu",
    calibration: str | None = None,
    data: str | None = None,
    images: int = 50,
    min_agreement: float | None = None,
    licence: str | None = None,
) -> Deployment:
    """Write a network as ONNX files, one a precision, and compare each with torch.

    The folder gets ``model.onnx``, ``model-fp16.onnx``, ``model-int8.onnx`` as asked for, and
    ``export.json``, which holds the result's document.

    Args:
        network: in evaluation mode, on the CPU.
        info: what the files will say of it.
        output: the folder.
        precisions: which files to write.
        input_size: height and width in pixels; None is the size of its training.
        batch: images at once, None for any number.
        probabilities: also give the class probabilities, at the network's resolution.
        tail: see `export.tail`.
        target: what int8 is for; see `export.precision.RECIPES`.
        calibration: data that int8 takes its ranges from.
        data: data for the comparison; None is synthetic faces.
        images: how many for the comparison.
        min_agreement: the floor of agreeing pixels, 0 to 1; None is `FLOORS` by precision.
        licence: terms of use to state in the files; None is what the training data says.

    Raises:
        UsageError: int8 without calibration data, or a number is out of range.
        DataError: the data cannot be used.
    """
    if "int8" in precisions and calibration is None:
        raise UsageError("int8 needs images to take its ranges from; give --calibration DATA")
    size = input_size or info.input_size
    judged = evaluation_data(data or f"synthetic:{images}", None, images)
    folder = Path(output)
    deployable = network.deployable(size)
    paths = [folder / NAMES[precision] for precision in precisions]
    with TemporaryDirectory() as temporary:
        plain = export_onnx(
            deployable,
            Path(temporary) / "model.onnx",
            metadata=replace(info, input_size=size, licence=licence or info.licence).metadata(),
            input_size=size,
            batch=batch,
            output="probabilities" if probabilities else "labels",
            tail=tail,
        )
        for precision, path in zip(precisions, paths, strict=True):
            if precision == "fp16":
                to_fp16(plain, path)
            elif precision == "int8":
                seen = open_dataset(str(calibration), "train")
                pictures = (image for _, image in _pictures(seen, CALIBRATION_IMAGES, size))
                to_int8(plain, path, pictures, target=target)
            else:
                with whole_file(path) as copy:
                    shutil.copyfile(plain, copy)
    floors = [FLOORS[p] if min_agreement is None else min_agreement for p in precisions]
    parities = check_parity(
        deployable,
        list(zip(paths, floors, strict=True)),
        track(_pictures(judged, images, size), "comparing with torch", len(judged)),
        # The int8 kernels of this CPU may overflow where the target's do not.
        float_quantised=target == "gpu",
    )
    deployment = Deployment(
        tuple(
            ExportedFile(path, precision, _opset(path), parity)
            for path, precision, parity in zip(paths, precisions, parities, strict=True)
        )
    )
    write_json(folder / "export.json", deployment.document())
    return deployment


def _pictures(dataset: FaceDataset, limit: int, size: int) -> Iterator[tuple[str, Array]]:
    """Yield names and images of at most ``limit`` samples, spread over a dataset."""
    count = min(limit, len(dataset))
    for index in range(count):
        sample = resize_sample(dataset.read(index * len(dataset) // count), size)
        yield sample.name, sample.image


def _opset(path: Path) -> int:
    model = onnx.load(path, load_external_data=False)
    return next(entry.version for entry in model.opset_import if not entry.domain)
