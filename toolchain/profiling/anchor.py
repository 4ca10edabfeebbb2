"""A latency table at the pace of this hour.

A machine that is shared, or gets warm, runs all networks slower or faster in another hour. Which
network is how much slower than another holds much longer than milliseconds do, so that a few
networks, measured again, put a whole table right.
"""

import math
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist

import numpy as np

from toolchain.profiling.correction import COVERAGE
from toolchain.profiling.device import measure_again
from toolchain.profiling.networks import draw_networks
from toolchain.profiling.provenance import MAX_DRIFT, Anchor
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
    made = table.provenance
    drawn = draw_networks(networks, made.backbones, f"anchor {seed}")
    found, level = measure_again(table, drawn, seed, seconds, max_drift, force=force)
    predicted = [table.predict(table.plan(network)).median for network in drawn]
    ratios = np.log(found) - np.log(predicted)
    factor = math.exp(float(np.mean(ratios)))
    # It is as sure as the mean of so many networks.
    error = float(np.std(ratios, ddof=1)) / math.sqrt(networks)
    made.sentinel_ms = round(level, 5)
    anchored = table.at_pace(factor, BETWEEN * error)
    made.anchor = Anchor(
        factor=round(factor, 4),
        error=round(error, 4),
        networks=networks,
        seconds=round(time.monotonic() - started, 1),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    anchored.save(output)
    return anchored
