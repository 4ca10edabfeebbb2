"""From a checkpoint, or a bare genotype, to files that run on a device, checked against torch."""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import onnx
import torch
from torch import nn

from export.benchmarking.tail_choice import TailChoice
from export.bundle.writing import NAMES, write_bundle
from export.checks.parity import FLOORS, Floors, Subject, check_parity
from export.onnx_file.metadata import Precision
from export.onnx_file.writing import Target, export_onnx
from export.precision.half import to_fp16
from export.precision.quantisation import FloatParts, Quantiser
from export.runtimes.base import Array
from export.runtimes.tensorrt.engine import CURRENT, build_engine
from export.system.console import duration, track
from export.system.errors import UsageError
from export.system.files import only_one, whole_file, write_json
from toolchain.datasets import FaceDataset, open_dataset
from toolchain.datasets.base import resize_sample
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import first, open_calibration, open_for_figures
from toolchain.deploy.exported import Deployment, ExportedFile
from toolchain.deploy.place import Place
from toolchain.deploy.quality import Quality, choose_int8, measure_quality
from toolchain.genotype import Genotype
from toolchain.networks.blueprint import AGGREGATION
from toolchain.networks.segmenter import Segmenter
from toolchain.training.checkpoints import CheckpointInfo, load_segmenter
from toolchain.training.evaluation import count_seen
from toolchain.training.initialisation import settle_batch_norms
from toolchain.training.samples import some_images

log = logging.getLogger(__name__)
# Mean F1 that a file may lose against torch.
MAX_LOSSES: dict[Precision, float] = {"fp32": 0.001, "fp16": 0.002, "int8": 0.01}
# int8 is chosen on other images than it is judged on, so it aims for less than it may lose.
AIM = 0.5
CALIBRATION_IMAGES = 100
CHOICE_IMAGES = 120
CHOICES = 4
"""Files, about, that are judged to choose what stays in float."""
FASTEST = "fastest"
# Pixels of the images by which an untrained network's batch norms are set.
SETTLING_SIZE = 128


class Gate(NamedTuple):
    """What a file has to reach: its agreement with torch, and how much mean F1 it may lose."""

    floors: Floors
    max_loss: float


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
        seen=SeenImages().encode(),
    )
    network = info.build()
    settle_batch_norms(network, some_images(open_dataset("synthetic:16"), SETTLING_SIZE))
    return network, info


def deploy(
    network: Segmenter,
    info: CheckpointInfo,
    output: str | Path,
    *,
    precisions: Sequence[Precision] = ("fp32",),
    input_size: int | None = None,
    working_size: int | None = None,
    batch: int | None = 1,
    any_size: bool = False,
    probabilities: bool = False,
    tail: str = FASTEST,
    runtime: str = "onnxruntime",
    device: str | None = None,
    gpus: Sequence[str] = (CURRENT,),
    target: Target | None = None,
    calibration: str | None = None,
    data: str | None = None,
    split: str | None = None,
    force: bool = False,
    images: int = 50,
    min_agreement: float | None = None,
    min_class_agreement: float | None = None,
    min_f1: float | None = None,
    max_f1_loss: float | None = None,
    licence: str | None = None,
    bundle: bool = False,
) -> Deployment:
    """Write a network as ONNX files, one a precision, and compare each with torch.

    The folder gets ``model.onnx``, ``model-fp16.onnx``, ``model-int8.onnx`` as asked for, with a
    runtime of NVIDIA's an engine of each, and ``export.json``, which holds the result's document.
    Every file is compared on every device here that runs it.

    Args:
        network: in evaluation mode, on the CPU.
        info: what the files will say of it.
        output: the folder.
        precisions: which files to write.
        input_size: height and width in pixels; None is what ``info`` says.
        working_size: those to which the files average an image down; None is what ``info`` says.
        batch: images at once, None for any number.
        any_size: take images of any size in multiples of 32, or more with a working size; see
            `export.onnx_file.writing.export_onnx`.
        probabilities: also give the class probabilities, at the network's resolution.
        tail: see `export.onnx_file.tail`; `FASTEST` measures which, where the files are to run.
        runtime: in `export.runtimes.RUNTIMES`, that is to run the files; `BINDINGS` build engines.
        device: on which: ``cpu``, ``cuda:N``; None: the CPU, or the first GPU for engines.
        gpus: whose the engines are to be; see `export.runtimes.tensorrt.engine.build_engine`.
        target: what the files are for; None: what ``device`` is.
        calibration: data that int8 takes its ranges from, and chooses its float parts by, if it has
            labels: its part for calibration, filled up with training images, never images of
            ``data`` that the files are judged on.
        data: labelled data for the comparison and the F1; None compares on synthetic faces and
            measures no F1.
        split: which images of ``data``, see `open_for_figures`.
        force: even on images that the network was trained on.
        images: how many for the comparison.
        min_agreement: the floor of agreeing pixels, 0 to 1; None is `FLOORS` by precision.
        min_class_agreement: the same of each class; see `export.checks.parity.Floors`.
        min_f1: the floor of the mean F1 of every file; needs ``data``.
        max_f1_loss: how much mean F1 a file may lose against torch; None is `MAX_LOSSES`.
        licence: terms of use to state in the files; None is what the training data says.
        bundle: also write ``bundle/``, a folder that runs without this project, unless a gate
            failed; see `export.bundle.writing`.

    Raises:
        UsageError: something is missing for what is asked, a number is out of range, or another
            process is at work in the folder.
        DataError: the data cannot be used, or the network was trained on it.
        UnavailableError: the runtime or the device is missing.
    """
    place = Place.of(runtime, device, gpus)
    target = target or place.target
    if target == "gpu" and tail == "boundaries":
        raise UsageError("--tail boundaries is for CPUs; for GPUs take fastest, resize or cells")
    if "int8" in precisions and calibration is None:
        raise UsageError("int8 needs images to take its ranges from; give --calibration DATA")
    if data is None and (min_f1, max_f1_loss) != (None, None):
        raise UsageError("a floor of the F1 needs labelled images; give --data DATA")
    if data is None and split is not None:
        raise UsageError("--split is of labelled images; give --data DATA")
    info = info.at(input_size, working_size)
    size = info.input_size
    folder = Path(output)
    if data is None:
        judged, seen = open_dataset(f"synthetic:{images}"), None
    else:
        judged, split = open_for_figures(data, split)
        judged = first(judged, images)
        seen = count_seen(data, info.seen_images, judged, split, force)
    calibrating = None
    if "int8" in precisions:
        not_these = SeenImages() if data is None else SeenImages.of(judged)
        calibrating = open_calibration(str(calibration), CHOICE_IMAGES, not_these.prints)
    with only_one(folder), TemporaryDirectory() as temporary:
        deployable = network.deployable(info.network_size, any_size=any_size)
        runs = _runs(precisions, len(judged), data is not None, calibrating)
        seconds = runs * _seconds_of_a_run(deployable, info.network_size)
        log.info(
            "about %s: %s, compared with torch on %d images",
            duration(seconds),
            ", ".join(precisions),
            len(judged),
        )
        if tail == FASTEST:
            log.info("measuring which way from logits to labels is fastest")
        chosen = place.choose_tail(info, target) if tail == FASTEST else TailChoice(tail, {})
        if min_class_agreement is None and not info.training:
            min_class_agreement = 0  # the labels of an untrained network are noise
        gates = {
            precision: Gate(
                _floors(precision, min_agreement, min_class_agreement),
                MAX_LOSSES[precision] if max_f1_loss is None else max_f1_loss,
            )
            for precision in precisions
        }
        # What a GPU's int8 file is worth is judged in float: it is not for the kernels of this CPU.
        options = {p: {"float_quantised": p == "int8" and target == "gpu"} for p in precisions}
        plain = export_onnx(
            deployable,
            Path(temporary) / "model.onnx",
            metadata=replace(info, licence=licence or info.licence).metadata(),
            input_size=size,
            working_size=info.working_size,
            batch=batch,
            any_size=any_size,
            output="probabilities" if probabilities else "labels",
            tail=chosen.name,
            target=target,
        )
        written: list[ExportedFile] = []
        for precision in precisions:
            path = folder / NAMES[precision]
            log.info("writing %s", path)
            float_parts = None
            if precision == "fp16":
                to_fp16(plain, path)
            elif precision == "int8":
                assert calibrating is not None
                aim = None if data is None else AIM * gates["int8"].max_loss
                float_parts = _write_int8(plain, path, calibrating, size, target, aim, options)
            else:
                with whole_file(path) as copy:
                    shutil.copyfile(plain, copy)
            written.append(ExportedFile(path, precision, _opset(path), float_parts=float_parts))
        # Files are judged where they are to run, and compared on every other device here.
        wheres = {file.path: place.wheres(options[file.precision]) for file in written}
        if place.binding:
            for file in list(written):
                built = build_engine(
                    place.binding, file.path, folder, gpus=gpus, device=place.index, reuse=True
                )
                written.append(replace(file, path=built.path, engine=built.record))
                wheres[built.path] = place.engine_wheres()
        files = _judged(
            deployable,
            written,
            wheres,
            gates,
            judged,
            info,
            labelled=data is not None,
            min_f1=min_f1,
        )
        deployment = Deployment(files, chosen, split, seen)
        write_json(folder / "export.json", deployment.document())
        if bundle and not deployment.failure:
            bundled = write_bundle(
                [folder / NAMES[precision] for precision in precisions],
                folder / "bundle",
                sample=face_photo(size),
                figures=_figures(files),
            )
            deployment = replace(deployment, bundle=bundled)
            write_json(folder / "export.json", deployment.document())
    return deployment


def _runs(
    precisions: Sequence[Precision], images: int, labelled: bool, calibrating: FaceDataset | None
) -> int:
    """Return about how many times networks run until all files are written and judged."""
    runs = images * (1 + len(precisions)) * (1 + labelled)
    if calibrating is not None:
        runs += min(CALIBRATION_IMAGES, len(calibrating)) + CHOICES * labelled * len(calibrating)
    return runs


def _seconds_of_a_run(network: nn.Module, size: int) -> float:
    image = torch.zeros(1, 3, size, size)
    with torch.inference_mode():
        network(image)  # the first run takes longer
        start = time.perf_counter()
        network(image)
    return time.perf_counter() - start


def _floors(precision: Precision, agreement: float | None, class_agreement: float | None) -> Floors:
    usual = FLOORS[precision]
    return replace(
        usual,
        agreement=usual.agreement if agreement is None else agreement,
        class_agreement=usual.class_agreement if class_agreement is None else class_agreement,
    )


def _write_int8(
    plain: Path,
    path: Path,
    images: FaceDataset,
    size: int,
    target: Target,
    max_loss: float | None,
    options: dict[Precision, dict[str, Any]],
) -> FloatParts | None:
    """Write an int8 file; unless ``max_loss`` is None, choose by F1 what stays in float."""
    if max_loss is not None and not images.labelled:
        log.warning(
            "--calibration: photographs alone do not tell what int8 costs; no part stays in float"
        )
        max_loss = None
    ranging = images.subset(range(min(CALIBRATION_IMAGES, len(images))))
    looked_at = track(_pictures(ranging, size), "ranges for int8", len(ranging))
    pictures = (image for _, image in looked_at)
    with Quantiser(plain, pictures, target) as quantiser:
        chosen = None
        if max_loss is not None:
            chosen = choose_int8(plain, quantiser, images, size, max_loss, **options["int8"])
        quantiser.write(path, chosen.names if chosen else ())
    return chosen


def _judged(
    deployable: nn.Module,
    files: Sequence[ExportedFile],
    wheres: Mapping[Path, list[dict[str, Any]]],
    gates: Mapping[Precision, Gate],
    images: FaceDataset,
    info: CheckpointInfo,
    *,
    labelled: bool,
    min_f1: float | None,
) -> tuple[ExportedFile, ...]:
    """Compare files with torch wherever they run; of labelled images measure their F1, too."""
    subjects = [
        Subject(file.path, gates[file.precision].floors, where)
        for file in files
        for where in wheres[file.path]
    ]
    parities = check_parity(
        deployable,
        subjects,
        track(_pictures(images, info.input_size), "comparing with torch", len(images)),
        info.label_set.classes,
        info.shrink,
    )
    qualities: dict[Path, Quality] = {}
    if labelled:
        tried = [
            (file.path, gates[file.precision].max_loss, wheres[file.path][0])
            for file in files
            if wheres[file.path]
        ]
        found = measure_quality(deployable, tried, images, info.input_size, min_f1, info.shrink)
        qualities = {path: quality for (path, *_), quality in zip(tried, found, strict=True)}
    return tuple(
        replace(
            file,
            parities=tuple(parity for parity in parities if parity.path == file.path),
            quality=qualities.get(file.path),
        )
        for file in files
    )


def _figures(files: Sequence[ExportedFile]) -> dict[str, Any]:
    """Return what a model card says of the files: no path of this machine."""
    figures: dict[str, Any] = {}
    for file in files:
        name = f"{file.format} {file.precision}"
        for parity in file.parities:
            told = parity.document()
            del told["worst_map"], told["worst_image"]
            figures[f"Agreement with torch, {name} on {parity.device}"] = told
        if file.quality:
            figures[f"F1, {name}"] = file.quality.document()
    return figures


def face_photo(size: int) -> Array:
    """Return the picture of a synthetic face, uint8 [size, size, 3]."""
    return resize_sample(open_dataset("synthetic:1:0").read(0), size).image


def _pictures(dataset: FaceDataset, size: int) -> Iterator[tuple[str, Array]]:
    """Yield names and images of all samples."""
    for sample in dataset:
        resized = resize_sample(sample, size)
        yield resized.name, resized.image


def _opset(path: Path) -> int:
    model = onnx.load(path, load_external_data=False)
    return next(entry.version for entry in model.opset_import if not entry.domain)
