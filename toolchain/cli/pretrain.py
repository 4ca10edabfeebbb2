"""``nastool pretrain``: train encoder weights or a teacher."""

from pathlib import Path
from typing import Any

import click

from export.console import Outcome, command
from toolchain.cli.training import scores_table, training_options


@command("pretrain")
@click.option("--encoder", required=True, help="Its name; see nastool encoders.")
@training_options
def pretrain(output: Path, resume: bool, encoder: str, **settings: Any) -> Outcome:
    """Train an encoder under a fixed decoder, a small feature pyramid.

    Fills the folder --output like nastool train. Its best.pt gives search and train the encoder's
    weights (--weights) and, at the same input size, a teacher (--teacher).

    \b
      nastool pretrain --data DATA --encoder mobilenetv2 --weights imagenet.pth --output runs/e
    """
    from toolchain.training import jobs

    document = jobs.pretrain(output, resume, encoder, **settings).document()
    return Outcome(document, scores_table({document["checkpoint"]: document["metrics"]}))
