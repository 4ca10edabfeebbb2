"""What a network costs: parameters, FLOPs and predicted latency."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from export.system.errors import DataError, UsageError
from export.system.files import read_text
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.networks.blueprint import blueprint
from toolchain.networks.costs import Costs, count
from toolchain.profiling.provenance import device_name
from toolchain.profiling.table import LatencyTable

log = logging.getLogger(__name__)


def load_tables(
    paths: Iterable[str | Path],
    classes: int,
    input_size: int,
    encoders: Sequence[str],
    working_sizes: Sequence[int] = (),
    *,
    force: bool = False,
    elsewhere: bool = False,
) -> dict[str, LatencyTable]:
    """Read latency tables that predict networks of some classes, sizes and encoders.

    Args:
        paths: of the tables.
        classes: of the networks.
        input_size: of the networks, pixels.
        encoders: that the tables must know.
        working_sizes: that the tables must know, pixels; none: that of the input.
        force: whatever the tables were made for.
        elsewhere: a table may be of another device than this machine's, by its name; those that
            claim to be this machine's must be.

    Returns:
        The tables by their paths as given.

    Raises:
        DataError: a table cannot be read, is for other networks or of another machine.
    """
    tables = {str(path): LatencyTable.load(path) for path in paths}
    for path, table in tables.items():
        made = table.provenance
        if elsewhere and made.device_name != device_name(made.device):
            log.info("%s: latencies are of another device, %s", path, made.device_name)
        else:
            table.check_matches(force=force)
        wanted = {"classes": classes, "input_size": (input_size, input_size)}
        for field, value in wanted.items():
            if (found := getattr(made, field)) != value:
                raise DataError(
                    path,
                    f"{field} is {found}, not {value}; make a table for these networks with "
                    f"nastool profile-device --classes {classes} --input-size {input_size}",
                )
        if missing := [name for name in encoders if name not in made.encoders]:
            raise DataError(
                path,
                f"has no entries for the encoder {missing[0]}; profile the device with "
                f"{made.flags_with(encoders=missing)}",
            )
        lacking = [s for s in working_sizes or [input_size] if s not in made.working_sizes]
        if lacking:
            raise DataError(
                path,
                f"has no entries for the working size {lacking[0]}; profile the device with "
                f"{made.flags_with(working_sizes=lacking)}",
            )
    return tables


def read_genotypes(path: str | Path) -> list[Genotype]:
    """Read a file of genotypes, one a line; empty lines are left out.

    Raises:
        DataError: the file cannot be read or a line is no genotype; the message names the line.
    """
    result = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            try:
                result.append(Genotype.parse(line))
            except UsageError as error:
                raise DataError(path, f"line {number}: {error}") from None
    if not result:
        raise DataError(path, "holds no genotype; write one a line")
    return result


def cost_documents(
    architectures: Sequence[Architecture],
    classes: int = 19,
    input_size: int = 512,
    tables: Mapping[str, LatencyTable] | None = None,
) -> list[dict[str, Any]]:
    """Make the document that ``nastool cost --json`` prints of each architecture.

    The first figures are of the network as written, ``pruned`` and ``latency_ms`` of the network
    as it runs.

    Raises:
        UsageError: there is no such encoder, or the working size is above the input size.
        DataError: a table lacks an entry.
    """
    tables = tables or {}
    documents = []
    for architecture in architectures:
        written = blueprint(architecture, classes, input_size)
        pruned = blueprint(architecture, classes, input_size, pruned=True)
        documents.append(
            {
                "genotype": str(architecture.genotype),
                "canonical": canonical(architecture.genotype),
                "encoder": architecture.encoder,
                "working_size": architecture.working_size or input_size,
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
