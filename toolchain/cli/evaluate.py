"""``nastool evaluate``: score a model on labelled images."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import Flag, command
from export.system.console import Outcome, lines
from export.system.inputs import InputFile, InputFolder
from toolchain.cli.inputs import Data
from toolchain.cli.training import framing_option, images_named, scores_table, split_options


@command(
    "evaluate",
    groups={
        "First of all": ("data", "split", "framing", "faceless", "min_f1", "limit_images"),
        "More": ("mirrored", "device", "own_size", "dataset", "force"),
    },
)
@click.argument("model", type=InputFile())
@click.option("--data", type=Data(), required=True, help="Folder, or synthetic:COUNT[:SEED].")
@click.option("--dataset", help="Kind of the data; recognised by its layout when left out.")
@split_options
@click.option(
    "--images",
    "limit_images",
    cls=Flag,
    formerly=["--limit-images"],
    type=click.IntRange(1),
    help="Score this many at most, chosen by name.",
)
@framing_option
@click.option("--mirrored", is_flag=True, help="Score mirror images too, left and right exchanged.")
@click.option(
    "--faceless",
    type=InputFolder(),
    help="Say how much of these pictures, without a face, is taken for one.",
)
@click.option(
    "--own-size/--model-size",
    default=None,
    help="Compare at the resolution of each label map, as HELEN's protocol does, or at the "
    "model's, as for all other data, if left out.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N.")
@click.option(
    "--min-f1", type=click.FloatRange(0, 1), help="Exit with 1 when the mean F1 (0 to 1) is lower."
)
def evaluate(model: Path, data: str, min_f1: float | None, **settings: Any) -> Outcome:
    """Score MODEL, a checkpoint (.pt) or an exported ONNX file, on labelled images.

    Takes the test split of the data where it has one, else its val split, else the tenth of it
    that no command trains on; --split names others. Images that MODEL was trained on are refused,
    unless --force is given.

    Images and labels are resized to the model's input size and compared there, or, with --own-size
    and by default on HELEN, predictions are brought to the size of each label map. F1 comes from
    pixel counts summed over all images; the mean is over all classes but background, and a class in
    neither labels nor predictions is absent (null in JSON) and left out of it. In groups left and
    right count as one.

    With --framing each image is also placed somewhere in a wider frame, as a webcam sees a face,
    its edges drawn out around it, and scored inside. With --mirrored its mirror image is scored
    too: what differs between left and right in both is the model's doing, what turns about lies in
    the images. With --faceless pictures that nobody is in are looked at, such as those of an empty
    desk: all of them should be background.

    \b
      nastool evaluate runs/first/best/best.pt --data DATA
      nastool evaluate model.onnx --data DATA --min-f1 0.7 --json
      nastool evaluate model.onnx --data DATA --framing 1,0.5,0.35
    """
    from toolchain.training import evaluation

    document = evaluation.evaluate(model, data, **settings)
    mean = document["mean_f1"]
    failure = f"mean F1 {mean:.4f} is below {min_f1:g}" if min_f1 and mean < min_f1 else None
    columns = {images_named(document["images"], document["split"]): document}
    columns |= {f"at {each['scale']:g} of the frame": each for each in document["framing"]}
    if document["mirrored"]:
        columns["mirrored"] = document["mirrored"]
    parts = [scores_table(columns)]
    if seen := document["seen_in_training"]:
        parts.append(f"{seen} of them were seen in training")
    if faceless := document["faceless"]:
        worst, many = faceless["worst"], faceless["pictures"]
        parts.append(
            f"{faceless['share']:.1%} of {many} picture{'s' if many > 1 else ''} without a face is "
            f"taken for one; most of {worst['name']}, {worst['share']:.0%}"
        )
    return Outcome(document, lines(*parts), failure)
