"""``nastool search``: search architectures."""

from pathlib import Path
from typing import Any

import click

from export.console import Outcome, command


@command("search")
@click.option("--data", required=True, help="Folder, or synthetic:COUNT[:SEED].")
@click.option("--dataset", help="Kind of the data; recognised by its layout when left out.")
@click.option(
    "--run", "path", required=True, type=click.Path(path_type=Path), help="Folder of the run."
)
@click.option(
    "--latency-table",
    "latency_tables",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Table of a device; several: latency@NAME (the file's name) tells them apart.",
)
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    help="QUANTITY:TARGET:EXPONENT[:WEIGHT], of params, flops, latency: latency:15ms:-0.6.",
)
@click.option(
    "--budget", "budgets", multiple=True, help="Limit that rejects untrained: latency<=20ms."
)
@click.option(
    "--combination",
    type=click.Choice(["product", "mean"]),
    default="product",
    show_default=True,
    help="How the factors of several objectives combine.",
)
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True)
@click.option(
    "--algorithm",
    type=click.Choice(["ppo", "reinforce", "nsga2", "tpe", "random"]),
    default="ppo",
    show_default=True,
)
@click.option("--branches", type=click.IntRange(1), default=3, show_default=True)
@click.option("--cells", type=click.IntRange(1), default=3, show_default=True, help="Merge cells.")
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    default=["mobilenetv2"],
    show_default=True,
    help="Several: the encoder is searched too.",
)
@click.option(
    "--weights",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Initial weights, one file for each --encoder.",
)
@click.option("--teacher", type=click.Path(path_type=Path), help="Checkpoint to imitate.")
@click.option(
    "--input-size", default=512, show_default=True, help="Pixels; costs are of this size."
)
@click.option(
    "--search-size",
    type=click.IntRange(32),
    default=192,
    show_default=True,
    help="Pixels that candidates see.",
)
@click.option(
    "--search-images",
    type=click.IntRange(1),
    default=320,
    show_default=True,
    help="Images to train on.",
)
@click.option(
    "--search-validation",
    type=click.IntRange(1),
    default=80,
    show_default=True,
    help="Images to score on.",
)
@click.option(
    "--decoder-epochs",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="With the encoder frozen.",
)
@click.option(
    "--joint-epochs",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Encoder and decoder.",
)
@click.option("--batch-size", type=click.IntRange(2), default=16, show_default=True)
@click.option("--part", "parts", multiple=True, help="Class to score; all but background.")
@click.option(
    "--distillation-weight",
    type=click.FloatRange(0),
    default=0.3,
    show_default=True,
    help="Of the --teacher's outputs.",
)
@click.option(
    "--auxiliary-weight",
    type=click.FloatRange(0),
    default=0.15,
    show_default=True,
    help="Of heads on the merge cells.",
)
@click.option(
    "--presence-weight",
    type=click.FloatRange(0),
    default=0.1,
    show_default=True,
    help="Of an image-level branch beside the encoder: which classes are there?",
)
@click.option(
    "--polyak/--no-polyak", default=True, show_default=True, help="Score averaged weights."
)
@click.option(
    "--early-stop/--no-early-stop",
    default=True,
    show_default=True,
    help="End candidates whose score with a frozen encoder is among the worst third.",
)
@click.option("--half/--no-half", default=None, help="Train in 16 bits; on CUDA if left out.")
@click.option(
    "--memory-budget",
    type=click.FloatRange(0),
    help="GiB of memory for images and features; most of what is free if left out. What does not "
    "fit is mapped from the disk.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Candidates at work at once; several share a GPU, or the cores.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes of this machine, or of a Ray cluster (its address in RAY_ADDRESS).",
)
@click.option(
    "--gpu-share",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="GPUs that each worker of Ray takes.",
)
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), help="Seconds that a candidate may take."
)
@click.option("--storage", help="Database URL of the study; SQLite in the run folder if left out.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=["cpu"],
    show_default=True,
    help="cpu or cuda:N; several are dealt to the workers.",
)
@click.option("--tensorboard", is_flag=True, help="Write curves for TensorBoard into the run.")
@click.option("--seed", default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Continue the search in --run.")
def search(path: Path, resume: bool, tensorboard: bool, **settings: Any) -> Outcome:
    """Search decoder architectures (and encoders) under your objectives.

    Each candidate is costed from the latency tables, rejected if over a budget, trained for some
    seconds and scored by the mean F1 of its parts. The reward is that score times the factor
    (cost / target) ^ exponent of each objective; the algorithm learns from it.

    Writes config.json and study.db into the folder --run. Ctrl-C or a crash loses at most the
    candidate at work; --resume continues.

    \b
      nastool search --data DATA --run runs/first --trials 150 \\
        --latency-table latency_tables/TABLE.json \\
        --objective latency:40ms:-0.3 --budget 'latency<=80ms'
    """
    from toolchain.cli.pareto import front_table
    from toolchain.search.configuration import SearchConfiguration
    from toolchain.search.jobs import run_search

    result = run_search(SearchConfiguration(**settings), path, resume, tensorboard)
    return Outcome(result.document(), front_table(result.front))
