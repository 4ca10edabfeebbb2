"""What ``nastool cost`` says of a genotype: parameters, FLOPs and predicted latency."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from export.errors import DataError, UsageError
from toolchain.blueprint import blueprint
from toolchain.costs import Costs, count
from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.profiling.table import LatencyTable


def load_tables(paths: Iterable[str | Path], *, force: bool = False) -> dict[str, LatencyTable]:
    """Read latency tables and check that they fit this machine.

    Returns:
        The tables by their paths as given.

    Raises:
        DataError: a table cannot be read or, unless forced, is of another machine.
    """
    tables = {str(path): LatencyTable.load(path) for path in paths}
    for table in tables.values():
        table.check_matches(force=force)
    return tables


def read_genotypes(path: str | Path) -> list[Genotype]:
    """Read a file of genotypes, one a line; empty lines are left out.

    Raises:
        DataError: the file cannot be read or a line is no genotype; the message names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"cannot be read as text ({error})") from None
    result = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                result.append(Genotype.parse(line))
            except UsageError as error:
                raise DataError(path, f"line {number}: {error}") from None
    if not result:
        raise DataError(path, "holds no genotype; write one a line")
    return result


def cost_documents(
    genotypes: Sequence[Genotype],
    encoder: str = "mobilenetv2",
    classes: int = 19,
    input_size: int = 512,
    tables: Mapping[str, LatencyTable] | None = None,
) -> list[dict[str, Any]]:
    """Make the document that ``nastool cost --json`` prints of each genotype.

    The first figures are of the network as written, ``pruned`` and ``latency_ms`` of the network
    as it runs.

    Raises:
        UsageError: there is no such encoder.
        DataError: a table is for other classes or another input size, or lacks an entry.
    """
    tables = tables or {}
    for name, table in tables.items():
        made = table.provenance
        if (made.classes, made.input_size) != (classes, (input_size, input_size)):
            raise DataError(
                name,
                f"is for {made.classes} classes and input size {made.input_size[0]}, not "
                f"{classes} and {input_size}; give --classes and --input-size as in the table, "
                "or profile the device again",
            )
    documents = []
    for genotype in genotypes:
        written = blueprint(genotype, encoder, classes, input_size)
        pruned = blueprint(genotype, encoder, classes, input_size, pruned=True)
        documents.append(
            {
                "genotype": str(genotype),
                "canonical": canonical(genotype),
                "encoder": encoder,
                **_counts(count(written)),
                "pruned": _counts(count(pruned)),
                "latency_ms": {
                    name: table.predict(pruned).document() for name, table in tables.items()
                },
            }
        )
    return documents


def _counts(costs: Costs) -> dict[str, Any]:
    return {
        "parameters": {
            "encoder": costs.parameters.encoder,
            "decoder": costs.parameters.decoder,
            "total": costs.parameters.total,
        },
        "flops": {
            "encoder": costs.flops.encoder,
            "decoder": costs.flops.decoder,
            "total": costs.flops.total,
            "convention": "2*MAC",
        },
    }
