"""A network in some fifty numbers, for a predictor of its score.

Dead and constant parts do not count, so that architectures that compute the same are the same.
"""

from math import log1p, log2
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from toolchain.architecture import Architecture
from toolchain.genotype import OPERATIONS, TAPS
from toolchain.graph import CellGraph, DecoderGraph, graphs
from toolchain.networks.blueprint import Blueprint

Array = npt.NDArray[np.float64]

_KINDS = (*OPERATIONS[:9], "add", "upsample_add", "upsample", "adapt", "project", "constant")
_PLACE = {kind: place for place, kind in enumerate(_KINDS)}
_REACH = {
    "conv3x3": 1,
    "sep_conv_3x3": 1,
    "sep_conv_5x5": 2,
    "conv3x3_dil3": 3,
    "conv3x3_dil12": 12,
    "sep_conv_3x3_dil3": 3,
    "sep_conv_5x5_dil6": 12,
}


def features(architecture: Architecture, plan: Blueprint) -> Array:
    """Describe a network.

    Args:
        architecture: the network.
        plan: its blueprint, pruned; of a network that is no constant.
    """
    cell, decoder = graphs(architecture.genotype)
    return np.array([*_sizes(plan), *_cell(cell), *_decoder(decoder)])


def _sizes(plan: Blueprint) -> list[float]:
    """Count units by kind and operations by stride; say what they add up to."""
    kinds, strides = np.zeros(len(_KINDS)), np.zeros(TAPS)
    first = plan.encoder[0].to[0]
    for unit in plan.decoder:
        if (place := _PLACE.get(unit.kind)) is None:
            continue
        kinds[place] += 1
        if unit.kind in OPERATIONS:
            strides[min(TAPS - 1, max(0, round(log2(first / unit.size[0]))))] += 1
    sums = [
        log1p(sum(getattr(unit, quantity) for unit in units))
        for units in (plan.encoder, plan.decoder)
        for quantity in ("parameters", "flops")
    ]
    logits = plan.labels[0].size[0]
    return [*kinds, *strides, *sums, log2(first), log2(logits), len(plan.encoder)]


class _Path(NamedTuple):
    """Extremes over the paths from a cell's input to a node that keep where things are."""

    fewest: int = 0
    most: int = 0
    nearest: int = 0
    farthest: int = 0
    dilated: int = 0


def _cell(cell: CellGraph) -> list[float]:
    """Describe how the cell's input gets to its output, by paths that keep where things are.

    A global average forgets it. Counts of operations along the shortest and the longest path, the
    reach of the nearest and the farthest one in pixels, the fewest dilated operations.
    """
    paths: dict[int, _Path] = {0: _Path()}
    for number in cell.computed:
        operation = cell.operations[number]
        sources = [paths[term] for term in operation.inputs if term in paths]
        if operation.name == "global_average_pool" or not sources:
            continue
        reach = _REACH.get(operation.name, 0)
        fewest, most, nearest, farthest, dilated = zip(*sources, strict=True)
        paths[number] = _Path(
            min(fewest) + 1,
            max(most) + 1,
            min(nearest) + reach,
            max(farthest) + reach,
            min(dilated) + ("dil" in operation.name),
        )
    ends = [term for term in cell.output if term not in cell.constant]
    kept = [paths[term] for term in ends if term in paths]
    counts = [len(paths) - 1, len(cell.computed) - len(paths) + 1, len(kept), len(ends) - len(kept)]
    if not kept:
        return [*counts, 1.0, *[0.0] * 7]
    fewest, most, nearest, farthest, dilated = zip(*kept, strict=True)
    return [
        *counts,
        0.0,
        min(fewest),
        max(most),
        log1p(min(nearest)),
        log1p(max(farthest)),
        min(dilated),
        float(min(fewest) == 0),
        len(kept) / len(ends),
    ]


def _decoder(decoder: DecoderGraph) -> list[float]:
    """Say which taps are read how often, how deep the merges are nested, where they end."""
    deepest = dict.fromkeys(range(TAPS), 0)
    finest = min(decoder.taps)
    nearest = {tap: 0 if tap == finest else TAPS + len(decoder.merges) for tap in range(TAPS)}
    for number, pair in enumerate(decoder.merges, TAPS):
        deepest[number] = 1 + max(deepest[end] for end in pair)
        nearest[number] = 1 + min(nearest[end] for end in pair)
    levels = [decoder.levels[end] for end in decoder.outputs]
    return [
        *(sum(pair.count(tap) for pair in decoder.merges) for tap in range(TAPS)),
        finest,
        len(decoder.taps),
        min(nearest[end] for end in decoder.outputs),
        max(deepest[end] for end in decoder.outputs),
        sum(first == second for first, second in decoder.merges),
        sum(decoder.levels[a] != decoder.levels[b] for a, b in decoder.merges),
        len(levels),
        sum(levels) / len(levels),
    ]
