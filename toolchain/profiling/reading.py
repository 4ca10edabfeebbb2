"""Reading a latency table: what each unit costs a network, and where a network's time goes."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.system.errors import UsageError
from toolchain.architecture import Architecture
from toolchain.genotype import OPERATIONS, Genotype
from toolchain.networks.blueprint import Blueprint, Unit
from toolchain.networks.encoders import describe_encoder
from toolchain.profiling.backbone import Backbone, working_size_of
from toolchain.profiling.networks import Shape, random_genotypes
from toolchain.profiling.provenance import Provenance
from toolchain.profiling.table import LatencyTable

NETWORKS = 200
SLOWEST = 10
POOL = "global_average_pool"

# The order of rows; an encoder's stages follow at the end.
_KINDS = (
    *OPERATIONS,
    *("project", "add", "constant", "upsample_add", "upsample", "head", "classifier", "labels"),
    "adapt",
)


@dataclass(frozen=True)
class UnitCost:
    """What a unit adds to a network.

    Attributes:
        unit: the unit.
        latency_ms: its entry, corrected as in a prediction.
        iqr_ms: the spread of the measurement, scaled alike.
    """

    unit: Unit
    latency_ms: float
    iqr_ms: float

    @property
    def ms_per_gflop(self) -> float | None:
        """Milliseconds for 1e9 FLOPs; None for a unit whose work is not in its FLOPs."""
        if not self.unit.flops or self.unit.kind == POOL:
            return None
        return self.latency_ms / (self.unit.flops / 1e9)

    @property
    def resolution(self) -> str:
        """Height and width at which the unit works: of its result, but of the logits it labels."""
        return "x".join(map(str, self.unit.size if self.unit.kind == "labels" else self.unit.to))


@dataclass(frozen=True)
class Shares:
    """Where the time of networks goes: means over random genotypes.

    Attributes:
        latency_ms: predicted.
        encoder: per cent of a network's latency in the encoder's stages,
        decoder: from the adapt convolutions to the logits,
        tail: from the logits to the labels, and
        constant: in what every network costs besides its units.
    """

    latency_ms: float
    encoder: float
    decoder: float
    tail: float
    constant: float


Grid = dict[str, dict[str, UnitCost]]


@dataclass(frozen=True)
class Reading:
    """A table that was read.

    Attributes:
        path: of the file.
        table: as stored.
        costs: of every entry.
        shares: by the name of the backbone.
    """

    path: Path
    table: LatencyTable
    costs: tuple[UnitCost, ...]
    shares: dict[str, Shares]

    @property
    def slowest(self) -> list[UnitCost]:
        """The units that cost most."""
        return sorted(self.costs, key=lambda cost: -cost.latency_ms)[:SLOWEST]

    @property
    def grid(self) -> Grid:
        """The costs by what is done (rows) and at which resolution (columns), finest first."""
        return grid(self.costs, self.table.provenance)

    def document(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        certificate = self.table.certificate
        return {
            "table": str(self.path),
            **origin(self.table),
            "entries": len(self.costs),
            "certificate": certificate
            and certificate.model_dump(exclude={"worst": True, "cases": True}),
            "slowest": [
                {
                    "entry": cost.unit.name,
                    "latency_ms": round(cost.latency_ms, 5),
                    "iqr_ms": round(cost.iqr_ms, 5),
                }
                for cost in self.slowest
            ],
            "latency_ms": {
                row: {size: round(cost.latency_ms, 5) for size, cost in cells.items()}
                for row, cells in self.grid.items()
            },
            "share_percent": {
                name: {key: round(value, 3) for key, value in asdict(shares).items()}
                for name, shares in self.shares.items()
            },
        }


def read_table(path: str | Path) -> Reading:
    """Read a table, of this machine or another.

    Raises:
        DataError: the file cannot be read, or lacks an entry.
    """
    table = LatencyTable.load(path)
    genotypes = list(random_genotypes(NETWORKS, random.Random(0)))
    shares = {
        str(backbone): shares_of(table, backbone, genotypes)
        for backbone in table.provenance.backbones
    }
    return Reading(Path(path), table, unit_costs(table), shares)


def origin(table: LatencyTable) -> dict[str, Any]:
    """Return what identifies a table beside its path: device, runtime, settings, size, date."""
    made = table.provenance
    return made.model_dump(exclude={"environment", "settings", "boundary", "seed", "seconds"})


def unit_of(name: str) -> Unit:
    """Return the unit that an entry's name stands for; the inverse of `Unit.name`.

    Raises:
        UsageError: it is no such name.
    """

    def pair(text: str) -> tuple[int, int]:
        height, width = text.split("x")
        return int(height), int(width)

    try:
        kind, channels, sizes = name.split(" ")
        encoder, _, kind = kind.rpartition("/")
        inputs, _, outputs = channels.partition(">")
        size, _, to = sizes.partition(">")
        return Unit(
            kind, int(inputs), int(outputs or inputs), pair(size), pair(to or size), encoder
        )
    except ValueError:
        raise UsageError(
            f"{name!r} is not the name of an entry, such as 'conv3x3 48 128x128'"
        ) from None


def corrected_ms(table: LatencyTable, units: Sequence[Unit]) -> float:
    """Return the milliseconds that units add to a network.

    Raises:
        DataError: the table lacks an entry.
    """
    # As a prediction, so that the formula is the table's own. The units stand for a decoder.
    return table.predict(Blueprint((), tuple(units), ())).median - table.correction.constant_ms


def unit_costs(table: LatencyTable) -> tuple[UnitCost, ...]:
    """Return the corrected cost of every entry, in the order of the file."""
    costs = []
    for name, entry in table.entries.items():
        unit = unit_of(name)
        ms = corrected_ms(table, [unit])
        scale = ms / entry.latency_ms if entry.latency_ms else 1.0
        costs.append(UnitCost(unit, ms, scale * entry.iqr_ms))
    return tuple(costs)


def shares_of(table: LatencyTable, backbone: Backbone, genotypes: Iterable[Genotype]) -> Shares:
    """Average where the time of networks on a backbone goes.

    Raises:
        DataError: the table lacks an entry.
    """
    totals, parts = [], []
    for genotype in genotypes:
        plan = table.plan(Architecture(genotype, *backbone))
        total = table.predict(plan).median
        rows = [corrected_ms(table, units) for units in (plan.encoder, plan.decoder, plan.labels)]
        totals.append(total)
        parts.append([100 * ms / total for ms in (*rows, table.correction.constant_ms)])
    return Shares(float(np.mean(totals)), *map(float, np.mean(parts, axis=0)))


def grid(costs: Iterable[UnitCost], made: Provenance) -> Grid:
    """Arrange costs by what is done (rows) and at which resolution (columns), finest first."""
    rows: Grid = {}
    for cost in sorted(costs, key=lambda cost: _place(cost.unit)):
        for row in _rows(cost.unit, made):
            rows.setdefault(row, {})[cost.resolution] = cost
    return rows


def resolutions(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the columns of some rows, finest first."""
    found = {size for cells in rows for size in cells}
    return sorted(found, key=lambda size: -int(size.partition("x")[0]))


def _place(unit: Unit) -> tuple[int, ...]:
    kind = _KINDS.index(unit.kind) if unit.kind in _KINDS else len(_KINDS)
    return kind, unit.inputs if unit.kind == "head" else 0, -unit.to[0], -unit.size[0]


def _rows(unit: Unit, made: Provenance) -> list[str]:
    """Return the rows that a unit belongs to: one, but for backbones that share an ``adapt``."""
    if unit.encoder:
        return [str(made.backbone(unit.encoder, working_size_of(unit)))]
    if unit.kind == "adapt":
        shape = Shape(image=made.input_size)
        return [
            f"adapt {each}"
            for each in made.backbones
            if (unit.inputs, unit.size)
            in zip(
                describe_encoder(each.encoder).taps,
                shape.tap_sizes(each.working_size),
                strict=True,
            )
        ]
    if unit.kind == "head":
        maps = unit.inputs // unit.outputs
        return [f"head of {maps} map{'s' if maps > 1 else ''}"]
    if unit.kind in ("upsample", "upsample_add"):
        return [f"{unit.kind} from {unit.size[0]}x{unit.size[1]}"]
    if unit.kind == "constant":
        return [f"constant of {unit.inputs} channels"]
    return [unit.kind]
