"""Reads the JSON profile that ONNX Runtime writes when a session is closed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from export.system.files import read_json

NODE = "_kernel_time"
RUN = "model_run"
# Their time contains that of the nodes inside their subgraphs.
CONTROL_FLOW = ("If", "Loop", "Scan")


def node_times(path: Path, runs: int) -> dict[str, float]:
    """Return the median milliseconds of each node over the last runs, in the order of execution."""
    taken: dict[str, list[float]] = defaultdict(list)
    for run in list(_runs(read_json(path)))[-runs:]:
        sums: dict[str, float] = defaultdict(float)
        for event in _outer(run):
            sums[event["name"].removesuffix(NODE)] += event["dur"] / 1000
        for name, ms in sums.items():
            taken[name].append(ms)
    return {name: float(np.median(ms)) for name, ms in taken.items()}


def _runs(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the node events of each run; the event of the whole run comes after them."""
    nodes = []
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(NODE):
            nodes.append(event)
        elif event["name"] == RUN:
            yield nodes
            nodes = []


def _outer(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the nodes of subgraphs, and sort by the time at which they began."""
    spans = [
        (node["ts"], node["ts"] + node["dur"])
        for node in nodes
        if node["args"].get("op_name") in CONTROL_FLOW
    ]
    outer = [
        node
        for node in nodes
        if not any(
            start <= node["ts"] and node["ts"] + node["dur"] <= end
            for start, end in spans
            if (start, end) != (node["ts"], node["ts"] + node["dur"])
        )
    ]
    return sorted(outer, key=lambda node: node["ts"])
