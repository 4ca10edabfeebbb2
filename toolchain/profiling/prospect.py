"""Whether this machine can be measured now, and which latency tables are of it."""

from pathlib import Path
from typing import Any

from export.system.errors import NastoolError
from toolchain.profiling.stopwatch import Stopwatch
from toolchain.profiling.table import LatencyTable, in_words


def measuring() -> dict[str, Any]:
    """Look for some seconds at what would disturb a measurement.

    Returns:
        ``possible``; ``quiet_share``, in which share of the moments a fixed piece of network ran
        near its best; ``other_programs_cores``, how many cores' worth others took.
    """
    with Stopwatch() as stopwatch:
        return {
            "possible": stopwatch.is_calm,
            "quiet_share": round(stopwatch.quiet_share, 3),
            "other_programs_cores": round(stopwatch.contention, 2),
        }


def tables(folder: Path = Path("latency_tables")) -> list[dict[str, Any]]:
    """Compare the latency tables of a folder with this machine.

    Returns:
        Of each ``path``, ``fits``, and ``reason``: the first field that differs, or why it cannot
        be read; None where it fits.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name == "schema.json":
            continue
        try:
            table = LatencyTable.load(path)
            differences = list(table.provenance.differences())
        except NastoolError as error:
            found.append({"path": str(path), "fits": False, "reason": str(error)})
            continue
        reason = None
        if differences:
            field, then, now = differences[0]
            reason = f"{field} is {in_words(then)}, here it is {in_words(now)}"
        found.append({"path": str(path), "fits": not differences, "reason": reason})
    return found
