"""``nastool export``: write a network as complete ONNX files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from export.system.inputs import InputFile
from export.system.numbers import Side
from toolchain.cli.inputs import Data, GenotypeText
from toolchain.cli.training import images_named, split_options

if TYPE_CHECKING:
    from export.benchmarking.tail_choice import TailChoice
    from toolchain.deploy.exported import Deployment, ExportedFile


@command(
    "export",
    groups={
        "First of all": ("output", "precisions", "calibration", "data", "bundle"),
        "Where the files run": ("runtime", "device", "gpus", "target", "onnx", "tensorrt"),
        "What the files are like": (
            *("input_size", "working_size", "any_batch", "any_size", "probabilities", "tail"),
            "licence",
        ),
        "How the files are judged": (
            *("images", "split", "force", "min_agreement", "min_class_agreement", "min_f1"),
            "max_f1_loss",
        ),
        "Without a checkpoint": ("genotype", "encoder"),
    },
)
@click.argument("checkpoint", required=False, type=InputFile())
@click.option(
    "--genotype",
    type=GenotypeText(),
    help="In place of CHECKPOINT: a genotype with untrained weights.",
)
@click.option(
    "--encoder", default="mobilenetv2", show_default=True, help="Encoder, with --genotype."
)
@click.option("--onnx", is_flag=True, help="Write ONNX files, as is done anyway.")
@click.option("--tensorrt", is_flag=True, help="The same as --runtime tensorrt.")
@click.option(
    "--runtime",
    type=click.Choice(["onnxruntime", "tensorrt", "tensorrt-rtx"]),
    default="onnxruntime",
    show_default=True,
    help="What is to run the files. tensorrt and tensorrt-rtx also build an engine of each.",
)
@click.option(
    "--device",
    help="On which they are to run: cpu, or cuda:0, the one for engines. It decides what the files "
    "are like, where the tail is chosen and where they are judged.",
)
@click.option(
    "--gpu",
    "gpus",
    multiple=True,
    default=["current"],
    show_default=True,
    metavar="NAME",
    help="With tensorrt-rtx: whose engine to build, such as sm86; may be given several times, and "
    "needs no GPU here.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    default=["fp32"],
    show_default=True,
    help="May be given several times, one file each.",
)
@click.option(
    "--calibration",
    type=Data(),
    help="Data, or a folder of photographs alone, that int8 takes its ranges from (at most 100 "
    "images); with --data and labels it also chooses by F1 (at most 120) what stays in float: "
    "images kept for this and training images, never those of the figures.",
)
@click.option(
    "--target",
    type=click.Choice(["cpu", "gpu"]),
    help="What the files are like, if not what --device is: those for gpu go to TensorRT as they "
    "are, and their int8 is symmetric, which is slow on CPUs.",
)
@click.option(
    "--input-size",
    type=Side(),
    help="Height and width in pixels; that of the training if left out.",
)
@click.option(
    "--working-size",
    type=Side(),
    help="Pixels to which the file averages an image down before its network, a multiple of 32; "
    "that of the training if left out, the --input-size for none.",
)
@click.option("--any-batch", is_flag=True, help="Take any number of images instead of one.")
@click.option(
    "--any-size",
    is_flag=True,
    help="Take images of any size in multiples of 32; with a "
    "working size of q/p of the input size, of 32 p.",
)
@click.option("--probabilities", is_flag=True, help="Also give the class probabilities.")
@click.option(
    "--tail",
    type=click.Choice(["fastest", "boundaries", "cells", "resize"]),
    default="fastest",
    show_default=True,
    help="How logits become labels, all ways exact: boundaries takes a time that depends on the "
    "picture, cells always the same, resize is the simplest graph. fastest measures them on the "
    "device.",
)
@click.option(
    "--data",
    type=Data(),
    help="Labelled data for the comparison with torch and the F1; if left out, the comparison is "
    "on synthetic faces and there is no F1.",
)
@split_options
@click.option(
    "--images",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    help="Images for the comparison with torch and the F1, chosen by name.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    help="Floor of the share of pixels that agree with torch, for every file; if left out "
    "0.9999 for fp32, 0.995 for fp16, 0.9 for int8.",
)
@click.option(
    "--min-class-agreement",
    type=click.FloatRange(0, 1),
    help="The same floor for each class, of twice the pixels that have it in both over those that "
    "have it in either; if left out 0.995 for fp32, 0.95 for fp16, 0.5 for int8.",
)
@click.option(
    "--min-f1", type=click.FloatRange(0, 1), help="Floor of the mean F1 of every file, with --data."
)
@click.option(
    "--max-f1-loss",
    type=click.FloatRange(0, 1),
    help="How much less mean F1 than torch a file may have, with --data; if left out 0.001 for "
    "fp32, 0.002 for fp16, 0.01 for int8.",
)
@click.option(
    "--licence", help="Terms to state in the file; those of the training data if left out."
)
@click.option(
    "--bundle",
    is_flag=True,
    help="Also write bundle/: a folder that runs without nastool, with examples in Python and C++.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("exported"),
    show_default=True,
    help="Folder for the files.",
)
def export(
    checkpoint: Path | None,
    genotype: str | None,
    encoder: str,
    onnx: bool,
    tensorrt: bool,
    runtime: str,
    precisions: tuple[Any, ...],
    any_batch: bool,
    output: Path,
    **settings: Any,
) -> Outcome:
    """Write CHECKPOINT as complete ONNX files and check them against torch.

    A file takes `image`, uint8 [1, H, W, 3] RGB, and gives `labels`, uint8 [1, H, W];
    normalisation, upsampling and argmax are inside, and the classes, colours and licence are in
    its metadata. With --probabilities it also gives `probabilities`, float32 [1, C, h, w], at the
    network's own resolution. The folder gets model.onnx, model-fp16.onnx or model-int8.onnx, the
    report export.json, and for a file that disagrees with torch a picture of where, NAME-worst.png.
    Every file is compared with torch on every device here that runs it. The last line is PASSED, or
    FAILED with exit code 1: a file agrees with torch in fewer pixels than its floor, of all or of a
    class, gives numbers that are not finite, or with --data has less F1 than its floor.

    \b
      nastool export runs/first/best/best.pt --output runs/first/export
      nastool export best.pt --onnx --input-size 512 --working-size 256
      nastool export best.pt --onnx --precision fp32 --precision int8 --calibration DATA --data DATA
      nastool export best.pt --precision fp16 --runtime tensorrt-rtx --gpu sm86 --gpu sm89
      nastool export --genotype '[[0, [0, 1, 1, 9]], [[0, 1]]]' --encoder ghostnet-0.25 --onnx
    """
    from toolchain.deploy.deployment import deploy, load_network

    network, info = load_network(checkpoint, genotype, encoder)
    result = deploy(
        network,
        info,
        output,
        precisions=list(dict.fromkeys(precisions)),
        batch=None if any_batch else 1,
        runtime="tensorrt" if tensorrt else runtime,
        **settings,
    )
    rows = [row for file in result.files for row in _rows(file)]
    heads = (
        "file",
        "precision",
        "MB",
        "on",
        "agreement",
        "least class",
        "largest error",
        "worst image",
        "F1",
        "F1 lost",
        "",
    )
    parts: list[Any] = [table(heads, rows), f"tail: {result.tail.name}{_times(result.tail)}"]
    parts += [
        f"{file.precision} in float: {', '.join(file.float_parts.names) or 'nothing'} "
        f"(F1 {file.float_parts.score:.3f}, all in int8 {file.float_parts.all_int8:.3f})"
        for file in result.files
        if file.float_parts
    ]
    if result.bundle:
        parts.append(f"bundle: {result.bundle}")
    if result.split is not None:
        parts.append(_classes(result))
        judged = next(p.images for file in result.files for p in file.parities)
        seen = f", {n} of them seen in training" if (n := result.seen_in_training) else ""
        parts.append(f"F1 on {images_named(judged, result.split)}{seen}")
    verdict = [] if result.failure else ["PASSED"]
    return Outcome(result.document(), lines(*parts, *verdict), result.failure)


def _rows(file: "ExportedFile") -> Iterator[tuple[Any, ...]]:
    """Make a row for each device on which a file was compared."""
    begin = (file.path, file.precision, f"{file.path.stat().st_size / 1e6:.2f}")
    f1 = ("-", "-")
    if file.quality:
        f1 = (f"{file.quality.mean_f1:.3f}", f"{file.quality.loss:+.4f}")
    if not file.parities:
        assert file.engine
        cards = ", ".join(f"sm{major}{minor}" for major, minor in file.engine.compute_capabilities)
        yield (*begin, f"not run here: for {cards}", "-", "-", "-", "-", *f1, "not run")
    for number, parity in enumerate(file.parities):
        name, share = parity.least_class
        passed = parity.passed and (number or not file.quality or not file.quality.complaint)
        yield (
            *begin,
            parity.device,
            f"{parity.argmax_agreement:.4%}",
            f"{name} {share:.4f}",
            "-" if parity.max_abs_error is None else f"{parity.max_abs_error:.2g}",
            f"{parity.worst_image} {parity.worst_agreement:.4%}",
            *(f1 if number == 0 else ("", "")),
            "PASSED" if passed else "FAILED",
        )


def _times(tail: "TailChoice") -> str:
    if not tail.latency_ms:
        return ""
    times = (f"{name} {ms:.2f}" for name, ms in tail.latency_ms.items() if ms is not None)
    return f" ({', '.join(times)} ms)"


def _classes(result: "Deployment") -> Any:
    """Make the table of F1 by class and precision."""
    judged = [
        (f"{file.format} {file.precision}", file.quality) for file in result.files if file.quality
    ]
    rows = [
        (name, *("-" if (f1 := q.f1[name]) is None else f"{f1:.3f}" for _, q in judged))
        for name in judged[0][1].f1
    ]
    return table(("F1", *(name for name, _ in judged)), rows)
