"""Profiling a device: measure entries, fit the correction, certify, write the table."""

import os
import random
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from itertools import cycle
from pathlib import Path
from typing import Any

from export import environment
from export.console import track
from export.errors import UsageError
from export.runtimes import get_runtime
from export.tail import DEFAULT_TAIL
from toolchain.blueprint import AGGREGATION, Unit
from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.networks.encoders import describe_encoder
from toolchain.profiling.certificate import Case, Certificate, certify
from toolchain.profiling.correction import Measured, fit_correction
from toolchain.profiling.entries import Difference, Recipe, difference, recipes, solve
from toolchain.profiling.networks import Shape, network_model, random_genotypes
from toolchain.profiling.parts import encoder_part, tail_part
from toolchain.profiling.stopwatch import Stopwatch
from toolchain.profiling.table import Entry, LatencyTable, Provenance, device_name

Network = tuple[Genotype, str]
SMALLEST = 64
FEWEST = 10


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
    precision: str = "fp32",
    encoders: Sequence[str] = ("mobilenetv2",),
    input_size: int = 512,
    classes: int = 19,
    aggregation: int = AGGREGATION,
    fit_networks: int = 40,
    certify_networks: int = 50,
    seed: int = 0,
    seconds: float = 0.15,
    max_drift: float = 0.05,
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

    Raises:
        UsageError: a number or a name is wrong.
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
    shape = Shape(classes, (input_size, input_size), aggregation)
    if device == "cpu":
        threads = threads or os.cpu_count()
    with Stopwatch(runtime, device, threads, seconds, max_drift, seed=seed) as stopwatch:
        _export_parts(shape, encoders)
        latencies, entries = _measure_entries(stopwatch, shape, encoders)
        fitted = draw_networks(fit_networks, encoders, f"fit {seed}")
        fresh = draw_networks(
            certify_networks, encoders, f"certify {seed}", [canonical(g) for g, _ in fitted]
        )
        measured = measure_networks(stopwatch, shape, [*fitted, *fresh])
        table = LatencyTable(
            provenance=Provenance(
                environment=environment.describe(),
                runtime=runtime,
                runtime_version=get_runtime(runtime).version(),
                device=device,
                device_name=device_name(device),
                precision=precision,
                threads=threads,
                settings=stopwatch.settings,
                input_size=shape.image,
                classes=classes,
                aggregation=aggregation,
                encoders=encoders,
                tail=DEFAULT_TAIL,
                seed=seed,
                date=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=0,
                version=metadata.version("nastool"),
            ),
            entries=entries,
        )
    if fitted:
        samples = [
            Measured(str(genotype), encoder, table.plan(genotype, encoder), ms)
            for (genotype, encoder), ms in zip(fitted, measured, strict=False)
        ]
        table.correction = fit_correction(samples, latencies)
    if fresh:
        table.certificate = _certificate(table, fresh, measured[len(fitted) :], seed)
    table.provenance.seconds = round(time.monotonic() - started, 1)
    path = Path(output) if output else default_path(table.provenance)
    table.save(path)
    return Profile(path, table)


def certify_table(
    path: str | Path,
    architectures: int = 100,
    seed: int = 1,
    seconds: float = 0.15,
    max_drift: float = 0.05,
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
    shape = Shape(made.classes, made.input_size, made.aggregation)
    fitted = draw_networks(table.correction.networks, made.encoders, f"fit {made.seed}")
    fresh = draw_networks(
        architectures, made.encoders, f"certify {seed}", [canonical(g) for g, _ in fitted]
    )
    with Stopwatch(
        made.runtime, made.device, made.threads, seconds, max_drift, seed=seed
    ) as stopwatch:
        _export_parts(shape, made.encoders)
        measured = measure_networks(stopwatch, shape, fresh)
    return _certificate(table, fresh, measured, seed)


def draw_networks(
    count: int, encoders: Sequence[str], seed: str, avoid: Collection[str] = ()
) -> list[Network]:
    """Draw random networks, the encoders in turns; see `random_genotypes`."""
    genotypes = random_genotypes(count, random.Random(seed), avoid)
    return list(zip(genotypes, cycle(encoders), strict=False))


def measure_networks(
    stopwatch: Stopwatch, shape: Shape, networks: Sequence[Network]
) -> list[float]:
    """Return the median latency of each network, milliseconds."""

    def measure(position: int) -> float:
        genotype, encoder = networks[position]
        return stopwatch.compare([network_model(genotype, encoder, shape)])[0].median

    results = stopwatch.each(range(len(networks)), measure)
    return [ms for _, ms in sorted(track(results, "Whole networks", len(networks)))]


def default_path(made: Provenance) -> Path:
    """Return where a table is written by default."""
    device = re.sub(r"[^a-z0-9]+", "-", made.device_name.lower()).strip("-")
    parts = [device, made.runtime, made.precision, *([f"{made.threads}t"] if made.threads else [])]
    return Path("latency_tables") / f"{'-'.join(parts)}.json"


def _export_parts(shape: Shape, encoders: Sequence[str]) -> None:
    """Have torch export what it alone knows, so that no export falls between measurements."""
    jobs: list[Any] = [(encoder_part, encoder, shape.image) for encoder in encoders]
    jobs += [(tail_part, shape.classes, size, shape.image) for size in dict.fromkeys(shape.sizes)]
    for export, *arguments in track(jobs, "Exporting encoders and tails", len(jobs)):
        export(*arguments)


def _measure_entries(
    stopwatch: Stopwatch, shape: Shape, encoders: Sequence[str]
) -> tuple[dict[Unit, float], dict[str, Entry]]:
    todo = recipes(shape, encoders)

    def measure(recipe: Recipe) -> Difference:
        samples = stopwatch.compare(recipe.models)
        return difference([sample.ms for sample in samples], recipe.copies)

    measured = list(track(stopwatch.each(todo, measure), "Units", len(todo)))
    solved = list(solve(measured))
    entries = {
        unit.name: Entry(
            latency_ms=round(found.latency_ms, 5),
            iqr_ms=round(found.iqr_ms, 5),
            samples=found.samples,
            method=method,
        )
        for unit, found, method in solved
    }
    return (
        {unit: entries[unit.name].latency_ms for unit, _, _ in solved},
        dict(sorted(entries.items())),
    )


def _certificate(
    table: LatencyTable, networks: Sequence[Network], measured: Sequence[float], seed: int
) -> Certificate:
    predictions = [table.predict(table.plan(genotype, encoder)) for genotype, encoder in networks]
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
