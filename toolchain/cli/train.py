"""``nastool train``: train an architecture."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines
from export.system.inputs import InputFile
from export.system.numbers import Side
from toolchain.cli.flags import flags
from toolchain.cli.inputs import GenotypeText, RunFolder
from toolchain.cli.pareto import front_table
from toolchain.cli.resuming import Given, recall
from toolchain.cli.training import folder_options, kept, trained
from toolchain.settings.base import FILE_NAME
from toolchain.settings.training_settings import TrainingSettings

_OF_A_TRIAL = ("genotype", "encoder", "input_size", "working_size", "weights")


def _recalled(given: Given) -> Given:
    if not given.get("resume") or "output" not in given:
        return {}
    output = Path(given["output"])
    if given.get("pick") == "pareto":
        # Each trial has a folder of its own, and all of them the same settings.
        folders = sorted(path.parent for path in output.glob(f"*/{FILE_NAME}"))
        return recall(TrainingSettings, (folders or [output])[0], given, without=_OF_A_TRIAL)
    # What is picked, or given, is compared with what was trained.
    again = {"genotype", "run", "pick"} & given.keys()
    begun = recall(TrainingSettings, output, given, without=("genotype",) if again else ())
    # The flag may be given for each of several encoders; a training has one file.
    return {name: [value] if name == "weights" else value for name, value in begun.items()}


@command("train", recalled=_recalled, kept=kept("train"), groups=TrainingSettings.groups)
@click.option(
    "--genotype",
    type=GenotypeText(),
    help="Architecture: published text, loose text or .json file.",
)
@click.option("--run", type=RunFolder(), help="Folder of a search.")
@click.option("--pick", help="With --run: best, knee, pareto (several) or a trial's id.")
@click.option("--encoder", help="Its name; mobilenetv2, or with --run the trial's, if left out.")
@click.option(
    "--input-size",
    type=Side(),
    help="Pixels, a multiple of 32; 512, or with --run the run's, if left out.",
)
@click.option(
    "--working-size",
    type=Side(),
    help="Pixels to which the network averages an image down before it works on it, a multiple of "
    "32; the --input-size, or with --run the trial's, if left out.",
)
@click.option(
    "--weights",
    multiple=True,
    type=InputFile(),
    help="Start from this checkpoint or encoder file; with --pick pareto one for each encoder, in "
    "any order. If left out, with --run those of the search.",
)
@flags(TrainingSettings, without=_OF_A_TRIAL)
@folder_options
def train(output: Path, resume: bool, **settings: Any) -> Outcome:
    """Train an architecture: a given genotype, or trials of a search.

    Fills the folder --output: best.pt (the epoch of the highest mean F1 on the images that a
    search scores its candidates on), last.pt, with --keep-every epoch-NNN.pt, metrics.jsonl (one
    line an epoch) and config.json. --resume goes on with what is in --output, by the flags that it
    was begun with; with more --epochs also with what is finished. It
    trains on the images that are for nothing else, so neither those that figures are of (val,
    test) nor, without --with-search-images, those that candidates are trained on. best.pt says
    which images it has seen. With --pick pareto each trial gets a folder of its own in --output,
    named by its id, and a table shows what came of the front. training.html beside best.pt shows
    how it went, each class, left against right, and its worst pictures.

    \b
      nastool train --data DATA --run runs/first --pick best --output runs/first/best
      nastool train --output runs/first/best --epochs 60 --resume
      nastool train --data synthetic:500 --output runs/a --input-size 256 --epochs 20 \\
        --genotype '[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]'
    """
    from toolchain.training.plan import train_all

    results = train_all(output, resume, **settings)
    documents, shown = trained(results)
    if settings["pick"] != "pareto":
        return Outcome(documents[0], shown)

    from toolchain.search.run import Run, marks_of
    from toolchain.search.trial import trial_document

    # The search may have gone on meanwhile, and its front may be another one.
    run = Run.load(settings["run"])
    trials = {str(trial.id): trial for trial in (*run.trials, *run.finalists)}
    front = [trials[result.checkpoint.parent.name] for result in results]
    for document, trial in zip(documents, front, strict=True):
        document["trial"] = trial_document(trial)
    scores = [result.metrics["mean_f1"] for result in results]
    return Outcome(documents, lines(shown, front_table(front, scores, marks_of(run.finalists))))
