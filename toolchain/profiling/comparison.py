"""Two latency tables side by side: what changes from one device or precision to another."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from export.system.errors import DataError
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.profiling.advice import is_sound
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.networks import random_genotypes
from toolchain.profiling.reading import Grid, UnitCost, grid, origin, unit_costs
from toolchain.profiling.table import LatencyTable

NETWORKS = 500
LISTED = 5
MATTERS = 0.01
"""Units below this share of the median network, on both sides, are not listed as extremes."""


@dataclass(frozen=True)
class UnitRatio:
    """A unit that both tables have, corrected."""

    entry: str
    a_ms: float
    b_ms: float

    @property
    def ratio(self) -> float:
        """B / A."""
        return self.b_ms / self.a_ms


@dataclass(frozen=True)
class Move:
    """A network's predicted latencies and its ranks in them, 1 for the fastest."""

    genotype: str
    a_ms: float
    b_ms: float
    a_rank: int
    b_rank: int


@dataclass(frozen=True)
class Ranking:
    """Random networks on one backbone, predicted by both tables.

    Attributes:
        networks: how many.
        spearman: rank correlation of the predictions.
        kendall: Kendall's tau of the same.
        ratio_median: of B / A,
        ratio_low: with nine of ten networks between this
        ratio_high: and this.
        moves: the networks whose rank changes most.
    """

    networks: int
    spearman: float
    kendall: float
    ratio_median: float
    ratio_low: float
    ratio_high: float
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Comparison:
    """Table B against table A.

    Attributes:
        a: path of the one.
        b: path of the other.
        tables: both, as stored.
        ratios: B / A by what is done (rows) and at which resolution (columns).
        units: those that both have, known well enough and large enough, the largest ratio first.
        rankings: by the name of a backbone that both have.
    """

    a: Path
    b: Path
    tables: tuple[LatencyTable, LatencyTable]
    ratios: dict[str, dict[str, float]]
    units: tuple[UnitRatio, ...]
    rankings: dict[str, Ranking]

    @property
    def slowest(self) -> tuple[UnitRatio, ...]:
        """The units that lose most from A to B."""
        return self.units[:LISTED]

    @property
    def fastest(self) -> tuple[UnitRatio, ...]:
        """The units that win most, the smallest ratio first."""
        return self.units[::-1][:LISTED]

    @property
    def words(self) -> list[str]:
        """The result in sentences."""
        result = []
        for name, ranking in self.rankings.items():
            same = 100 * (1 + ranking.kendall) / 2
            result.append(
                f"With {name}, a network on B takes {ranking.ratio_median:.2f} x its time on A "
                f"(nine of ten: {ranking.ratio_low:.2f} to {ranking.ratio_high:.2f} x); of two "
                f"networks, the faster on A is the faster on B in {same:.0f} of 100 cases."
            )
        return result

    def document(self) -> dict[str, Any]:
        """Return a JSON-ready form."""

        def listed(units: Sequence[UnitRatio]) -> list[dict[str, Any]]:
            return [
                {
                    "entry": unit.entry,
                    "a_ms": round(unit.a_ms, 5),
                    "b_ms": round(unit.b_ms, 5),
                    "ratio": round(unit.ratio, 4),
                }
                for unit in units
            ]

        return {
            "a": {"table": str(self.a), **origin(self.tables[0])},
            "b": {"table": str(self.b), **origin(self.tables[1])},
            "ratios": {
                row: {size: round(ratio, 4) for size, ratio in cells.items()}
                for row, cells in self.ratios.items()
            },
            "slowest": listed(self.slowest),
            "fastest": listed(self.fastest),
            "networks": {name: asdict(ranking) for name, ranking in self.rankings.items()},
            "words": self.words,
        }


def compare_tables(a: str | Path, b: str | Path, networks: int = NETWORKS) -> Comparison:
    """Compare two tables, of this machine or others.

    Args:
        a: the one that ratios are relative to.
        b: the other.
        networks: random networks to predict on each backbone, at least two.

    Raises:
        DataError: a table cannot be read, or the two are of different networks.
    """
    tables = LatencyTable.load(a), LatencyTable.load(b)
    backbones = _shared_backbones(a, b, tables)
    genotypes = list(random_genotypes(networks, random.Random(0)))
    predicted = {
        str(backbone): [_predict(table, backbone, genotypes) for table in tables]
        for backbone in backbones
    }
    costs = [unit_costs(table) for table in tables]
    typical_a, typical_b = (
        float(np.median([values[side] for values in predicted.values()])) for side in (0, 1)
    )
    units = [
        unit
        for unit in _shared_units(*costs)
        if unit.a_ms >= MATTERS * typical_a or unit.b_ms >= MATTERS * typical_b
    ]
    return Comparison(
        Path(a),
        Path(b),
        tables,
        _ratios(*(grid(found, t.provenance) for found, t in zip(costs, tables, strict=True))),
        tuple(sorted(units, key=lambda unit: -unit.ratio)),
        {name: rank(genotypes, *values) for name, values in predicted.items()},
    )


def rank(genotypes: Sequence[Genotype], a_ms: Sequence[float], b_ms: Sequence[float]) -> Ranking:
    """Compare two predictions of the same networks, milliseconds."""
    ratios = np.array(b_ms) / np.array(a_ms)
    low, median, high = np.percentile(ratios, [5, 50, 95])
    ranks = [
        (1 + np.argsort(np.argsort(values, kind="stable"))).tolist() for values in (a_ms, b_ms)
    ]
    moves = [
        Move(str(genotype), round(a, 3), round(b, 3), *places)
        for genotype, a, b, *places in zip(genotypes, a_ms, b_ms, *ranks, strict=True)
    ]
    moves = [move for move in moves if move.a_rank != move.b_rank]
    moves.sort(key=lambda move: -abs(move.b_rank - move.a_rank))
    return Ranking(
        networks=len(genotypes),
        spearman=round(float(spearmanr(a_ms, b_ms).statistic), 4),
        kendall=round(float(kendalltau(a_ms, b_ms).statistic), 4),
        ratio_median=round(float(median), 4),
        ratio_low=round(float(low), 4),
        ratio_high=round(float(high), 4),
        moves=tuple(moves[:LISTED]),
    )


def _shared_backbones(
    a: str | Path, b: str | Path, tables: tuple[LatencyTable, LatencyTable]
) -> list[Backbone]:
    """Return the backbones that both tables have, if they are of the same networks."""
    made_a, made_b = (table.provenance for table in tables)
    for field in ("classes", "input_size", "aggregation"):
        first, second = getattr(made_a, field), getattr(made_b, field)
        if first != second:
            raise DataError(
                b, f"{field} is {second}, in {a} it is {first}; compare tables of the same networks"
            )
    for field, kind in (("encoders", "an encoder"), ("working_sizes", "a working size")):
        first, second = getattr(made_a, field), getattr(made_b, field)
        if not set(first).intersection(second):
            raise DataError(
                b,
                f"{field} are {', '.join(map(str, second))}, in {a} they are "
                f"{', '.join(map(str, first))}; profile one with {kind} of the other",
            )
    return [backbone for backbone in made_a.backbones if backbone in made_b.backbones]


def _ratios(a: Grid, b: Grid) -> dict[str, dict[str, float]]:
    return {
        row: {
            size: b[row][size].latency_ms / cost.latency_ms
            for size, cost in cells.items()
            if cost.latency_ms and size in b[row]
        }
        for row, cells in a.items()
        if row in b
    }


def _predict(table: LatencyTable, backbone: Backbone, genotypes: Sequence[Genotype]) -> list[float]:
    return [
        table.predict(table.plan(Architecture(genotype, *backbone))).median
        for genotype in genotypes
    ]


def _shared_units(a: Sequence[UnitCost], b: Sequence[UnitCost]) -> list[UnitRatio]:
    other = {cost.unit: cost.latency_ms for cost in b if is_sound(cost)}
    return [
        UnitRatio(cost.unit.name, cost.latency_ms, other[cost.unit])
        for cost in a
        if is_sound(cost) and cost.unit in other
    ]
