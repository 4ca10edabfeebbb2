"""``nastool pareto``: the front of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table, unbroken
from toolchain.cli.inputs import RunFolder

if TYPE_CHECKING:
    from toolchain.search.trial import Trial


@command("pareto")
@click.argument("run", type=RunFolder())
@click.option("--objectives", help="Such as score,latency or score,params,flops.")
def pareto(run: Path, objectives: str | None) -> Outcome:
    """Show the candidates of a run that no other beats in every objective.

    Chosen among those that were scored again after a longer training, if any were. Without
    --objectives: score against latency on each latency table of the run, else against parameters
    and FLOPs. What train takes for --pick best and --pick knee is marked.

    \b
      nastool pareto runs/first --objectives score,params
    """
    from toolchain.search.pareto import default_objectives, pareto_front
    from toolchain.search.run import Run, marks_of
    from toolchain.search.trial import trial_document

    finalists = Run.load(run).finalists
    names = [name.strip() for name in objectives.split(",")] if objectives else None
    chosen = names or default_objectives(finalists)
    front = pareto_front(finalists, chosen)
    marks = marks_of(finalists)
    document = {
        "run": str(run),
        "objectives": chosen,
        "pareto": list(map(trial_document, front)),
        **{mark: number for number, names in marks.items() for mark in names},
    }
    return Outcome(document, front_table(front, marks=marks))


def front_table(
    front: "Sequence[Trial]",
    trained: Sequence[float] = (),
    marks: "Mapping[int, Sequence[str]]" = MappingProxyType({}),
) -> Any:
    """Show a front: figures, and below them each genotype in a line of its own, to be copied.

    Args:
        front: trials.
        trained: mean F1 (0 to 1) of the network that each became, if they were trained.
        marks: what a trial is, by its number, such as best and knee.
    """
    names = list(front[0].latency_ms) if front else []
    heads = ["ms"] if len(names) == 1 else [f"ms {place}" for place in range(1, len(names) + 1)]
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
            ", ".join(marks.get(trial.id, ())),
        ]
        for place, trial in enumerate(front)
    ]
    columns = ["id", *(["trained"] if trained else []), "score", "reward", "params M", "GFLOPs"]
    columns += heads
    columns += ["encoder", *(["working size"] if sized else []), ""]
    return lines(
        table(columns, rows),
        *(unbroken(f"{head}: {name}") for head, name in zip(heads, names, strict=True)),
        *(unbroken(f"{trial.id:>4}  {trial.genotype}") for trial in front),
    )
