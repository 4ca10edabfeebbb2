"""``nastool evaluate``: score a model on labelled images."""

from pathlib import Path

import click

from export.console import Outcome, command
from toolchain.cli.training import scores_table


@command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, help="Folder, or synthetic:COUNT[:SEED].")
@click.option("--dataset", help="Kind of the data; recognised by its layout when left out.")
@click.option("--limit-images", type=click.IntRange(1), help="Score only this many.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N.")
@click.option("--min-f1", type=float, help="Exit with 1 when the mean F1 (0 to 1) is lower.")
def evaluate(
    model: Path,
    data: str,
    dataset: str | None,
    limit_images: int | None,
    device: str,
    min_f1: float | None,
) -> Outcome:
    """Score MODEL, a checkpoint (.pt) or an exported ONNX file, on labelled images.

    Takes the val split of the data, or else test, or else all of it. Images and labels are resized
    to the model's input size and compared there. F1 comes from pixel counts summed over all
    images; the mean is over all classes but background, and a class in neither labels nor
    predictions is absent (null in JSON) and left out of it. In groups left and right count as one.

    \b
      nastool evaluate runs/first/best/best.pt --data DATA
      nastool evaluate model.onnx --data DATA --min-f1 0.7 --json
    """
    from toolchain.training import evaluation

    document = evaluation.evaluate(model, data, dataset, limit_images, device)
    mean = document["mean_f1"]
    failure = f"mean F1 {mean:.4f} is below {min_f1:g}" if min_f1 and mean < min_f1 else None
    return Outcome(document, scores_table({f"{document['images']} images": document}), failure)
