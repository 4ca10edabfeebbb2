"""What is timed for a table: units by their recipes, and whole networks."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from export.kit.journal import Journal
from export.system.console import duration, track
from toolchain.architecture import Architecture
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.entries import Recipe
from toolchain.profiling.entry_graphs import Array
from toolchain.profiling.networks import Shape, network_model
from toolchain.profiling.parts import encoder_part, tail_part
from toolchain.profiling.stopwatch import Stopwatch

log = logging.getLogger(__name__)
Job = Recipe | Architecture
SECONDS_EACH = 1.0
"""To open the graphs of a job, to warm up, and to read the sentinel."""


def key_of(job: Job) -> str:
    """Return the name under which a measurement is kept."""
    return ", ".join(unit.name for unit in job.units) if isinstance(job, Recipe) else str(job)


def measure_all(
    stopwatch: Stopwatch, jobs: Iterable[Job], shape: Shape, journal: Journal | None = None
) -> dict[str, Array]:
    """Time the graphs of every job, in random order.

    Args:
        stopwatch: times them.
        jobs: what to time.
        shape: of the networks.
        journal: knows those that are measured already, and is told of the others.

    Returns:
        The result of `Stopwatch.compare` for each job, by its key.
    """
    measured = journal.measured if journal else {}
    todo = {key: job for job in jobs if (key := key_of(job)) not in measured}
    log.info(
        "%d graphs to measure, about %s on a machine at rest; on another one it waits for quiet "
        "moments",
        *(len(todo), duration(len(todo) * (SECONDS_EACH + 2 * stopwatch.seconds))),
    )
    results = stopwatch.each(list(todo), lambda key: stopwatch.compare(models_of(todo[key], shape)))
    done = len(measured)
    for key, turns in track(results, "Measuring", done + len(todo), done):
        if journal:
            journal.add(key, turns)
        else:
            measured[key] = turns
    return measured


def models_of(job: Job, shape: Shape) -> list[bytes]:
    """Return the graphs that are compared."""
    return job.models if isinstance(job, Recipe) else [network_model(job, shape)]


def export_parts(shape: Shape, backbones: Sequence[Backbone], folder: Path | None = None) -> None:
    """Have torch export what it alone knows, so that no export falls between measurements.

    Args:
        shape: of the networks.
        backbones: of the networks.
        folder: where parts are kept for the next time.
    """
    parts: list[Any] = [
        (encoder_part, each.encoder, shape.image, each.working_size, shape.target)
        for each in backbones
    ]
    sizes = [size for each in backbones for size in shape.tap_sizes(each.working_size)]
    parts += [
        (tail_part, shape.classes, size, shape.image, shape.tail, shape.target)
        for size in dict.fromkeys(sizes)
    ]
    for part, *arguments in track(parts, "Exporting encoders and tails", len(parts)):
        part.ready(folder, *arguments)
