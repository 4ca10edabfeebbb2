"""``nastool space``: a benchmark of the search space, and algorithms against each other on it."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from export.system.inputs import InputFile
from export.system.outputs import JSON
from toolchain.cli.flags import flags
from toolchain.cli.inputs import RunFolder
from toolchain.settings.search_settings import ContestSettings


@click.group("space")
def space() -> None:
    """Keep real scores of a space as a benchmark; compare search algorithms on it.

    A benchmark holds architectures drawn at random and their scores after several amounts of
    training. A surrogate fitted to it stands in for training, so that an algorithm is tried over
    many seeds in minutes. Each command takes --json, --config FILE and --debug.

    \b
      nastool search --data DATA --run runs/space --algorithm random --trials 300 \\
        --no-early-stop --every-epoch --rescore 0
      nastool rank runs/space --trials 24
      nastool space make runs/space --output space.json
      nastool space contest space.json --algorithm predictor --algorithm random --seeds 20
    """


@space.add_command
@command("make")
@click.argument("run", type=RunFolder())
@click.option("--output", required=True, type=JSON, help="The benchmark, a JSON file.")
def make(run: Path, output: Path) -> Outcome:
    """Make a benchmark of RUN, a search that scored its candidates after --every-epoch.

    Random candidates (--algorithm random) make the best one: those of other algorithms crowd where
    the search went. What nastool rank has found in RUN becomes the longest training. No image and
    no path gets into the file.

    \b
      nastool space make runs/space --output space.json
    """
    from toolchain.search.run import Run
    from toolchain.search.space_benchmark import benchmark_of

    benchmark = benchmark_of(Run.load(run))
    benchmark.save(output)
    return _shown(benchmark, output)


@space.add_command
@command("show")
@click.argument("path", metavar="BENCHMARK", type=InputFile())
def show(path: Path) -> Outcome:
    """Show what BENCHMARK holds, and the surrogate's error on scores that it has not seen.

    \b
      nastool space show space.json
    """
    from toolchain.search.space_benchmark import SpaceBenchmark

    return _shown(SpaceBenchmark.load(path), path)


@space.add_command
@command("contest", groups=ContestSettings.groups)
@click.argument("path", metavar="BENCHMARK", type=InputFile())
@flags(ContestSettings)
def contest(path: Path, **settings: Any) -> Outcome:
    """Let search algorithms compete on BENCHMARK, each with the same seeds.

    What counts is the hypervolume of the true scores of all trained candidates: the mean of the
    best score within a cost limit, over logarithms of the limit. Costs are FLOPs and parameters, or
    the latencies of --latency-table, and those of each --objective.

    \b
      nastool space contest space.json --algorithm predictor --algorithm random \\
        --trials 50 --trials 150 --seeds 20
    """
    from toolchain.search.contest import hold
    from toolchain.search.space_benchmark import SpaceBenchmark

    standings = hold(SpaceBenchmark.load(path), path, ContestSettings.of(**settings))
    documents = [
        {
            "algorithm": one.algorithm,
            "trials": one.trials,
            "hypervolume": {"mean": one.mean, "deviation": one.deviation},
            "seeds": list(one.hypervolumes),
        }
        for one in standings
    ]
    rows = [[one.algorithm, one.trials, one] for one in standings]
    return Outcome(
        {"benchmark": str(path), "standings": documents},
        table(["algorithm", "trainings", "hypervolume"], rows),
    )


def _shown(benchmark: Any, path: Path) -> Outcome:
    from toolchain.search.space_benchmark import fidelity_correlations

    surrogate = benchmark.surrogate
    counts = {name: len(benchmark.scores(name)[0]) for name in benchmark.fidelities}
    correlations = fidelity_correlations(benchmark)
    rows = [[name, count] for name, count in counts.items()]
    return Outcome(
        {
            "benchmark": str(path),
            "architectures": len(benchmark.rows),
            "fidelities": counts,
            "target": benchmark.target,
            "spearman": correlations,
            "surrogate": {"spearman": surrogate.spearman, "error": surrogate.deviation},
        },
        lines(
            table(["fidelity", "architectures"], rows),
            *(
                f"{first} against {second}: Spearman {value:.2f}"
                for first, others in correlations.items()
                for second, value in others.items()
            ),
            f"On architectures that it has not seen the surrogate foretells {benchmark.target} "
            f"with Spearman {surrogate.spearman:.3f} and an error of {surrogate.deviation:.3f}.",
        ),
    )
