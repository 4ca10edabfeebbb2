"""``nastool certify``: check a latency table on fresh networks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from export.system.inputs import InputFile
from export.system.numbers import FEWEST_TO_ANCHOR, LONGEST, MOST_NETWORKS, SEED, Networks

if TYPE_CHECKING:
    from toolchain.profiling.certificate import Certificate


@command(
    "certify",
    groups={
        "First of all": ("architectures", "anchor", "max_mape", "min_spearman", "seed", "force"),
        "How it is measured": ("seconds", "max_drift"),
    },
)
@click.argument("path", metavar="TABLE", type=InputFile())
@click.option(
    "--architectures",
    type=click.IntRange(10, MOST_NETWORKS),
    default=100,
    show_default=True,
    help="Networks to measure.",
)
@click.option(
    "--anchor",
    type=Networks(FEWEST_TO_ANCHOR),
    default=0,
    show_default=True,
    help="Bring TABLE's milliseconds to the pace of so many further networks, measured among the "
    "others; 0, or at least 3.",
)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Draws the networks.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.01, LONGEST),
    default=0.1,
    show_default=True,
    help="Time to measure each network, at least.",
)
@click.option(
    "--max-drift",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Per cent by which fixed work beside the measurement may run slower than at its best; "
    "other programs may take as much of a core in use, at least 30.",
)
@click.option(
    "--max-mape",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Floor, per cent.",
)
@click.option(
    "--min-spearman",
    type=click.FloatRange(-1, 1),
    default=0.9,
    show_default=True,
    help="Floor, 0 to 1.",
)
@click.option("--force", is_flag=True, help="Even if the table is of another machine or runtime.")
def certify(
    path: Path, max_drift: float, max_mape: float, min_spearman: float, **settings: Any
) -> Outcome:
    """Measure fresh random networks on this machine against TABLE.

    They have the table's encoders and working sizes in turns, and none of their genotypes was used
    to fit the table. Prints the mean error (MAPE), the shares within 5 and 10 %, the rank
    correlations, how often the measured latency lay in the predicted interval, and the worst cases;
    also how much slower the machine runs than when the table was made, and what error is left
    without that. Exit code 1 when a floor is missed. TABLE itself stays as it is: `nastool table
    anchor` writes one at the pace of this hour.

    \b
      nastool certify latency_tables/TABLE.json
      nastool certify latency_tables/TABLE.json --architectures 50 --seed 7 --max-mape 5
      nastool certify latency_tables/TABLE.json --anchor 12
    """
    from toolchain.profiling.later import certify_table

    certificate = certify_table(path, max_drift=max_drift / 100, **settings)
    return Outcome(
        {"certificate": certificate.model_dump()},
        certificate_table(certificate),
        certificate.complaint(max_mape, min_spearman),
    )


def certificate_table(certificate: "Certificate") -> Any:
    """Make the table of a certificate that people read."""
    from toolchain.profiling.provenance import MOST_AT_OTHER_SPEEDS

    c = certificate
    summary = [
        ["mean error (MAPE)", f"{c.mape:.1f} %"],
        ["within 5 %", f"{c.within_5_percent:.0f} %"],
        ["within 10 %", f"{c.within_10_percent:.0f} %"],
        ["Spearman", f"{c.spearman:.3f}"],
        ["Kendall", f"{c.kendall:.3f}"],
        ["in the predicted interval", f"{c.coverage:.0f} %"],
    ]
    worst = [
        [case.genotype, case.backbone, f"{case.predicted_ms:.2f}", f"{case.measured_ms:.2f}"]
        for case in c.worst
    ]
    remarks = []
    if c.is_rough:
        remarks.append(
            f"This table is rough: its milliseconds are off by {c.mape:.0f} % on average. Measure "
            "again where nothing else runs; nastool doctor says when that can succeed."
        )
    if c.at_other_speeds and c.at_other_speeds > MOST_AT_OTHER_SPEEDS:
        remarks.append(
            f"{c.at_other_speeds:.0%} of the networks were measured at another speed of the "
            "machine than most: certify again where it keeps its speed."
        )
    if c.anchor:
        remarks.append(
            f"Predictions are at the pace of {c.anchor.networks} further networks, measured among "
            f"these: {c.anchor.factor:.3f} (+- {c.anchor.error:.3f}) times the table's "
            "milliseconds. nastool table anchor writes such a table."
        )
    elif c.slowdown is not None and c.pace is not None:
        remarks.append(
            f"All together the networks took {c.pace:.3f} times what the table predicts, a fixed "
            f"piece of network {c.slowdown:.3f} times what it took then. At that pace the mean "
            f"error is {c.mape_at_pace:.1f} %: nastool table anchor brings a table to it."
        )
    return lines(
        table([f"{c.architectures} fresh networks", ""], summary),
        table(["worst", "encoder", "predicted ms", "measured ms"], worst),
        *remarks,
    )
