"""``nastool pretrain``: train encoder weights or a teacher."""

from pathlib import Path
from typing import Any

from export.system.command_line import command
from export.system.console import Outcome
from toolchain.cli.flags import flags
from toolchain.cli.resuming import Given, recall
from toolchain.cli.training import folder_options, kept, trained
from toolchain.settings.training_settings import TrainingSettings

_WITHOUT = ("genotype", "with_search_images")


def _recalled(given: Given) -> Given:
    if not given.get("resume") or "output" not in given:
        return {}
    return recall(TrainingSettings, Path(given["output"]), given, without=_WITHOUT)


@command("pretrain", recalled=_recalled, kept=kept("pretrain"), groups=TrainingSettings.groups)
@flags(TrainingSettings, without=_WITHOUT)
@folder_options
def pretrain(output: Path, resume: bool, **settings: Any) -> Outcome:
    """Train an encoder under a fixed decoder, a small feature pyramid.

    Fills the folder --output like nastool train, and reads the same images: never those that a
    search trains or scores its candidates on, except to choose best.pt by the latter. Its best.pt
    gives search and train the encoder's weights (--weights), or a teacher (--teacher).

    \b
      nastool pretrain --data DATA --encoder mobilenetv2 --weights imagenet.pth --output runs/e
      nastool pretrain --output runs/e --resume
    """
    from toolchain.training import plan

    (document,), shown = trained([plan.pretrain(output, resume, **settings)])
    return Outcome(document, shown)
