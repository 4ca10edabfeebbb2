"""``nastool table``: read a latency table."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines
from export.system.console import table as text_table
from export.system.inputs import InputFile
from export.system.numbers import FEWEST_TO_ANCHOR
from export.system.outputs import JSON, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from toolchain.profiling.comparison import Comparison, UnitRatio
    from toolchain.profiling.reading import Reading

TABLE = InputFile()


@click.group("table")
def table() -> None:
    """Read latency tables: what costs how much, and how far to trust it.

    Reading is not using: tables of other machines are welcome. `anchor` brings one of this machine
    to the pace of this hour. Each command takes --json, --config FILE and --debug.

    \b
      nastool table show latency_tables/TABLE.json
      nastool table compare latency_tables/LAPTOP.json latency_tables/PHONE.json
      nastool table plot latency_tables/TABLE.json --output table.html
    """


@table.add_command
@command("show")
@click.argument("path", metavar="TABLE", type=TABLE)
def show(path: Path) -> Outcome:
    """Show what TABLE says, in figures and words.

    Prints the slowest entries, what each unit adds to a network by resolution (corrected as in a
    prediction), the shares of encoder, decoder and tail over 200 random genotypes, and advice.
    Encoders at a smaller working size than the input's are named with it: "mobilenetv2 at 256".

    \b
      nastool table show latency_tables/TABLE.json
    """
    from dataclasses import asdict

    from toolchain.profiling.advice import advise
    from toolchain.profiling.reading import read_table

    reading = read_table(path)
    advice = advise(reading)
    return Outcome(
        reading.document() | {"advice": [asdict(each) for each in advice]},
        lines(*_shown(reading), "", *_bullets(each.text for each in advice)),
    )


@table.add_command
@command("compare")
@click.argument("path_a", metavar="A", type=TABLE)
@click.argument("path_b", metavar="B", type=TABLE)
def compare(path_a: Path, path_b: Path) -> Outcome:
    """Compare two tables, B against A.

    They may be of two devices, runtimes or precisions, but of the same classes and input size.
    Prints the ratio B / A of every unit by resolution, the units that lose and win most, and for
    500 random genotypes with each encoder and working size that both tables have: rank
    correlations, the ratio, and the genotypes whose rank changes most.

    \b
      nastool table compare latency_tables/LAPTOP.json latency_tables/PHONE.json
    """
    from toolchain.profiling.comparison import compare_tables

    comparison = compare_tables(path_a, path_b)
    return Outcome(
        comparison.document(),
        lines(*_compared(comparison), "", *_bullets(comparison.words)),
    )


@table.add_command
@command("plot")
@click.argument("path", metavar="TABLE", type=TABLE)
@click.option(
    "--output",
    type=PAGE,
    default="table.html",
    show_default=True,
    help="The HTML file.",
)
def plot(path: Path, output: Path) -> Outcome:
    """Draw TABLE as a page.

    Writes one file that opens in any browser without a network: predicted against measured
    latency, the distribution of errors, the cost of each operation by resolution, and advice. It
    has about 5 MB, most of it the plotting library.

    \b
      nastool table plot latency_tables/TABLE.json --output table.html
    """
    from toolchain.reporting.table_page import write_table_page

    document = write_table_page(path, output)
    worst = " (the worst only: the table keeps no others)" if document["only_worst"] else ""
    return Outcome(document, f"Wrote {output}, {document['networks']} measured networks{worst}")


@table.add_command
@command("anchor")
@click.argument("path", metavar="TABLE", type=TABLE)
@click.option(
    "--output",
    type=JSON,
    required=True,
    help="The new table.",
)
@click.option(
    "--networks",
    type=click.IntRange(FEWEST_TO_ANCHOR),
    default=12,
    show_default=True,
    help="Random networks to measure.",
)
@click.option("--seed", type=click.IntRange(0), default=2, show_default=True, help="Draws them.")
@click.option("--force", is_flag=True, help="Even if the table is of another machine or runtime.")
def anchor(path: Path, output: Path, **settings: Any) -> Outcome:
    """Bring TABLE to the pace of this hour.

    A shared or warm machine runs everything slower or faster in another hour, while the order of
    networks and their ratios hold. This measures a few networks, in some seconds, and writes a
    table whose milliseconds are multiplied by what they have in common; its intervals know how
    sure that factor is, its certificate is that of TABLE. `nastool certify` says whether it is
    needed.

    \b
      nastool table anchor latency_tables/TABLE.json --output now.json
      nastool benchmark model.onnx --latency-table now.json
    """
    from toolchain.profiling.later import anchor_table

    made = anchor_table(path, output, **settings).provenance.anchor
    assert made
    return Outcome(
        {"table": str(output), "anchor": made.model_dump()},
        f"{output}: {made.factor:.3f} (+- {made.error:.3f}) times the milliseconds of {path}, by "
        f"{made.networks} networks in {made.seconds:.0f} s",
    )


def _bullets(sentences: "Iterable[str]") -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def _shown(reading: "Reading") -> list[Any]:
    made, certificate = reading.table.provenance, reading.table.certificate
    threads = f", {made.threads} threads" if made.threads else ""
    height, width = made.input_size
    size = f"{height}x{width}"
    if made.working_sizes != [height]:
        size += f" (working sizes {', '.join(map(str, made.working_sizes))})"
    trust = (
        f"certificate: {certificate.architectures} networks, mean error {certificate.mape:.1f} %, "
        f"{certificate.within_10_percent:.0f} % within 10 %, Spearman {certificate.spearman:.3f}"
        if certificate
        else "no certificate: nastool certify measures its error"
    )
    slowest = [
        [cost.unit.name, f"{cost.latency_ms:.3f}", f"{cost.iqr_ms:.3f}"] for cost in reading.slowest
    ]
    shares = [
        [
            name,
            f"{s.latency_ms:.2f}",
            *(f"{share:.1f} %" for share in (s.encoder, s.decoder, s.tail, s.constant)),
        ]
        for name, s in reading.shares.items()
    ]
    costs = {
        row: {size: f"{cost.latency_ms:.3f}" for size, cost in cells.items()}
        for row, cells in reading.grid.items()
    }
    return [
        f"{reading.path}: {len(reading.costs)} entries",
        f"{made.device_name} ({made.device}), {made.runtime} {made.runtime_version}, "
        f"{made.precision}{threads}, {size}, {made.classes} classes, {made.date[:10]}",
        trust,
        text_table(["slowest entries", "ms", "spread"], slowest),
        _by_resolution("adds to a network, ms", costs),
        text_table(
            ["random networks with", "ms", "encoder", "decoder", "tail", "constant"], shares
        ),
    ]


def _compared(comparison: "Comparison") -> list[Any]:
    ratios = {
        row: {size: f"{ratio:.2f}" for size, ratio in cells.items()}
        for row, cells in comparison.ratios.items()
    }
    a, b = (found.provenance for found in comparison.tables)
    fields = ("device_name", "device", "runtime", "runtime_version", "precision", "threads", "date")
    differing = [
        [field, getattr(a, field), getattr(b, field)]
        for field in fields
        if getattr(a, field) != getattr(b, field)
    ]
    ranks = [
        [
            name,
            r.networks,
            f"{r.spearman:.3f}",
            f"{r.kendall:.3f}",
            f"{r.ratio_median:.2f}",
            f"{r.ratio_low:.2f} to {r.ratio_high:.2f}",
        ]
        for name, r in comparison.rankings.items()
    ]
    moves = [
        [move.genotype, name, f"{move.a_ms:.2f}", f"{move.b_ms:.2f}", move.a_rank, move.b_rank]
        for name, ranking in comparison.rankings.items()
        for move in ranking.moves
    ]
    return [
        text_table(["", "A", "B"], [["table", comparison.a, comparison.b], *differing]),
        _by_resolution("B / A", ratios),
        _extremes("loses most from A to B", comparison.slowest),
        _extremes("wins most from A to B", comparison.fastest),
        text_table(
            ["random networks with", "number", "Spearman", "Kendall", "B / A", "nine of ten"], ranks
        ),
        text_table(["rank changes most", "encoder", "A ms", "B ms", "A rank", "B rank"], moves),
    ]


def _extremes(title: str, units: "Iterable[UnitRatio]") -> Any:
    rows = [[u.entry, f"{u.a_ms:.3f}", f"{u.b_ms:.3f}", f"{u.ratio:.2f}"] for u in units]
    return text_table([title, "A ms", "B ms", "B / A"], rows)


def _by_resolution(title: str, rows: "Mapping[str, Mapping[str, str]]") -> Any:
    from toolchain.profiling.reading import resolutions

    sizes = resolutions(rows.values())
    return text_table(
        [title, *sizes],
        [[row, *(cells.get(size, "") for size in sizes)] for row, cells in rows.items()],
    )
