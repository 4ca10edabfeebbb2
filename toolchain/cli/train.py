"""``nastool train``: train an architecture."""

from pathlib import Path
from typing import Any

import click

from export.console import Outcome, command
from toolchain.cli.training import scores_table, training_options


@command("train")
@click.option("--genotype", help="Architecture: published text, loose text or .json file.")
@click.option("--run", type=click.Path(path_type=Path), help="Folder of a search.")
@click.option("--pick", help="With --run: best, knee, pareto (several) or a trial's id.")
@click.option("--encoder", help="Its name; mobilenetv2, or with --run the trial's, if left out.")
@training_options
def train(output: Path, resume: bool, **settings: Any) -> Outcome:
    """Train an architecture: a given genotype, or trials of a search.

    Fills the folder --output: best.pt (the epoch of the highest mean F1 on the validation images),
    last.pt, epoch-NNN.pt, metrics.jsonl (one line an epoch) and config.json. Validation images are
    the val split of the data, or else a tenth of the training images. With --pick pareto each
    trial gets a folder of its own in --output, named by its id.

    \b
      nastool train --data DATA --run runs/first --pick best --output runs/first/best
      nastool train --data synthetic:500 --output runs/a --input-size 256 --epochs 20 \\
        --genotype '[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]'
    """
    from toolchain.training.jobs import train_all

    results = train_all(output, resume, **settings)
    documents = [result.document() for result in results]
    return Outcome(
        documents if settings["pick"] == "pareto" else documents[0],
        scores_table({document["checkpoint"]: document["metrics"] for document in documents}),
    )
