"""``nastool export``: write a network as complete ONNX files."""

from pathlib import Path
from typing import Any

import click

from export.console import Outcome, command, lines, table


@command("export")
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option("--genotype", help="In place of CHECKPOINT: a genotype with untrained weights.")
@click.option(
    "--encoder", default="mobilenetv2", show_default=True, help="Encoder, with --genotype."
)
@click.option("--onnx", is_flag=True, help="Write ONNX files.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    default=["fp32"],
    show_default=True,
    help="May be given several times, one file each.",
)
@click.option("--calibration", help="Data that int8 takes its ranges from (at most 100 images).")
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
    help="Height and width in pixels; the size of the training if left out.",
)
@click.option("--any-batch", is_flag=True, help="Take any number of images instead of one.")
@click.option("--probabilities", is_flag=True, help="Also give the class probabilities.")
@click.option(
    "--tail",
    type=click.Choice(["boundaries", "cells", "resize"]),
    default="boundaries",
    show_default=True,
    help="How logits become labels: boundaries is fastest, but its time depends on the picture; "
    "cells always takes the same time; resize is the simplest graph, for GPUs.",
)
@click.option("--data", help="Data for the comparison with torch; synthetic faces if left out.")
@click.option(
    "--images",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Images for the comparison with torch.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    help="Floor of the share of pixels that agree with torch, for every file; if left out "
    "0.9999 for fp32, 0.995 for fp16, 0.9 for int8.",
)
@click.option(
    "--licence", help="Terms to state in the file; those of the training data if left out."
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
    Exit code 1 if a file agrees less than its floor.

    \b
      nastool export runs/first/best/best.pt --onnx --output runs/first/export
      nastool export best.pt --onnx --precision fp32 --precision int8 --calibration DATA --data DATA
      nastool export --genotype '[[0, [0, 1, 1, 9]], [[0, 1]]]' --encoder ghostnet-0.25 --onnx
    """
    from toolchain.deployment import deploy, load_network

    if not onnx:
        raise click.UsageError("say what to write: --onnx")
    network, info = load_network(checkpoint, genotype, encoder)
    result = deploy(
        network,
        info,
        output,
        precisions=list(dict.fromkeys(precisions)),
        batch=None if any_batch else 1,
        **settings,
    )
    rows = [
        (
            file.path,
            file.precision,
            f"{file.path.stat().st_size / 1e6:.2f}",
            f"{file.parity.argmax_agreement:.4%}",
            f"{file.parity.max_abs_error:.2g}",
            f"{file.parity.worst_image} {file.parity.worst_agreement:.4%}",
            "PASSED" if file.parity.passed else "FAILED",
        )
        for file in result.files
    ]
    heads = ("file", "precision", "MB", "agreement", "largest error", "worst image", "parity")
    verdict = [] if result.failure else ["PASSED"]
    return Outcome(result.document(), lines(table(heads, rows), *verdict), result.failure)
