"""Profiling a device: measure entries, fit the correction, certify, write the table."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from export import environment
from export.environment import device_facts
from export.errors import UsageError
from export.gpus import UNKNOWN
from export.metadata import Precision
from export.onnx import Target
from export.processor import usable_cores
from export.runtimes import get_runtime
from export.tail_choice import fastest_tail
from toolchain.architecture import STRIDE, Architecture
from toolchain.blueprint import AGGREGATION
from toolchain.graph import canonical
from toolchain.networks.encoders import describe_encoder
from toolchain.profiling.certificate import Case, Certificate, certify
from toolchain.profiling.correction import Measured, fit_correction
from toolchain.profiling.entries import Recipe, difference, recipes, solve
from toolchain.profiling.face import face_maps
from toolchain.profiling.graphs import Array
from toolchain.profiling.jobs import export_parts, key_of, measure_all
from toolchain.profiling.journal import Journal, settings_of
from toolchain.profiling.networks import Shape, draw_networks
from toolchain.profiling.provenance import MAX_DRIFT, Provenance, device_name
from toolchain.profiling.stopwatch import Stopwatch
from toolchain.profiling.table import Entry, LatencyTable

SMALLEST = 64
FEWEST = 10
# What the measurements of an interrupted profiling must share with those that complete it.
SETTINGS = {
    *("runtime", "runtime_version", "device", "device_name", "precision", "threads"),
    *("input_size", "working_sizes", "classes", "aggregation", "encoders", "tail", "version"),
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
    working_sizes: Sequence[int] = (),
    classes: int = 19,
    aggregation: int = AGGREGATION,
    fit_networks: int = 40,
    certify_networks: int = 50,
    seed: int = 0,
    seconds: float = 0.1,
    max_drift: float = MAX_DRIFT,
    resume: bool = False,
) -> Profile:
    """Measure a device and write its latency table.

    Args:
        output: the file; by default in ``latency_tables/``, named by device, runtime, precision
            and threads.
        runtime: name of the runtime.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: of one operator on the CPU; None: see `usable_cores`.
        precision: of the networks.
        encoders: names of the encoders to have entries for.
        input_size: side of the square image, pixels; a multiple of 32.
        working_sizes: to have entries for, pixels; multiples of 32. None: that of the input.
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
    if input_size % STRIDE or input_size < SMALLEST:
        raise UsageError(
            f"the input size must be a multiple of {STRIDE}, at least {SMALLEST}, not {input_size}"
        )
    working_sizes = list(dict.fromkeys(working_sizes)) or [input_size]
    for size in working_sizes:
        if size % STRIDE or not SMALLEST <= size <= input_size:
            raise UsageError(
                f"a working size must be a multiple of {STRIDE}, at least {SMALLEST} and at most "
                f"the input size {input_size}, not {size}"
            )
    for count, name in ((fit_networks, "fit"), (certify_networks, "certify")):
        if 0 < count < FEWEST:
            raise UsageError(f"--{name}-networks takes 0, or at least {FEWEST}, not {count}")
    encoders = list(dict.fromkeys(encoders))
    for encoder in encoders:
        describe_encoder(encoder)
    started = time.monotonic()
    if device == "cpu":
        threads = threads or usable_cores()
    made = Provenance(
        environment=environment.describe(),
        runtime=runtime,
        runtime_version=get_runtime(runtime).version(),
        device=device,
        device_name=device_name(device) or UNKNOWN,
        precision=precision,
        threads=threads,
        settings={},
        input_size=(input_size, input_size),
        working_sizes=working_sizes,
        classes=classes,
        aggregation=aggregation,
        encoders=encoders,
        tail="",
        seed=seed,
        max_drift=max_drift,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0,
        version=metadata.version("nastool"),
    )
    path = Path(output) if output else default_path(made)
    partial_path = path.with_name(f"{path.name}.partial")
    # Two tails may be equally fast: an interrupted profiling goes on with the one it chose.
    begun = settings_of(partial_path) if resume else {}
    made.tail = begun.get("tail") or _fastest_tail(made)
    shape = _shape(made)
    fitted = draw_networks(fit_networks, made.backbones, f"fit {seed}")
    fresh = _fresh(certify_networks, seed, made, fitted)
    pieces = recipes(shape, made.backbones)
    journal = Journal(
        partial_path,
        made.model_dump(mode="json", include=SETTINGS),
        resume=resume,
    )
    with Stopwatch(runtime, device, threads, seconds, max_drift, seed=seed) as stopwatch:
        export_parts(shape, made.backbones)
        measure_all(stopwatch, [*pieces, *fitted, *fresh], shape, journal)
        made.settings = stopwatch.settings
        level = made.sentinel_ms = round(stopwatch.level_ms, 5)
    entries = _entries(pieces, journal.measured, level)
    table = LatencyTable(provenance=made, entries=entries)

    def latency(network: Architecture) -> float:
        return level * float(np.median(journal.measured[key_of(network)]))

    if fitted:
        samples = [Measured(table.plan(network), latency(network)) for network in fitted]
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
    max_drift: float = MAX_DRIFT,
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
    shape = _shape(made)
    fitted = draw_networks(table.correction.networks, made.backbones, f"fit {made.seed}")
    fresh = _fresh(architectures, seed, made, fitted)
    with Stopwatch(
        made.runtime, made.device, made.threads, seconds, max_drift, seed=seed
    ) as stopwatch:
        table.check_matches(settings=stopwatch.settings, force=force)
        export_parts(shape, made.backbones)
        measured = measure_all(stopwatch, fresh, shape)
        level = stopwatch.level_ms
    # At the speed that the table was measured at; how the machine runs today is said apart.
    then = made.sentinel_ms or level
    latencies = [then * float(np.median(measured[key_of(network)])) for network in fresh]
    certificate = _certificate(table, fresh, latencies, seed)
    return certificate.model_copy(update={"slowdown": round(level / then, 3)})


def _shape(made: Provenance) -> Shape:
    target: Target = "cpu" if made.device == "cpu" else "gpu"
    return Shape(made.classes, made.input_size, made.aggregation, made.precision, target, made.tail)


def _fresh(
    count: int, seed: int, made: Provenance, fitted: Sequence[Architecture]
) -> list[Architecture]:
    """Draw networks to certify on, none of which has the genotype of a fitted one."""
    avoid = [canonical(network.genotype) for network in fitted]
    return draw_networks(count, made.backbones, f"certify {seed}", avoid)


def _fastest_tail(made: Provenance) -> str:
    """Choose by the finest logits of all; by those that the tails differ on, if there are any."""
    height, width = made.input_size
    ends = [_shape(made).tap_sizes(size)[0] for size in made.working_sizes]
    size = max(ends, key=lambda size: (not height % (2 * size[0]), size))
    where: dict[str, Any] = {
        "runtime": made.runtime,
        "device": made.device,
        "threads": made.threads,
    }
    logits = face_maps(made.classes, size)
    return fastest_tail(logits, height, width, _shape(made).target, **where).name


def default_path(made: Provenance) -> Path:
    """Return where a table is written by default."""
    facts = device_facts(made.device, made.environment)
    # One name may be of several generations of processors.
    generation = [facts.get("cpu family"), facts.get("cpu number")]
    extension = facts.get("cpu vector", [])[-1:]
    threads = f"{made.threads}t" if made.threads else None
    words = [made.device_name, *generation, *extension, made.runtime, made.precision, threads]
    name = "-".join(str(word).lower() for word in words if word)
    return Path("latency_tables") / f"{re.sub(r'[^a-z0-9]+', '-', name)}.json"


def _entries(
    pieces: Sequence[Recipe], measured: Mapping[str, Array], level: float
) -> dict[str, Entry]:
    differences = [
        (piece, difference(level * measured[key_of(piece)], piece.copies)) for piece in pieces
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
    table: LatencyTable, networks: Sequence[Architecture], measured: Sequence[float], seed: int
) -> Certificate:
    predictions = [table.predict(table.plan(network)) for network in networks]
    cases = [
        Case(
            genotype=str(network.genotype),
            encoder=network.encoder,
            working_size=network.working_size,
            predicted_ms=round(prediction.median, 3),
            measured_ms=round(ms, 3),
        )
        for network, prediction, ms in zip(networks, predictions, measured, strict=True)
    ]
    return certify(cases, [(p.low, p.high) for p in predictions], seed)
