"""``nastool pretrain``: train encoder weights or a teacher."""

from pathlib import Path
from typing import Any

from export.system.console import Outcome, command
from toolchain.cli.flags import flags
from toolchain.cli.training import folder_options, trained
from toolchain.settings.training_settings import TrainingSettings


@command("pretrain")
@flags(TrainingSettings, without=("genotype", "with_search_images"))
@folder_options
def pretrain(output: Path, resume: bool, **settings: Any) -> Outcome:
    """Train an encoder under a fixed decoder, a small feature pyramid.

    Fills the folder --output like nastool train, and reads the same images: never those that a
    search trains or scores its candidates on, except to choose best.pt by the latter. Its best.pt
    gives search and train the encoder's weights (--weights) and, to networks that see images of
    the same size, a teacher (--teacher).

    \b
      nastool pretrain --data DATA --encoder mobilenetv2 --weights imagenet.pth --output runs/e
    """
    from toolchain.training import plan

    (document,), shown = trained([plan.pretrain(output, resume, **settings)])
    return Outcome(document, shown)
