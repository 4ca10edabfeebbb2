"""What is timed for a table: units by their recipes, and whole networks."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from export.kit.journal import Measurements
from export.kit.protocol import Compared
from export.system.console import duration, track
from toolchain.architecture import Architecture
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.entries import Recipe
from toolchain.profiling.networks import Shape, network_model
from toolchain.profiling.parts import encoder_part, tail_part
from toolchain.profiling.stopwatch import Stopwatch

log = logging.getLogger(__name__)
Job = Recipe | Architecture
SECONDS_EACH = 0.5
"""To open the graphs of a job, to warm up, and to read the sentinel."""


def key_of(job: Job) -> str:
    """Return the name under which a measurement is kept."""
    return ", ".join(unit.name for unit in job.units) if isinstance(job, Recipe) else str(job)


def measure_all(
    stopwatch: Stopwatch, jobs: Iterable[Job], shape: Shape, found: Measurements
) -> None:
    """Time the graphs of every job, in random order.

    What was measured at another speed of the machine than most is measured once more in the end.

    Args:
        stopwatch: times them.
        jobs: what to time.
        shape: of the networks.
        found: knows those that are measured already, and is told of the others.
    """
    by_key = {key_of(job): job for job in jobs}

    def watch(compared: Compared, left: int, again: bool) -> Compared:
        if again and left:
            log.info(
                "%d of %d graphs were measured at another speed of the machine than most: once "
                "more",
                *(left, len(by_key)),
            )
        elif not again:
            log.info(
                "%d graphs to measure, about %s on a machine at rest; on another one it waits for "
                "quiet moments",
                *(left, duration(left * (SECONDS_EACH + 2 * stopwatch.seconds))),
            )
        what = "Measuring at one speed" if again else "Measuring"
        yield from track(compared, what, len(by_key), len(by_key) - left)

    stopwatch.compare_all(list(by_key), lambda key: models_of(by_key[key], shape), found, watch)


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
