"""``nastool cost``: parameters, FLOPs and latency of an architecture."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from export.system.errors import UsageError
from export.system.inputs import InputFile
from export.system.numbers import CLASSES, Side
from toolchain.cli.inputs import GenotypeText


@command(
    "cost",
    groups={
        "First of all": ("latency_tables", "encoder", "input_size", "batch", "drawing"),
        "More": ("working_size", "classes", "force"),
    },
)
@click.argument("genotype", required=False, type=GenotypeText())
@click.option("--batch", type=InputFile(), help="File of genotypes, one a line.")
@click.option("--encoder", default="mobilenetv2", show_default=True, help="Its name.")
@click.option("--classes", type=CLASSES, default=19, show_default=True)
@click.option("--input-size", type=Side(), default=512, show_default=True, help="Pixels.")
@click.option(
    "--working-size",
    type=Side(),
    help="Pixels, a multiple of 32: the network averages its image down to this; the input size if "
    "left out.",
)
@click.option(
    "--latency-table",
    "latency_tables",
    multiple=True,
    type=InputFile(),
    help="Predict the latency from this table; may be given several times.",
)
@click.option("--force", is_flag=True, help="Even if a table is of another machine or runtime.")
@click.option("--drawing", is_flag=True, help="Draw the genotype as text.")
def cost(
    genotype: str | None,
    batch: Path | None,
    encoder: str,
    classes: int,
    input_size: int,
    working_size: int | None,
    latency_tables: tuple[Path, ...],
    force: bool,
    drawing: bool,
) -> Outcome:
    """Count parameters and FLOPs of GENOTYPE and predict its latency.

    The network "as written" has every operation that the genotype names; the network "as it runs"
    leaves out what does not reach the result. Latency is of the latter, from image to labels, with
    an interval that holds for nine of ten networks. FLOPs are those at the working size: averaging
    the image down has none, but takes its time. With --batch, many genotypes are costed and printed
    one a line. Nothing is written.

    \b
      nastool cost '[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]' --drawing
      nastool cost --batch genotypes.txt --latency-table latency_tables/TABLE.json --json
    """
    from toolchain.architecture import Architecture
    from toolchain.genotype import Genotype
    from toolchain.graph import draw
    from toolchain.profiling.costing import cost_documents, load_tables, read_genotypes

    if (genotype is None) == (batch is None):
        raise UsageError("give a GENOTYPE or --batch FILE, and not both")
    genotypes = read_genotypes(batch) if batch else [Genotype.parse(str(genotype))]
    architectures = [Architecture(each, encoder, working_size) for each in genotypes]
    # Before a table is said to lack a size that no network can have.
    architectures[0].working_image((input_size, input_size))
    working_sizes = [working_size] if working_size else []
    tables = load_tables(latency_tables, classes, input_size, [encoder], working_sizes, force=force)
    documents = cost_documents(architectures, classes, input_size, tables)
    text = _many(documents) if batch else _one(documents[0])
    if drawing:
        text = lines(*map(draw, genotypes), text)
    return Outcome(documents if batch else documents[0], text)


def _one(document: dict[str, Any]) -> Any:
    running = document["pruned"]
    rows = [
        [
            f"{key}, {part}",
            _scaled(document[key][part]),
            _scaled(running[key][part]),
        ]
        for key in ("parameters", "flops")
        for part in ("encoder", "decoder", "total")
    ]
    rows += [
        [f"ms by {name}", "", f"{ms['median']:.2f} ({ms['low']:.2f} to {ms['high']:.2f})"]
        for name, ms in document["latency_ms"].items()
    ]
    network = f"{document['encoder']} at {document['working_size']}"
    return table([network, "as written", "as it runs"], rows)


def _many(documents: list[dict[str, Any]]) -> Any:
    names = list(documents[0]["latency_ms"])
    rows = [
        [
            document["genotype"],
            _scaled(document["pruned"]["parameters"]["total"]),
            _scaled(document["pruned"]["flops"]["total"]),
            *(f"{document['latency_ms'][name]['median']:.2f}" for name in names),
        ]
        for document in documents
    ]
    return table(["genotype", "parameters", "flops", *(f"ms by {name}" for name in names)], rows)


def _scaled(number: int) -> str:
    return f"{number / 1e9:.3f} G" if number >= 1e9 else f"{number / 1e6:.3f} M"
