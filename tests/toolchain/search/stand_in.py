"""A stand-in for the training of a candidate: its score by a formula, in a millisecond.

The score is a fixed function of what the network computes. It is made so that a search on it is as
hard as one on real trainings: good decisions depend on each other, costs pull the other way, and
many genotypes are one function. With the decoder's graph, where nothing dead counts::

    detail   = 1.0, 0.7, 0.4, 0.2   finest encoder map that is read: stride 4, 8, 16, 32
    context  = 1 - 0.6 ^ c          c = maps of stride 16 or 32 that are read
                                      + dilated or global operations in the cell
    capacity = 1 - exp(-d / 3)      d = depth of the cell in operations, convolutions 3x3 twice
    balance  = 1.0                  where both merge inputs differ in every merge cell,
               0.8 ^ n              with n merge cells that merge a map with itself
    score    = 0.05 + 0.75 x balance x (0.40 detail + 0.35 context + 0.25 capacity)

Scores lie in 0.05..0.80, as those of real candidates do.
"""

import math

from toolchain.graph import graphs
from toolchain.search.executors import InlineExecutor
from toolchain.search.run import Run
from toolchain.search.study import Search
from toolchain.search.trial import Candidate, Evaluation
from toolchain.settings.base import Record
from toolchain.settings.search_settings import SearchSettings

CLASSES = 19

DETAIL = (1.0, 0.7, 0.4, 0.2)
CONTEXT = ("global_average_pool", "conv3x3_dil3", "conv3x3_dil12", "sep_conv_3x3_dil3")
WIDE = (*CONTEXT, "sep_conv_5x5_dil6")
DENSE = ("conv3x3", "conv3x3_dil3", "conv3x3_dil12")


def score(genotype):
    """Return the formula's score of a genotype."""
    cell, decoder = graphs(genotype)
    kinds = [cell.operations[number][0] for number in cell.computed]
    context = sum(tap >= 2 for tap in decoder.taps) + sum(kind in WIDE for kind in kinds)
    depth = sum(2 if kind in DENSE else 1 for kind in kinds)
    same = sum(first == second for first, second in decoder.merges)
    quality = (
        0.40 * DETAIL[min(decoder.taps)]
        + 0.35 * (1 - 0.6**context)
        + 0.25 * (1 - math.exp(-depth / 3))
    )
    return 0.05 + 0.75 * 0.8**same * quality


def evaluate(candidate: Candidate) -> Evaluation:
    """Evaluate as `CandidateEvaluator` does."""
    return Evaluation(score(candidate.architecture.genotype))


def longer(candidate: Candidate) -> Evaluation:
    """Evaluate; a longer training brings a tenth more."""
    return Evaluation(score(candidate.architecture.genotype) * (1.1 if candidate.rescored else 1))


def searched(path, contents=None, **settings):
    """Search in a new folder, at random where nothing else is said; return the run."""
    defaults = {"data": "formula", "trials": 8, "rescore": 0, "algorithm": "random", "cells": 2}
    chosen = SearchSettings(**(defaults | settings))
    path.mkdir(parents=True)
    Record(path, chosen, contents or {}).write()
    Search(chosen, path, CLASSES).run(InlineExecutor(longer))
    return Run.load(path)
