"""``nastool compare``: which of two runs is better, and how surely."""

from pathlib import Path

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from export.system.errors import UsageError
from toolchain.cli.inputs import RunFolder

RUN = RunFolder()


@command("compare")
@click.argument("runs", nargs=-1, required=True, type=RUN, metavar="RUN [RUN]...")
@click.option(
    "--against",
    multiple=True,
    type=RUN,
    metavar="RUN",
    help="A run of the other side; several: give the flag for each.",
)
@click.option(
    "--objectives",
    help="What to compare by, such as score,latency or score,params.  "
    "[default: score and latency where all runs know it of the same tables, else score, params and "
    "flops]",
)
def compare(runs: tuple[Path, ...], against: tuple[Path, ...], objectives: str | None) -> Outcome:
    """Say which of two runs is better, how surely, and where along the costs each one leads.

    Compares the hypervolumes of the fronts that the runs end in: the mean of the best score within
    a cost limit. With one run a side the 95 % interval of the difference holds the luck of
    trainings; with several a side, which differ by their seeds, that of the searches too. Runs
    whose scores or costs do not compare are refused. Published logs compare by what they know.

    \b
      nastool compare runs/first runs/second
      nastool compare runs/a1 runs/a2 runs/a3 --against runs/b1 --against runs/b2
    """
    from toolchain.reporting.report import open_series
    from toolchain.reporting.verdicts import comparison_document, sentences
    from toolchain.search.comparison import compare

    if not against:
        if len(runs) != 2:
            raise UsageError(
                f"{len(runs)} runs and no --against: give two runs, or those of one side and "
                "--against RUN for each of the other"
            )
        runs, against = runs[:1], runs[1:]
    named = {one.name: one.run for one in open_series([*runs, *against])}
    first = dict(list(named.items())[: len(runs)])
    second = {name: run for name, run in named.items() if name not in first}
    names = [name.strip() for name in objectives.split(",")] if objectives else None
    comparison = compare(first, second, names)
    rows = [
        [
            entry.name,
            f"{entry.hypervolume:.3f}",
            entry.trained,
            len(entry.trials),
            f"{max(trial.score or 0.0 for trial in entry.trials):.3f}",
            f"{entry.seconds:.0f}",
        ]
        for side in comparison.sides
        for entry in side
    ]
    columns = ["run", "hypervolume", "trained", "compared", "best score", "seconds"]
    return Outcome(
        comparison_document(comparison), lines(table(columns, rows), *sentences(comparison))
    )
