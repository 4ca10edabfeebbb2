"""A latency table at the pace of this hour.

A machine that is shared, or gets warm, runs all networks slower or faster in another hour. Which
network is how much slower than another holds much longer than milliseconds do, so that a few
networks, measured again, put a whole table right.
"""

import math
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from toolchain.profiling.correction import COVERAGE
from toolchain.profiling.jobs import export_parts, measure_all
from toolchain.profiling.networks import draw_networks
from toolchain.profiling.plan import latencies, shape_of
from toolchain.profiling.provenance import MAX_DRIFT, Anchor
from toolchain.profiling.stopwatch import Stopwatch
from toolchain.profiling.table import LatencyTable

NETWORKS = 12
# The quantile of a normal distribution between whose negative and itself a share `COVERAGE` lies.
BETWEEN = 1.645
assert math.isclose(math.erf(BETWEEN / math.sqrt(2)), COVERAGE, abs_tol=1e-3)


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
    table.check_matches(force=force)
    made = table.provenance
    shape = shape_of(made)
    drawn = draw_networks(networks, made.backbones, f"anchor {seed}")
    with Stopwatch(
        made.runtime, made.device, made.threads, seconds, max_drift, seed=seed
    ) as stopwatch:
        table.check_matches(settings=stopwatch.settings, force=force)
        export_parts(shape, made.backbones)
        measured = measure_all(stopwatch, drawn, shape)
        level = stopwatch.level_ms
    predicted = [table.predict(table.plan(network)).median for network in drawn]
    ratios = np.log(latencies(drawn, measured, level)) - np.log(predicted)
    # The factor is as sure as the mean of so many networks.
    error = float(np.std(ratios, ddof=1)) / math.sqrt(networks)
    made.sentinel_ms = round(level, 5)
    anchored = table.at_pace(math.exp(float(np.mean(ratios))), BETWEEN * error)
    made.anchor = Anchor(
        factor=round(math.exp(float(np.mean(ratios))), 4),
        error=round(error, 4),
        networks=networks,
        seconds=round(time.monotonic() - started, 1),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    anchored.save(output)
    return anchored
