"""``nastool search``: search architectures."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import command
from export.system.console import Outcome
from toolchain.cli.flags import flags, given
from toolchain.cli.resuming import NOTHING_YET, Given, go_on, recall
from toolchain.settings.base import FILE_NAME
from toolchain.settings.search_settings import SearchSettings


def _recalled(given: Given) -> Given:
    if not given.get("resume") or "path" not in given:
        return {}
    return recall(SearchSettings, Path(given["path"]), given)


def _kept(given: Given) -> str:
    path = given["path"]
    if not (path / FILE_NAME).is_file():
        return NOTHING_YET
    return go_on(f"candidates that were trained are kept in {path}", "search", "--run", path)


@command(
    "search",
    recalled=_recalled,
    kept=_kept,
    groups=SearchSettings.groups,
)
@click.option(
    "--run", "path", required=True, type=click.Path(path_type=Path), help="Folder of the run."
)
@flags(SearchSettings)
@click.option("--tensorboard", is_flag=True, help="Write curves for TensorBoard into the run.")
@click.option("--resume", is_flag=True, help="Continue the search in --run.")
def search(path: Path, resume: bool, tensorboard: bool, **settings: Any) -> Outcome:
    """Search decoder architectures (and encoders) under your objectives.

    Each candidate is costed from the latency tables, rejected if over a budget, trained for some
    seconds on the part search-train of the data and scored on search-score by the mean F1 of its
    parts. The reward is that score times the factor (cost / target) ^ exponent of each objective,
    at most --bonus-limit; the algorithm learns from it. At the end the best are trained longer and
    scored again, and the front is theirs.

    Writes config.json and study.db into the folder --run. Ctrl-C or a crash loses at most the
    candidate at work; --resume continues, with the flags that the run had.

    How long all candidates will take here is said before the first one. --preset cpu is for
    machines without a GPU.

    \b
      nastool search --data DATA --run runs/quick --preset cpu
      nastool search --run runs/quick --resume
      nastool search --data DATA --run runs/first --trials 150 \\
        --latency-table latency_tables/TABLE.json \\
        --objective latency:40ms:-0.3 --budget 'latency<=80ms'
    """
    from toolchain.cli.pareto import front_table
    from toolchain.search.launch import run_search
    from toolchain.search.run import marks_of

    result = run_search(SearchSettings.of(**given(settings)), path, resume, tensorboard)
    return Outcome(result.document(), front_table(result.front, marks=marks_of(result.front)))
