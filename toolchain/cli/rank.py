"""``nastool rank``: say whether a search's scores could be trusted."""

from pathlib import Path

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from toolchain.cli.flags import flags
from toolchain.cli.inputs import RunFolder
from toolchain.cli.resuming import NOTHING_YET, Given, defaults, go_on, read_settings
from toolchain.settings.search_settings import RANKING, RankSettings


def _recalled(given: Given) -> Given:
    ranking = Path(given.get("run", "")) / RANKING
    if not given.get("resume") or not ranking.is_file():
        return {}
    return defaults(read_settings(ranking).get("settings", {}))


def _kept(given: Given) -> str:
    ranking = given["run"] / RANKING
    if not ranking.is_file():
        return NOTHING_YET
    return go_on(f"trained candidates are kept in {ranking}", "rank", given["run"])


@command("rank", recalled=_recalled, kept=_kept, groups=RankSettings.groups)
@click.argument("run", type=RunFolder())
@flags(RankSettings)
@click.option("--resume", is_flag=True, help="Go on with the ranking in RUN.")
def rank(run: Path, resume: bool, **settings: int) -> Outcome:
    """Train the best and some random candidates of RUN longer, and compare the orders.

    They train on images of the part train and are scored on val, neither of which the search has
    seen. Says with which Spearman and Kendall correlation the search's scores foretold the results:
    a search whose scores order candidates wrongly has chosen by chance. Writes rank.json into
    RUN, which nastool report shows.

    \b
      nastool rank runs/first --trials 12 --epochs 5
      nastool rank runs/first --resume
    """
    from toolchain.search.correlation import Correlation, verdict
    from toolchain.search.rank import rank_run

    document = rank_run(run, RankSettings.of(**settings), resume)
    rows = [
        [
            row["id"],
            row["chosen"],
            f"{row['search_score']:.3f}",
            f"{row['result']:.3f}",
            f"{row['seconds']:.0f}",
        ]
        for row in sorted(document["trials"], key=lambda row: -row["result"])
    ]
    found = document["spearman"] and Correlation(**document["spearman"])
    return Outcome(
        document,
        lines(
            table(["trial", "chosen", "search score", "result", "seconds"], rows),
            verdict(found, len(rows), "the score of the search"),
        ),
    )
