"""``nastool report``: an interactive page about runs and logs."""

from pathlib import Path

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from export.system.outputs import PAGE
from toolchain.cli.inputs import RunOrLog


@command("report")
@click.argument("sources", nargs=-1, required=True, type=RunOrLog())
@click.option(
    "--output",
    type=PAGE,
    default="report.html",
    show_default=True,
    help="The HTML file.",
)
@click.option(
    "--objectives",
    help="What fronts and hypervolumes are of, such as score,latency or score,latency@TABLE.  "
    "[default: score and latency where all runs have it, else score, params and flops]",
)
def report(sources: tuple[Path, ...], output: Path, objectives: str | None) -> Outcome:
    """Make an HTML report of SOURCES: run folders, published search logs, or both.

    Writes one file that opens in any browser without a network: Pareto fronts of the runs over
    each other, reward, hypervolume and score over trials and time, the spread over seeds, how well
    the early stop chose, what the scores say of networks that were not trained, where the time
    went, score against each cost, how often each operation was sampled, the best architectures
    drawn, and a table to copy genotypes from. It has about 5 MB, most of it the plotting library.

    \b
      nastool report runs/first
      nastool report runs/first runs/second search.out --output compared.html
    """
    from toolchain.reporting.report import write_report

    names = [name.strip() for name in objectives.split(",")] if objectives else None
    document = write_report(sources, output, names)
    rows = [
        [
            run["name"],
            run["trials"],
            "–" if run["best_score"] is None else f"{run['best_score']:.3f}",
            run["front_size"],
            f"{run['hypervolume']:.4f}",
        ]
        for run in document["runs"]
    ]
    columns = ["run", "trials", "best score", "front", "hypervolume"]
    return Outcome(document, lines(table(columns, rows), f"Wrote {output}"))
