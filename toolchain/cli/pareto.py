"""``nastool pareto``: the front of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from export.system.console import Outcome, command, table

if TYPE_CHECKING:
    from toolchain.search.trial import Trial


@command("pareto")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--objectives", help="Such as score,latency or score,params,flops.")
def pareto(run: Path, objectives: str | None) -> Outcome:
    """Show the candidates of a run that no other beats in every objective.

    Chosen among those that were scored again after a longer training, if any were. Without
    --objectives: score against latency on each latency table of the run, else against parameters
    and FLOPs.

    \b
      nastool pareto runs/first --objectives score,params
    """
    from toolchain.search.pareto import default_objectives, pareto_front
    from toolchain.search.run import Run
    from toolchain.search.trial import trial_document

    finalists = Run.load(run).finalists
    names = [name.strip() for name in objectives.split(",")] if objectives else None
    chosen = names or default_objectives(finalists)
    front = pareto_front(finalists, chosen)
    document = {"run": str(run), "objectives": chosen, "pareto": list(map(trial_document, front))}
    return Outcome(document, front_table(front))


def front_table(front: "Sequence[Trial]", trained: Sequence[float] = ()) -> Any:
    """Make a table of a front, with the mean F1 (0 to 1) of each network that was trained."""
    names = list(front[0].latency_ms) if front else []
    sized = any(trial.working_size for trial in front)
    rows = [
        [
            trial.id,
            *([f"{trained[place]:.3f}"] if trained else []),
            f"{trial.score:.3f}",
            f"{trial.reward:.3f}",
            f"{trial.parameters / 1e6:.3f}",
            f"{trial.flops / 1e9:.2f}",
            *(f"{trial.latency_ms[name]:.1f}" for name in names),
            trial.encoder,
            *([trial.working_size] if sized else []),
            trial.genotype,
        ]
        for place, trial in enumerate(front)
    ]
    columns = ["id", *(["trained"] if trained else []), "score", "reward", "params M", "GFLOPs"]
    columns += [f"{name} ms" for name in names]
    columns += ["encoder", *(["working size"] if sized else []), "genotype"]
    return table(columns, rows)
