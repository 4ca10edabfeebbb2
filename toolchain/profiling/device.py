"""Profiling this machine's device: measure, and make the table."""

import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from export.benchmarking.tail_choice import fastest_tail
from export.kit.journal import Journal, JournalError, settings_of
from export.machine import environment
from export.machine.environment import device_facts
from export.machine.gpus import UNKNOWN
from export.machine.processor import usable_cores
from export.onnx_file.metadata import Precision
from export.runtimes import get_runtime
from export.runtimes.base import parse_device
from export.system.errors import DataError, GateError
from export.system.files import write_json
from export.system.version import version
from toolchain.networks.blueprint import AGGREGATION
from toolchain.profiling.face import face_maps
from toolchain.profiling.jobs import export_parts, measure_all
from toolchain.profiling.plan import Plan, shape_of
from toolchain.profiling.provenance import MAX_DRIFT, Provenance, device_name
from toolchain.profiling.stopwatch import Stopwatch
from toolchain.profiling.table import LatencyTable
from toolchain.settings.profile_files import FLAGS, MEASURED, PARTIAL, TABLES

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


def planned(
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
    fit_networks: int = 60,
    certify_networks: int = 50,
    seed: int = 0,
    max_drift: float = MAX_DRIFT,
) -> Plan:
    """Plan a profiling, of this device or of another one; what only it knows is still open.

    Args:
        runtime: name of the runtime.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: of one operator on the CPU; None: not known yet.
        precision: of the networks.
        encoders: names of the encoders to have entries for.
        input_size: side of the square image, pixels; a multiple of 32.
        working_sizes: to have entries for, pixels; multiples of 32. None: that of the input.
        classes: number of classes.
        aggregation: channels of the decoder.
        fit_networks: whole networks that the correction is fitted to; 0 for none.
        certify_networks: whole networks that the certificate is made on; 0 for none.
        seed: of the drawn networks and of the order of measurement.
        max_drift: see `Stopwatch`.

    Raises:
        UsageError: a number or a name is wrong.
    """
    parse_device(device)
    made = Provenance(
        environment={},
        runtime=runtime,
        runtime_version="",
        device=device,
        device_name=UNKNOWN,
        precision=precision,
        threads=threads,
        settings={},
        input_size=(input_size, input_size),
        working_sizes=list(dict.fromkeys(working_sizes)),
        classes=classes,
        aggregation=aggregation,
        encoders=list(dict.fromkeys(encoders)),
        tail="",
        seed=seed,
        max_drift=max_drift,
        date="",
        seconds=0,
        version=version(),
    )
    plan = Plan(made, fit_networks, certify_networks)
    plan.check()
    return plan


def profile_device(
    output: str | Path | None = None,
    *,
    seconds: float = 0.1,
    resume: bool = False,
    threads: int | None = None,
    **settings: Any,
) -> Profile:
    """Measure this machine's device and write its latency table.

    Args:
        output: the file; by default in ``latency_tables/``, named by device, runtime, precision
            and threads.
        seconds: to measure each graph, at least.
        resume: go on with an interrupted profiling of the same settings.
        threads: of one operator on the CPU; None: see `usable_cores`.
        settings: see `planned`.

    Raises:
        UsageError: a number or a name is wrong.
        DataError: what there is to resume does not fit, or is finished.
        UnavailableError: the runtime or the device is missing.
        GateError: the machine is too busy to measure on.
    """
    started = time.monotonic()
    plan = planned(**settings)
    made = plan.made
    if made.device == "cpu":
        made.threads = threads or usable_cores()
    made.runtime_version = get_runtime(made.runtime).version()
    made.environment = environment.describe()
    made.device_name = device_name(made.device) or UNKNOWN
    made.date = datetime.now(UTC).isoformat(timespec="seconds")
    path = Path(output) if output else default_path(made)
    # What is measured, and what torch has exported for it.
    partial = path.with_name(f"{path.name}{PARTIAL}")
    if resume and path.exists() and not partial.exists():
        raise DataError(path, "is finished; leave out --resume to measure it anew")
    if not resume:
        shutil.rmtree(partial, ignore_errors=True)
    # Two tails may be equally fast: an interrupted profiling goes on with the one it chose.
    made.tail = settings_of(partial / MEASURED).get("tail") or _fastest_tail(made)
    try:
        journal = Journal(
            partial / MEASURED, made.model_dump(mode="json", include=SETTINGS), resume=resume
        )
        with Stopwatch(
            made.runtime, made.device, made.threads, seconds, made.max_drift, made.seed
        ) as stopwatch:
            write_json(partial / FLAGS, {"seconds": seconds, "threads": threads, **settings})
            export_parts(plan.shape, made.backbones, partial)
            measure_all(stopwatch, plan.jobs, plan.shape, journal)
            made.settings = stopwatch.settings
    except JournalError as error:
        raise DataError(error.path, error.problem) from None
    except GateError as error:
        advice = ", or measure roughly with a larger --max-drift"
        if (partial / MEASURED).exists():
            advice += "; what is measured is kept, --resume goes on with it"
        raise GateError(f"{error}{advice}") from None
    finally:
        if not (partial / MEASURED).exists():  # nothing to go on with
            shutil.rmtree(partial, ignore_errors=True)
    table = plan.table(journal)
    made.seconds = round(time.monotonic() - started, 1)
    table.save(path)
    shutil.rmtree(partial, ignore_errors=True)
    return Profile(path, table)


def _fastest_tail(made: Provenance) -> str:
    """Choose by the finest logits of all; by those that the tails differ on, if there are any."""
    height, width = made.input_size
    ends = [shape_of(made).tap_sizes(size)[0] for size in made.working_sizes]
    size = max(ends, key=lambda size: (not height % (2 * size[0]), size))
    where: dict[str, Any] = {
        "runtime": made.runtime,
        "device": made.device,
        "threads": made.threads,
    }
    logits = face_maps(made.classes, size)
    return fastest_tail(logits, height, width, shape_of(made).target, **where).name


def default_path(made: Provenance) -> Path:
    """Return where a table is written by default."""
    facts = device_facts(made.device, made.environment)
    # One name may be of several generations of processors.
    generation = [facts.get("cpu family"), facts.get("cpu number")]
    extension = facts.get("cpu vector", [])[-1:]
    threads = f"{made.threads}t" if made.threads else None
    words = [made.device_name, *generation, *extension, made.runtime, made.precision, threads]
    name = "-".join(str(word).lower() for word in words if word)
    return TABLES / f"{re.sub(r'[^a-z0-9]+', '-', name)}.json"
