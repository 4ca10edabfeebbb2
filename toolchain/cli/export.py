"""``nastool export``: write a network as complete ONNX files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from export.console import Outcome, command, lines, table
from toolchain.cli.training import images_named, split_options

if TYPE_CHECKING:
    from export.tail_choice import TailChoice
    from toolchain.exported import Deployment


@command("export")
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option("--genotype", help="In place of CHECKPOINT: a genotype with untrained weights.")
@click.option(
    "--encoder", default="mobilenetv2", show_default=True, help="Encoder, with --genotype."
)
@click.option("--onnx", is_flag=True, help="Write ONNX files.")
@click.option(
    "--tensorrt",
    is_flag=True,
    help="Write ONNX files and build a TensorRT engine of each for this GPU.",
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
    help="Data that int8 takes its ranges from (at most 100 images) and, with --data, chooses by "
    "F1 (at most 120) what stays in float: images kept for this and training images, never those "
    "of the figures.",
)
@click.option(
    "--target",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    show_default=True,
    help="What the int8 file is for: CPUs want uint8 activations, TensorRT symmetric int8.",
)
@click.option(
    "--input-size",
    type=click.IntRange(32),
    help="Height and width in pixels; that of the training if left out.",
)
@click.option(
    "--working-size",
    type=click.IntRange(32),
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
    "picture, cells always the same, resize is the simplest graph. fastest measures them here.",
)
@click.option(
    "--data",
    help="Labelled data for the comparison with torch and the F1; if left out, the comparison is "
    "on synthetic faces and there is no F1.",
)
@split_options
@click.option(
    "--images",
    type=click.IntRange(1),
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
    The last line is PASSED, or FAILED with exit code 1: a file agrees with torch in fewer pixels
    than its floor, or with --data has less F1 than its floor.

    \b
      nastool export runs/first/best/best.pt --onnx --output runs/first/export
      nastool export best.pt --onnx --input-size 512 --working-size 256
      nastool export best.pt --onnx --precision fp32 --precision int8 --calibration DATA --data DATA
      nastool export --genotype '[[0, [0, 1, 1, 9]], [[0, 1]]]' --encoder ghostnet-0.25 --onnx
    """
    from toolchain.deployment import deploy, load_network

    if not (onnx or tensorrt):
        raise click.UsageError("say what to write: --onnx or --tensorrt")
    network, info = load_network(checkpoint, genotype, encoder)
    result = deploy(
        network,
        info,
        output,
        precisions=list(dict.fromkeys(precisions)),
        batch=None if any_batch else 1,
        tensorrt=tensorrt,
        **settings,
    )
    rows = [
        (
            file.path,
            file.precision,
            f"{file.path.stat().st_size / 1e6:.2f}",
            f"{file.parity.argmax_agreement:.4%}",
            "-" if (error := file.parity.max_abs_error) is None else f"{error:.2g}",
            f"{file.parity.worst_image} {file.parity.worst_agreement:.4%}",
            f"{file.quality.mean_f1:.4f}" if file.quality else "-",
            f"{file.quality.loss:+.4f}" if file.quality else "-",
            "FAILED" if file.complaint else "PASSED",
        )
        for file in result.files
    ]
    heads = (
        "file",
        "precision",
        "MB",
        "agreement",
        "largest error",
        "worst image",
        "F1",
        "F1 lost",
    )
    parts: list[Any] = [table(heads, rows), f"tail: {result.tail.name}{_times(result.tail)}"]
    parts += [
        f"{file.precision} in float: {', '.join(file.float_parts.names) or 'nothing'} "
        f"(F1 {file.float_parts.score:.4f}, all in int8 {file.float_parts.all_int8:.4f})"
        for file in result.files
        if file.float_parts
    ]
    if result.bundle:
        parts.append(f"bundle: {result.bundle}")
    if result.split is not None:
        parts.append(_classes(result))
        seen = f", {n} of them seen in training" if (n := result.seen_in_training) else ""
        parts.append(f"F1 on {images_named(result.files[0].parity.images, result.split)}{seen}")
    verdict = [] if result.failure else ["PASSED"]
    return Outcome(result.document(), lines(*parts, *verdict), result.failure)


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
