"""What the commands ``train``, ``pretrain``, ``evaluate`` and ``export`` share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from export.system.console import lines, table
from export.system.errors import UsageError

if TYPE_CHECKING:
    from toolchain.training.trainer import TrainingResult

Function = TypeVar("Function", bound=Callable[..., Any])
SPLITS = ("train", "val", "test", "all", "search-train", "search-score", "calibration")


def folder_options(function: Function) -> Function:
    """Add the flags that say where a training goes."""
    for option in (
        click.option(
            "--resume", is_flag=True, help="Go on after the last whole epoch in --output."
        ),
        click.option(
            "--output", required=True, type=click.Path(path_type=Path), help="Folder to fill."
        ),
    ):
        function = option(function)
    return function


def split_options(function: Function) -> Function:
    """Add the flags that say which images of --data figures are of."""
    for option in (
        click.option(
            "--force", is_flag=True, help="Even on images that the network was trained on."
        ),
        click.option(
            "--split",
            type=click.Choice(SPLITS),
            help="Images of --data that figures are of; test where the data has one, else val, if "
            "left out.",
        ),
    ):
        function = option(function)
    return function


def _scales(_: click.Context, __: click.Parameter, text: str | None) -> list[float]:
    try:
        return [float(scale) for scale in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"--framing {text} is not a list of numbers: 1,0.5") from None


framing_option = click.option(
    "--framing",
    metavar="SCALE,SCALE",
    callback=_scales,
    help="Score again with each image at these parts of the frame's size, such as 1,0.5,0.35.",
)


def images_named(count: int, split: str) -> str:
    """Say of how many images of which part figures are."""
    return f"all {count} images" if split == "all" else f"{count} images of {split}"


def trained(results: "Sequence[TrainingResult]") -> tuple[list[dict[str, Any]], Any]:
    """Write the page of each training; return documents, and what to show of them."""
    from toolchain.reporting.training_page import write_training_page

    documents = []
    for result in results:
        page = write_training_page(result.checkpoint.parent)
        documents.append({**result.document(), "page": str(page)})
    scores = scores_table({each["checkpoint"]: each["metrics"] for each in documents})
    return documents, lines(scores, *(f"Wrote {each['page']}" for each in documents))


def scores_table(summaries: Mapping[str, Mapping[str, Any]]) -> Any:
    """Make a table of `ConfusionMatrix.summary` documents, a column for each, by name."""
    documents = list(summaries.values())
    rows = [
        [name.replace("_", " "), *(_percent(document[name]) for document in documents)]
        for name in ("mean_f1", "miou", "pixel_accuracy")
    ]
    for part in ("groups", "f1"):
        rows += [
            [f"F1 {name}", *(_percent(document[part][name]) for document in documents)]
            for name in documents[0][part]
        ]
    return table(["%", *summaries], rows)


def _percent(share: float | None) -> str:
    return "absent" if share is None else f"{100 * share:.1f}"
