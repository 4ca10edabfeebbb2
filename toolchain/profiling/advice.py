"""What a latency table says about design, in words: every sentence from the table's own figures.

A sentence is left out where the table has no sound figure for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from toolchain.genotype import OPERATIONS
from toolchain.profiling.certificate import Certificate
from toolchain.profiling.reading import POOL, Grid, Reading, UnitCost, resolutions

NOISY = 0.5
"""A cost that spreads over a larger share of itself is no basis for a sentence."""
NOTABLE = 1.25
"""Ratios of operations that are nearer to 1 are not mentioned."""
LOOSE_MAPE = 10.0
"""Mean error in per cent above which a table is for ranking only."""

REFERENCE = "conv1x1"
DENSE = "conv3x3"


@dataclass(frozen=True)
class Advice:
    """A sentence.

    Attributes:
        subject: what it is about, one word or two.
        text: the sentence.
        ratio: its main figure.
    """

    subject: str
    text: str
    ratio: float


def advise(reading: Reading) -> list[Advice]:
    """Say what a table has to say about operations, encoders, the decoder, and its own error."""
    rows = {
        row: {size: cost for size, cost in cells.items() if is_sound(cost)}
        for row, cells in reading.grid.items()
    }
    return [
        *_equal_flops(rows),
        *_beside_dense(rows),
        *_pool(rows),
        *_encoders(reading),
        *_working_sizes(reading),
        *_shares(reading),
        *_head(rows),
        *_upsampling(rows),
        *_noise(reading),
        *_trust(reading.table.certificate),
    ]


def is_sound(cost: UnitCost) -> bool:
    """Say whether a cost is known well enough to compare it."""
    return cost.latency_ms > 0 and cost.iqr_ms <= NOISY * cost.latency_ms


def _finest(rows: Grid, *names: str) -> tuple[UnitCost, ...] | None:
    """Return the costs of some rows at the finest resolution that all of them have."""
    cells = [rows.get(name, {}) for name in names]
    for size in resolutions(rows.values()):
        if all(size in row for row in cells):
            return tuple(row[size] for row in cells)
    return None


def _equal_flops(rows: Grid) -> Iterator[Advice]:
    for size in resolutions(rows.values()):
        rates = {
            name: rate
            for name in OPERATIONS
            if size in rows.get(name, {}) and (rate := rows[name][size].ms_per_gflop)
        }
        if not rates:
            continue
        cheap, dear = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
        ratio = rates[dear] / rates[cheap]
        if ratio >= NOTABLE:
            yield Advice(
                "operations",
                f"At {size}, {cheap} is the cheapest operation for its FLOPs and {dear} the "
                f"dearest: {ratio:.1f} x at equal FLOPs ({rates[cheap]:.2f} against "
                f"{rates[dear]:.2f} ms per GFLOP).",
                ratio,
            )


def _beside_dense(rows: Grid) -> Iterator[Advice]:
    found = []
    for name in OPERATIONS:
        pair = _finest(rows, name, DENSE)
        if not pair or not pair[0].ms_per_gflop or not pair[1].ms_per_gflop:
            continue
        one, dense = pair
        ratio = pair[0].ms_per_gflop / pair[1].ms_per_gflop
        if max(ratio, 1 / ratio) >= NOTABLE:
            found.append(
                Advice(
                    "operations",
                    f"{name} costs {ratio:.2f} x what its FLOPs suggest beside {DENSE} at "
                    f"{one.resolution}: {one.unit.flops / dense.unit.flops:.2f} x the FLOPs, "
                    f"{one.latency_ms / dense.latency_ms:.2f} x the latency.",
                    ratio,
                )
            )
    yield from sorted(found, key=lambda advice: -advice.ratio)


def _pool(rows: Grid) -> Iterator[Advice]:
    if pair := _finest(rows, POOL, REFERENCE):
        pool, reference = pair
        ratio = pool.latency_ms / reference.latency_ms
        yield Advice(
            "operations",
            f"{POOL} has next to no FLOPs, but costs {pool.latency_ms:.2f} ms at "
            f"{pool.resolution}, {ratio:.1f} x {REFERENCE}.",
            ratio,
        )


def _encoders(reading: Reading) -> Iterator[Advice]:
    made = reading.table.provenance
    whole: dict[str, tuple[float, float]] = {}
    # Side by side at one size.
    largest = max(made.working_sizes)
    for name in (str(made.backbone(encoder, largest)) for encoder in made.encoders):
        stages = list(reading.grid.get(name, {}).values())
        ms, iqr = sum(s.latency_ms for s in stages), sum(s.iqr_ms for s in stages)
        if ms > 0 and iqr <= NOISY * ms:
            whole[name] = ms, ms / (sum(s.unit.flops for s in stages) / 1e9)
    cheapest, *others = sorted(whole, key=lambda name: whole[name][1]) or [""]
    for name in others:
        (ms, rate), (cheap_ms, cheap_rate) = whole[name], whole[cheapest]
        yield Advice(
            "encoders",
            f"On this device {name} costs {rate / cheap_rate:.1f} x {cheapest} at equal FLOPs "
            f"({rate:.2f} against {cheap_rate:.2f} ms per GFLOP); as they are, "
            f"{ms / cheap_ms:.2f} x ({ms:.2f} against {cheap_ms:.2f} ms).",
            rate / cheap_rate,
        )


def _working_sizes(reading: Reading) -> Iterator[Advice]:
    made = reading.table.provenance
    largest, *smaller = sorted(made.working_sizes, reverse=True)
    for encoder, size in product(made.encoders, smaller):
        pair = made.backbone(encoder, size), made.backbone(encoder, largest)
        ms, whole = (reading.shares[str(backbone)].latency_ms for backbone in pair)
        yield Advice(
            "working size",
            f"With {encoder}, a random network takes {ms / whole:.2f} x the time at the working "
            f"size {size} that it takes at {largest} ({ms:.2f} against {whole:.2f} ms).",
            ms / whole,
        )


def _shares(reading: Reading) -> Iterator[Advice]:
    for name, shares in reading.shares.items():
        ratio = shares.encoder / shares.decoder
        yield Advice(
            "shares",
            f"With {name}, a random network spends {shares.encoder:.0f} % of its time in the "
            f"encoder, {shares.decoder:.0f} % in the decoder and {shares.tail:.0f} % in the tail "
            f"(logits to labels): the encoder takes {ratio:.2f} x the decoder.",
            ratio,
        )


def _head(rows: Grid) -> Iterator[Advice]:
    single = "head of 1 map"
    wide = [name for name in rows if name.startswith("head of ") and name != single]
    pairs = [pair for name in wide if (pair := _finest(rows, name, single))]
    if pairs:
        # The finest resolution first, then the widest.
        head, one = max(pairs, key=lambda pair: (pair[0].unit.size, pair[0].unit.inputs))
        maps = head.unit.inputs // head.unit.outputs
        ratio = head.latency_ms / one.latency_ms
        yield Advice(
            "head",
            f"A head that concatenates {maps} maps costs {ratio:.1f} x one of a single map at "
            f"{head.resolution} ({head.latency_ms:.2f} against {one.latency_ms:.2f} ms): "
            f"{(head.latency_ms - one.latency_ms) / (maps - 1):.2f} ms for each further end.",
            ratio,
        )


def _upsampling(rows: Grid) -> Iterator[Advice]:
    names = [name for name in rows if name.startswith("upsample_add ")]
    pairs = [pair for name in names if (pair := _finest(rows, name, REFERENCE))]
    if pairs:
        resize, reference = max(pairs, key=lambda pair: (pair[0].unit.to, pair[0].latency_ms))
        ratio = resize.latency_ms / reference.latency_ms
        yield Advice(
            "upsampling",
            f"Upsampling {resize.unit.size[0]}x{resize.unit.size[1]} to {resize.resolution} and "
            f"adding costs {resize.latency_ms:.2f} ms, {ratio:.1f} x {REFERENCE} there.",
            ratio,
        )


def _noise(reading: Reading) -> Iterator[Advice]:
    noisy = sorted(
        (cost for cost in reading.costs if not is_sound(cost)), key=lambda cost: -cost.latency_ms
    )
    if noisy:
        yield Advice(
            "trust",
            f"{len(noisy)} of {len(reading.costs)} entries cost nothing or spread over more than "
            f"{100 * NOISY:.0f} % of what they cost (the largest: {noisy[0].unit.name}, "
            f"{noisy[0].latency_ms:.2f} ms); these sentences are not about them, and a quieter "
            "machine measures them better.",
            len(noisy) / len(reading.costs),
        )


def _trust(certificate: Certificate | None) -> Iterator[Advice]:
    if certificate is None:
        return
    # Two independent errors of the same mean size differ by sqrt(2) of it.
    within = np.sqrt(2) * certificate.mape
    yield Advice(
        "trust",
        f"Differences below {within:.1f} % between two networks are within this table's error: "
        f"one prediction is off by {certificate.mape:.1f} % on average.",
        1 + within / 100,
    )
    # Kendall's tau is the share of pairs in the right order less that in the wrong one.
    right = (1 + certificate.kendall) / 2
    remedy = "; rank networks by it, but measure before you promise milliseconds"
    yield Advice(
        "trust",
        f"Of two random networks it puts the faster one first in {100 * right:.0f} of 100 cases"
        f"{remedy if certificate.mape > LOOSE_MAPE else ''}.",
        right,
    )
    if certificate.cases:
        bias = 100 * float(np.mean([case.signed_error for case in certificate.cases]))
        if abs(bias) > certificate.mape / 2:
            yield Advice(
                "trust",
                f"It predicts {abs(bias):.1f} % too {'high' if bias > 0 else 'low'} on average: "
                f"{1 + bias / 100:.2f} x what was measured.",
                1 + bias / 100,
            )
