"""What a profiling measures, and the table that follows from what came out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export.kit.journal import Measurements
from export.onnx_file.writing import Target
from export.system.errors import UsageError
from export.system.numbers import FEWEST_NETWORKS
from toolchain.architecture import STRIDE, Architecture
from toolchain.graph import canonical
from toolchain.networks.encoders import describe_encoder
from toolchain.profiling.certificate import Case, Certificate, certify
from toolchain.profiling.correction import Measured, fit_correction
from toolchain.profiling.entries import Recipe, difference, recipes, solve
from toolchain.profiling.jobs import Job, key_of
from toolchain.profiling.networks import Shape, draw_networks
from toolchain.profiling.provenance import Provenance
from toolchain.profiling.table import Entry, LatencyTable

SMALLEST = 64


@dataclass(frozen=True)
class Plan:
    """Everything to measure for a table.

    Attributes:
        made: what the table will hold for.
        fit_networks: whole networks that the correction is fitted to; 0 for none.
        certify_networks: whole networks that the certificate is made on; 0 for none.
    """

    made: Provenance
    fit_networks: int
    certify_networks: int

    def check(self) -> None:
        """Raise a `UsageError` where a number or a name is wrong."""
        size, sizes = self.made.input_size[0], self.made.working_sizes
        if size % STRIDE or size < SMALLEST:
            raise UsageError(
                f"the input size must be a multiple of {STRIDE}, at least {SMALLEST}, not {size}"
            )
        for each in sizes:
            if each % STRIDE or not SMALLEST <= each <= size:
                raise UsageError(
                    f"a working size must be a multiple of {STRIDE}, at least {SMALLEST} and at "
                    f"most the input size {size}, not {each}"
                )
        for count, name in ((self.fit_networks, "fit"), (self.certify_networks, "certify")):
            if 0 < count < FEWEST_NETWORKS:
                raise UsageError(
                    f"--{name}-networks takes 0, or at least {FEWEST_NETWORKS}, not {count}"
                )
        for encoder in self.made.encoders:
            describe_encoder(encoder)

    @property
    def shape(self) -> Shape:
        """What all networks share."""
        return shape_of(self.made)

    @cached_property
    def pieces(self) -> list[Recipe]:
        """The units, by how they are measured."""
        return recipes(self.shape, self.made.backbones)

    @cached_property
    def fitted(self) -> list[Architecture]:
        """The networks that the correction is fitted to."""
        return fitted_networks(self.made, self.fit_networks)

    @cached_property
    def fresh(self) -> list[Architecture]:
        """The networks that the certificate is made on."""
        return fresh_networks(self.made, self.certify_networks, self.made.seed, self.fitted)

    @property
    def jobs(self) -> list[Job]:
        """All of these."""
        return [*self.pieces, *self.fitted, *self.fresh]

    def table(self, found: Measurements) -> LatencyTable:
        """Make the table of what was measured of each job, by its key."""
        made = self.made
        made.sentinel_ms = round(found.level_ms, 5)
        made.at_other_speeds = found.share_at_other_speeds(made.max_drift)
        entries = _entries(self.pieces, found)
        table = LatencyTable(provenance=made, entries=entries)
        if self.fitted:
            samples = [
                Measured(table.plan(network), latency)
                for network, latency in zip(self.fitted, latencies(self.fitted, found), strict=True)
            ]
            units = {unit for sample in samples for unit in sample.plan.units}
            alone = {unit: entries[unit.name].latency_ms for unit in units}
            table.correction = fit_correction(samples, alone)
        if self.fresh:
            measured = latencies(self.fresh, found)
            table.certificate = certificate_of(table, self.fresh, measured, made.seed)
        return table


def shape_of(made: Provenance) -> Shape:
    """Return what all networks of a table share."""
    target: Target = "cpu" if made.device == "cpu" else "gpu"
    return Shape(made.classes, made.input_size, made.aggregation, made.precision, target, made.tail)


def fitted_networks(made: Provenance, count: int) -> list[Architecture]:
    """Draw the networks that a table's correction is fitted to."""
    return draw_networks(count, made.backbones, f"fit {made.seed}")


def fresh_networks(
    made: Provenance, count: int, seed: int, fitted: Sequence[Architecture]
) -> list[Architecture]:
    """Draw networks to certify on, none of which has the genotype of a fitted one."""
    avoid = [canonical(network.genotype) for network in fitted]
    return draw_networks(count, made.backbones, f"certify {seed}", avoid)


def latencies(networks: Sequence[Architecture], found: Measurements) -> list[float]:
    """Return the milliseconds of whole networks."""
    level = found.level_ms
    return [level * float(np.median(found.measured[key_of(network)])) for network in networks]


def certificate_of(
    table: LatencyTable, networks: Sequence[Architecture], measured: Sequence[float], seed: int
) -> Certificate:
    """Compare a table's predictions with what was measured, milliseconds."""
    predictions = [table.predict(table.plan(network)) for network in networks]
    cases = [
        Case(
            genotype=str(network.genotype),
            encoder=network.encoder,
            working_size=network.working_size,
            predicted_ms=round(prediction.median, 3),
            measured_ms=round(ms, 3),
        )
        for network, prediction, ms in zip(networks, predictions, measured, strict=True)
    ]
    return certify(cases, [(p.low, p.high) for p in predictions], seed)


def _entries(pieces: Sequence[Recipe], found: Measurements) -> dict[str, Entry]:
    level = found.level_ms
    differences = [
        (piece, difference(level * found.measured[key_of(piece)], piece.copies)) for piece in pieces
    ]
    entries = {
        unit.name: Entry(
            latency_ms=round(found.latency_ms, 5),
            iqr_ms=round(found.iqr_ms, 5),
            samples=found.samples,
            method=method,
        )
        for unit, found, method in solve(differences)
    }
    return dict(sorted(entries.items()))
