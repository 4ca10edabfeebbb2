"""What the commands ``train``, ``pretrain`` and ``evaluate`` share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from export.console import table

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = [
    click.option("--data", required=True, help="Folder, or synthetic:COUNT[:SEED]."),
    click.option("--dataset", help="Kind of the data; recognised by its layout when left out."),
    click.option(
        "--output", required=True, type=click.Path(path_type=Path), help="Folder to fill."
    ),
    click.option("--weights", help="Start from this checkpoint or encoder file."),
    click.option("--teacher", help="Checkpoint whose outputs are learned beside the labels."),
    click.option("--epochs", type=click.IntRange(1), default=30, show_default=True),
    click.option(
        "--input-size", type=int, default=512, show_default=True, help="Pixels, a multiple of 32."
    ),
    click.option(
        "--batch-size", type=click.IntRange(2), default=4, show_default=True, help="Images a step."
    ),
    click.option("--learning-rate", type=float, default=4e-3, show_default=True, help="Highest."),
    click.option("--limit-images", type=click.IntRange(2), help="Train on this many, at random."),
    click.option(
        "--augment/--no-augment", default=True, show_default=True, help="Vary the images."
    ),
    click.option(
        "--workers",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Processes that prepare images; 0 prepares them between the steps.",
    ),
    click.option("--seed", type=int, default=0, show_default=True),
    click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N."),
    click.option("--resume", is_flag=True, help="Go on after the last whole epoch in --output."),
]


def training_options(function: Function) -> Function:
    """Add the flags of every training."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


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
