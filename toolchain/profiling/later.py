"""A latency table in another hour: certified again, and brought to the pace of that hour.

A machine that is shared, or gets warm, runs all networks slower or faster in another hour. Which
network is how much slower than another holds much longer than milliseconds do, so that a few
networks, measured again, put a whole table right.
"""

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist

import numpy as np

from export.kit.journal import Measurements
from toolchain.architecture import Architecture
from toolchain.graph import canonical
from toolchain.profiling.certificate import Certificate
from toolchain.profiling.correction import COVERAGE
from toolchain.profiling.jobs import export_parts, measure_all
from toolchain.profiling.networks import draw_networks
from toolchain.profiling.plan import (
    certificate_of,
    fitted_networks,
    fresh_networks,
    latencies,
    shape_of,
)
from toolchain.profiling.provenance import MAX_DRIFT, Anchor
from toolchain.profiling.stopwatch import Stopwatch
from toolchain.profiling.table import LatencyTable

NETWORKS = 12
# The quantile of a normal distribution between whose negative and itself a share `COVERAGE` lies.
BETWEEN = NormalDist().inv_cdf((1 + COVERAGE) / 2)


def anchor_table(
    path: str | Path,
    output: str | Path,
    networks: int = NETWORKS,
    seed: int = 2,
    seconds: float = 0.1,
    max_drift: float = MAX_DRIFT,
    *,
    force: bool = False,
) -> LatencyTable:
    """Measure a few networks, and write a table whose milliseconds are those of now.

    Args:
        path: the table.
        output: the new one.
        networks: how many are measured.
        seed: that draws them.
        seconds: to measure each network, at least.
        max_drift: see `Stopwatch`.
        force: even if the table is of another machine or runtime.

    Raises:
        DataError: the table cannot be read, or does not match this machine.
        GateError: the machine is too busy to measure on.
    """
    started = time.monotonic()
    table = LatencyTable.load(path)
    drawn = draw_networks(networks, table.provenance.backbones, f"anchor {seed}")
    found = _measure(table, drawn, seed, seconds, max_drift, force=force)
    anchored = _at_pace_of(table, drawn, found, time.monotonic() - started)
    anchored.provenance.sentinel_ms = round(found.level_ms, 5)
    anchored.save(output)
    return anchored


def certify_table(
    path: str | Path,
    architectures: int = 100,
    anchor: int = 0,
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
        anchor: further networks, measured among the others, to whose pace the table is brought
            before it is held against those; 0: it is taken as it is.
        seed: that draws them all.
        seconds: to measure each network, at least.
        max_drift: see `Stopwatch`.
        force: even if the table is of another machine or runtime.

    Raises:
        DataError: the table cannot be read, or does not match this machine.
        GateError: the machine is too busy to measure on.
    """
    started = time.monotonic()
    table = LatencyTable.load(path)
    made = table.provenance
    fresh = fresh_networks(
        made, architectures, seed, fitted_networks(made, table.correction.networks)
    )
    avoid = [canonical(network.genotype) for network in fresh]
    others = draw_networks(anchor, made.backbones, f"anchor {seed}", avoid)
    found = _measure(table, [*fresh, *others], seed, seconds, max_drift, force=force)
    if others:
        table = _at_pace_of(table, others, found, time.monotonic() - started)
    return certificate_of(table, fresh, latencies(fresh, found), seed).model_copy(
        update={
            "slowdown": round(found.level_ms / (made.sentinel_ms or found.level_ms), 3),
            "anchor": table.provenance.anchor if others else None,
            "at_other_speeds": found.share_at_other_speeds(max_drift),
        }
    )


def _measure(
    table: LatencyTable,
    networks: Sequence[Architecture],
    seed: int,
    seconds: float,
    max_drift: float,
    *,
    force: bool,
) -> Measurements:
    """Measure networks as a table's were."""
    table.check_matches(force=force)
    made = table.provenance
    shape = shape_of(made)
    with Stopwatch(
        made.runtime, made.device, made.threads, seconds, max_drift, seed=seed
    ) as stopwatch:
        table.check_matches(settings=stopwatch.settings, force=force)
        export_parts(shape, made.backbones)
        measure_all(stopwatch, networks, shape, found := Measurements())
    return found


def _at_pace_of(
    table: LatencyTable, networks: Sequence[Architecture], found: Measurements, seconds: float
) -> LatencyTable:
    """Return a table at the pace that networks were found to have."""
    predicted = [table.predict(table.plan(network)).median for network in networks]
    ratios = np.log(latencies(networks, found)) - np.log(predicted)
    factor = math.exp(float(np.mean(ratios)))
    # It is as sure as the mean of so many networks.
    error = float(np.std(ratios, ddof=1)) / math.sqrt(len(networks))
    anchored = table.at_pace(factor, BETWEEN * error)
    anchor = Anchor(
        factor=round(factor, 4),
        error=round(error, 4),
        networks=len(networks),
        seconds=round(seconds, 1),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    anchored.provenance = table.provenance.model_copy(update={"anchor": anchor})
    return anchored
