"""``nastool ablate``: which switches of a training help."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from toolchain.cli.flags import flags
from toolchain.cli.resuming import NOTHING_YET, Given, defaults, go_on, is_begun, read_settings
from toolchain.cli.training import folder_options, framing_option
from toolchain.settings.training_settings import PLAN, TrainingSettings


def _recalled(given: Given) -> Given:
    if not given.get("resume") or "output" not in given:
        return {}
    begun = Path(given["output"]) / PLAN
    if not is_begun(begun, given):
        return {}
    noted = read_settings(begun)
    settings = noted.pop("settings", {})
    noted["framing"] = ",".join(map(str, noted.get("framing", ()))) or None
    return defaults(settings | noted)


def _kept(given: Given) -> str:
    if not (given["output"] / PLAN).is_file():
        return NOTHING_YET
    what = f"whole epochs of all trainings are kept in {given['output']}"
    return go_on(what, "ablate", "--output", given["output"])


@command("ablate", recalled=_recalled, kept=_kept, groups=TrainingSettings.groups)
@click.option(
    "--switch",
    "switches",
    multiple=True,
    required=True,
    metavar="FLAG=VALUE,VALUE",
    help="A flag of nastool train and two values for it; may be given several times.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=2,
    show_default=True,
    help="Trainings of each row of the plan, from --seed on.",
)
@framing_option
@flags(TrainingSettings)
@folder_options
def ablate(
    output: Path,
    resume: bool,
    switches: tuple[str, ...],
    seeds: int,
    framing: list[float],
    **settings: Any,
) -> Outcome:
    """Train an orthogonal plan of switches and say what each of them does.

    Eight trainings tell of up to seven switches, sixteen of up to fifteen, each with every seed: in
    all of them every switch has one of its two values, each as often as the other. A switch's
    effect is the mean result at its second value less that at its first, with a 95 % interval.
    Results are mean F1 on the images of search-score; with --framing also of smaller faces.

    \b
      nastool ablate --data DATA --genotype GENOTYPE --epochs 3 --output runs/ablation \\
        --switch dice-weight=0,1 --switch edge-weight=0,0.5 --switch hardest-pixels=1,0.3
      nastool ablate --output runs/ablation --resume
    """
    from toolchain.training import ablation

    document = ablation.ablate(
        settings,
        [ablation.Switch.parse(text) for text in switches],
        output,
        seeds=seeds,
        framing=framing,
        resume=resume,
    )
    tables = []
    for scale, effects in document["effects"].items():
        rows = [
            [
                TrainingSettings.flag(effect["setting"]),
                f"{effect['low']}",
                f"{effect['high']}",
                f"{effect['effect']:+.4f}",
                "unknown" if effect["within"] is None else f"± {effect['within']:.4f}",
            ]
            for effect in effects
        ]
        head = "mean F1" if scale == "1" else f"mean F1 at {scale} of the frame"
        tables.append(table(["switch", "from", "to", head, "95 %"], rows))
    return Outcome(document, lines(*tables))
