"""``nastool pareto``: the front of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from export.console import Outcome, command, table

if TYPE_CHECKING:
    from toolchain.search.run import TrialRecord


@command("pareto")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--objectives", help="Such as score,latency or score,params,flops.")
def pareto(run: Path, objectives: str | None) -> Outcome:
    """Show the candidates of a run that no other beats in every objective.

    Without --objectives: score against latency if the run had a latency table, else against
    parameters and FLOPs.

    \b
      nastool pareto runs/first --objectives score,params
    """
    from toolchain.search.jobs import trial_document
    from toolchain.search.pareto import default_objectives, pareto_front
    from toolchain.search.run import Run

    trials = Run.load(run).trials
    chosen = objectives.split(",") if objectives else default_objectives(trials)
    front = pareto_front(trials, chosen)
    document = {"run": str(run), "objectives": chosen, "pareto": list(map(trial_document, front))}
    return Outcome(document, front_table(front))


def front_table(front: "Sequence[TrialRecord]") -> Any:
    """Make a table of a front."""
    names = list(front[0].latency_ms) if front else []
    rows = [
        [
            trial.id,
            f"{trial.score:.3f}",
            f"{trial.reward:.3f}",
            f"{trial.parameters / 1e6:.3f}",
            f"{trial.flops / 1e9:.2f}",
            *(f"{trial.latency_ms[name]:.1f}" for name in names),
            trial.encoder,
            trial.genotype,
        ]
        for trial in front
    ]
    columns = ["id", "score", "reward", "params M", "GFLOPs", *(f"{n} ms" for n in names)]
    return table([*columns, "encoder", "genotype"], rows)
