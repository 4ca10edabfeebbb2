"""A report of runs and published logs."""

from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from export.system.errors import DataError
from export.system.files import write_text
from toolchain.reporting.logs import read_log
from toolchain.reporting.page import Page
from toolchain.reporting.series import Series, chosen_costs, ranges_of
from toolchain.search.run import Run


def write_report(
    sources: Sequence[Path], output: Path, objectives: Sequence[str] | None = None
) -> dict[str, Any]:
    """Write the HTML report of some runs, about 5 MB because plotly.js is in it.

    Args:
        sources: run folders and published text logs.
        output: the HTML file.
        objectives: what fronts and hypervolumes are of, such as ``["score", "latency"]``; see
            `chosen_costs`.

    Returns:
        ``{"output": path, "objectives": [...], "runs": [{"name", "trials", "best_score",
        "front_size", "hypervolume"}]}``. Hypervolumes are comparable within one report only;
        ``best_score`` is None where no trial has a score.

    Raises:
        DataError: a source cannot be read, or has no finished trial yet.
        UsageError: an objective is not known for every run.
    """
    series = open_series(sources)
    costs = chosen_costs(series, objectives)
    ranges = ranges_of(series, costs)
    write_text(output, Page(series, costs).html())
    return {
        "output": str(output),
        "objectives": ["score", *(cost.objective for cost in costs)],
        "runs": [
            {
                "name": one.name,
                "trials": len(one.trials),
                "best_score": one.best_score,
                "front_size": len(one.front(costs)),
                "hypervolume": one.hypervolume(costs, ranges),
            }
            for one in series
        ],
    }


def open_series(sources: Sequence[Path]) -> list[Series]:
    """Read runs and logs; each is named after its folder or file, numbered where names repeat."""
    series: list[Series] = []
    for position, source in enumerate(sources):
        run = read_log(source) if source.is_file() else Run.load(source)
        name = source.resolve().stem if source.is_file() else source.resolve().name
        taken = {other.name for other in series}
        numbered = (f"{name} ({number})" for number in count(2))
        one = Series(next(n for n in chain([name], numbered) if n not in taken), run, position)
        if not one.trials:
            raise DataError(source, "has no finished trial yet; come back after some")
        series.append(one)
    return series
