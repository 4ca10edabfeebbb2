"""Profiling a device: measure entries, fit the correction, certify, write the table."""

import os
import random
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from export import environment
from export.console import track
from export.errors import UsageError
from export.metadata import Precision
from export.quantisation import Target
from export.runtimes import get_runtime
from export.tail_choice import fastest_tail
from toolchain.architecture import Architecture
from toolchain.blueprint import AGGREGATION
from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.networks.encoders import describe_encoder
from toolchain.profiling.certificate import Case, Certificate, certify
from toolchain.profiling.correction import Measured, fit_correction
from toolchain.profiling.entries import Recipe, difference, recipes, solve
from toolchain.profiling.face import face_maps
from toolchain.profiling.graphs import Array
from toolchain.profiling.journal import Journal, settings_of
from toolchain.profiling.networks import Shape, network_model, random_genotypes
from toolchain.profiling.parts import encoder_part, tail_part
from toolchain.profiling.stopwatch import Stopwatch
from toolchain.profiling.table import Entry, LatencyTable, Provenance, device_name

Network = tuple[Genotype, str]
Build = Callable[[], Sequence[bytes]]
SMALLEST = 64
FEWEST = 10
# What the measurements of an interrupted profiling must share with those that complete it.
SETTINGS = {
    *("runtime", "runtime_version", "device", "device_name", "precision", "threads"),
    *("input_size", "classes", "aggregation", "encoders", "tail", "version"),
}


@dataclass(frozen=True)
class Profile:
    """A profiled device.

    Attributes:
        path: of the table.
        table: as written.
    """

    path: Path
    table: LatencyTable

    def document(self) -> dict[str, Any]:
        """Return the document that the command line promises."""
        certificate = self.table.certificate
        return {
            "table": str(self.path),
            "entries": len(self.table.entries),
            "seconds": self.table.provenance.seconds,
            "certificate": certificate and certificate.model_dump(),
        }


def profile_device(
    output: str | Path | None = None,
    *,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int | None = None,
    precision: Precision = "fp32",
    encoders: Sequence[str] = ("mobilenetv2",),
    input_size: int = 512,
    classes: int = 19,
    aggregation: int = AGGREGATION,
    fit_networks: int = 40,
    certify_networks: int = 50,
    seed: int = 0,
    seconds: float = 0.1,
    max_drift: float = 0.1,
    resume: bool = False,
) -> Profile:
    """Measure a device and write its latency table.

    Args:
        output: the file; by default in ``latency_tables/``, named by device, runtime, precision
            and threads.
        runtime: name of the runtime.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: of one operator on the CPU; None takes every core.
        precision: of the networks.
        encoders: names of the encoders to have entries for.
        input_size: side of the square image, pixels; a multiple of 32.
        classes: number of classes.
        aggregation: channels of the decoder.
        fit_networks: whole networks that the correction is fitted to; 0 for none.
        certify_networks: whole networks that the certificate is made on; 0 for none.
        seed: of the drawn networks and of the order of measurement.
        seconds: to measure each graph, at least.
        max_drift: see `Stopwatch`.
        resume: go on with an interrupted profiling of the same settings.

    Raises:
        UsageError: a number or a name is wrong.
        DataError: there is nothing to resume that fits.
        UnavailableError: the runtime or the device is missing.
        GateError: the machine is too busy to measure on.
    """
    if input_size % 32 or input_size < SMALLEST:
        raise UsageError(
            f"the input size must be a multiple of 32, at least {SMALLEST}, not {input_size}"
        )
    for count, name in ((fit_networks, "fit"), (certify_networks, "certify")):
        if 0 < count < FEWEST:
            raise UsageError(f"--{name}-networks takes 0, or at least {FEWEST}, not {count}")
    encoders = list(dict.fromkeys(encoders))
    for encoder in encoders:
        describe_encoder(encoder)
    started = time.monotonic()
    if device == "cpu":
        threads = threads or os.cpu_count()
    image = (input_size, input_size)
    made = Provenance(
        environment=environment.describe(),
        runtime=runtime,
        runtime_version=get_runtime(runtime).version(),
        device=device,
        device_name=device_name(device),
        precision=precision,
        threads=threads,
        settings={},
        input_size=image,
        classes=classes,
        aggregation=aggregation,
        encoders=encoders,
        tail="",
        seed=seed,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0,
        version=metadata.version("nastool"),
    )
    path = Path(output) if output else default_path(made)
    partial_path = path.with_name(f"{path.name}.partial")
    # Two tails may be equally fast: an interrupted profiling goes on with the one it chose.
    begun = settings_of(partial_path) if resume else {}
    made.tail = begun.get("tail") or _fastest_tail(classes, image, runtime, device, threads)
    shape = Shape(classes, image, aggregation, precision, _target(device), made.tail)
    fitted = draw_networks(fit_networks, encoders, f"fit {seed}")
    fresh = draw_networks(
        certify_networks, encoders, f"certify {seed}", [canonical(g) for g, _ in fitted]
    )
    pieces = recipes(shape, encoders)
    jobs: dict[str, Build] = {_key(piece): partial(_models, piece, shape) for piece in pieces}
    jobs |= {_key(network): partial(_models, network, shape) for network in [*fitted, *fresh]}
    journal = Journal(
        partial_path,
        made.model_dump(mode="json", include=SETTINGS),
        resume=resume,
    )
    with Stopwatch(runtime, device, threads, seconds, max_drift, seed=seed) as stopwatch:
        _export_parts(shape, encoders)
        measure_all(stopwatch, jobs, journal)
        made.settings = stopwatch.settings
        level = made.sentinel_ms = round(stopwatch.level_ms, 5)
    entries = _entries(pieces, journal.measured, level)
    table = LatencyTable(provenance=made, entries=entries)

    def latency(network: Network) -> float:
        return level * float(np.median(journal.measured[_key(network)]))

    if fitted:
        samples = [
            Measured(
                str(network[0]), network[1], table.plan(Architecture(*network)), latency(network)
            )
            for network in fitted
        ]
        units = {unit for sample in samples for unit in sample.plan.units}
        latencies = {unit: entries[unit.name].latency_ms for unit in units}
        table.correction = fit_correction(samples, latencies)
    if fresh:
        table.certificate = _certificate(table, fresh, [latency(n) for n in fresh], seed)
    made.seconds = round(time.monotonic() - started, 1)
    table.save(path)
    journal.remove()
    return Profile(path, table)


def certify_table(
    path: str | Path,
    architectures: int = 100,
    seed: int = 1,
    seconds: float = 0.1,
    max_drift: float = 0.1,
    *,
    force: bool = False,
) -> Certificate:
    """Measure fresh random networks against a table.

    Args:
        path: the table.
        architectures: number of networks, none of which the table was fitted to.
        seed: that draws them.
        seconds: to measure each network, at least.
        max_drift: see `Stopwatch`.
        force: even if the table is of another machine or runtime.

    Raises:
        DataError: the table cannot be read, or does not match this machine.
        GateError: the machine is too busy to measure on.
    """
    table = LatencyTable.load(path)
    table.check_matches(force=force)
    made = table.provenance
    shape = Shape(
        made.classes,
        made.input_size,
        made.aggregation,
        made.precision,
        _target(made.device),
        made.tail,
    )
    fitted = draw_networks(table.correction.networks, made.encoders, f"fit {made.seed}")
    fresh = draw_networks(
        architectures, made.encoders, f"certify {seed}", [canonical(g) for g, _ in fitted]
    )
    jobs: dict[str, Build] = {_key(network): partial(_models, network, shape) for network in fresh}
    with Stopwatch(
        made.runtime, made.device, made.threads, seconds, max_drift, seed=seed
    ) as stopwatch:
        _export_parts(shape, made.encoders)
        measured = measure_all(stopwatch, jobs)
        level = stopwatch.level_ms
    # At the speed that the table was measured at; how the machine runs today is said apart.
    then = made.sentinel_ms or level
    latencies = [then * float(np.median(measured[_key(network)])) for network in fresh]
    certificate = _certificate(table, fresh, latencies, seed)
    return certificate.model_copy(update={"slowdown": round(level / then, 3)})


def draw_networks(
    count: int, encoders: Sequence[str], seed: str, avoid: Collection[str] = ()
) -> list[Network]:
    """Draw random networks, the encoders in turns; see `random_genotypes`."""
    genotypes = random_genotypes(count, random.Random(seed), avoid)
    return list(zip(genotypes, cycle(encoders), strict=False))


def measure_all(
    stopwatch: Stopwatch, jobs: Mapping[str, Build], journal: Journal | None = None
) -> dict[str, Array]:
    """Time the graphs of every job, in random order.

    Args:
        stopwatch: times them.
        jobs: what builds the graphs of each, by a key.
        journal: knows those that are measured already, and is told of the others.

    Returns:
        The result of `Stopwatch.compare` for each job.
    """
    measured = journal.measured if journal else {}
    todo = [key for key in jobs if key not in measured]
    results = stopwatch.each(todo, lambda key: stopwatch.compare(jobs[key]()))
    for key, turns in track(results, "Measuring", len(todo)):
        if journal:
            journal.add(key, turns)
        else:
            measured[key] = turns
    return measured


def _key(job: Recipe | Network) -> str:
    if isinstance(job, Recipe):
        return ", ".join(unit.name for unit in job.units)
    genotype, encoder = job
    return f"{encoder} {genotype}"


def _models(job: Recipe | Network, shape: Shape) -> list[bytes]:
    return job.models if isinstance(job, Recipe) else [network_model(*job, shape)]


def _target(device: str) -> Target:
    return "cpu" if device == "cpu" else "gpu"


def _fastest_tail(
    classes: int, image: tuple[int, int], runtime: str, device: str, threads: int | None
) -> str:
    logits = face_maps(classes, Shape(classes, image).sizes[0])
    return fastest_tail(logits, *image, runtime=runtime, device=device, threads=threads).name


def default_path(made: Provenance) -> Path:
    """Return where a table is written by default."""
    device = re.sub(r"[^a-z0-9]+", "-", made.device_name.lower()).strip("-")
    parts = [device, made.runtime, made.precision, *([f"{made.threads}t"] if made.threads else [])]
    return Path("latency_tables") / f"{'-'.join(parts)}.json"


def _export_parts(shape: Shape, encoders: Sequence[str]) -> None:
    """Have torch export what it alone knows, so that no export falls between measurements."""
    jobs: list[Any] = [(encoder_part, encoder, shape.image) for encoder in encoders]
    jobs += [
        (tail_part, shape.classes, size, shape.image, shape.tail)
        for size in dict.fromkeys(shape.sizes)
    ]
    for export, *arguments in track(jobs, "Exporting encoders and tails", len(jobs)):
        export(*arguments)


def _entries(
    pieces: Sequence[Recipe], measured: Mapping[str, Array], level: float
) -> dict[str, Entry]:
    differences = [
        (piece, difference(level * measured[_key(piece)], piece.copies)) for piece in pieces
    ]
    entries = {
        unit.name: Entry(
            latency_ms=round(found.latency_ms, 5),
            iqr_ms=round(found.iqr_ms, 5),
            samples=found.samples,
            method=method,
        )
        for unit, found, method in solve(differences)
    }
    return dict(sorted(entries.items()))


def _certificate(
    table: LatencyTable, networks: Sequence[Network], measured: Sequence[float], seed: int
) -> Certificate:
    predictions = [
        table.predict(table.plan(Architecture(genotype, encoder))) for genotype, encoder in networks
    ]
    cases = [
        Case(
            genotype=str(genotype),
            encoder=encoder,
            predicted_ms=round(prediction.median, 3),
            measured_ms=round(ms, 3),
        )
        for (genotype, encoder), prediction, ms in zip(networks, predictions, measured, strict=True)
    ]
    return certify(cases, [(p.low, p.high) for p in predictions], seed)
