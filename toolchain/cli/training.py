"""What the commands ``train``, ``pretrain``, ``evaluate`` and ``export`` share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from export.system.console import lines, table
from export.system.errors import UsageError
from export.system.files import read_text
from toolchain.cli.resuming import NOTHING_YET, go_on
from toolchain.settings.base import FILE_NAME
from toolchain.settings.training_settings import METRICS

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


def kept(command: str) -> Callable[[Mapping[str, Any]], str]:
    """Make what an interrupted training says, of ``train`` or ``pretrain``."""

    def say(given: Mapping[str, Any]) -> str:
        output = given["output"]
        if given.get("pick") == "pareto":
            # Each trial has its folder; which trials they are, the run says.
            again = ("--run", given["run"], "--pick", "pareto")
            return go_on(f"whole epochs are kept in {output}", command, *again, "--output", output)
        if not (output / FILE_NAME).is_file():
            return NOTHING_YET
        return go_on(_epochs_kept(output), command, "--output", output)

    return say


def _epochs_kept(output: Path) -> str:
    metrics = output / METRICS
    done = len(read_text(metrics).splitlines()) if metrics.is_file() else 0
    return f"{done} whole {'epoch is' if done == 1 else 'epochs are'} kept in {output}"


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
        [name.replace("_", " "), *(_score(document[name]) for document in documents)]
        for name in ("mean_f1", "miou", "pixel_accuracy")
    ]
    for part in ("groups", "f1"):
        rows += [
            [f"F1 {name}", *(_score(document[part][name]) for document in documents)]
            for name in documents[0][part]
        ]
    return table(["", *summaries], rows)


def _score(share: float | None) -> str:
    return "absent" if share is None else f"{share:.3f}"
