"""How long a search and a ranking will take, said before they begin."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from export.system.console import duration
from toolchain.search.evaluator import CandidateEvaluator
from toolchain.search.space import SearchSpace
from toolchain.search.trial import LONGER, Trial
from toolchain.settings.search_settings import EvaluationSettings, SearchSettings

FEWEST = 10
"""Of fewer candidates the first one tells soon enough."""
LONG = 3600
"""Seconds of a search that somebody may want to be shorter."""
_DRAWN = 2


def search_forecast(settings: SearchSettings, evaluator: CandidateEvaluator) -> str:
    """Say how long a search will take, by a few steps of some candidates' trainings."""
    space, chance = SearchSpace.of(settings), np.random.default_rng(settings.seed)
    drawn = [space.architecture(space.random(chance)) for _ in range(_DRAWN)]
    each = fmean(evaluator.forecast(architecture) for architecture in drawn)
    total = each * (settings.trials + LONGER * settings.rescore)
    line = f"about {duration(total)}: {settings.trials} candidates at some {duration(each)} each"
    if settings.rescore:
        line += f", and the {settings.rescore} best again for {LONGER} times as long"
    if settings.hours is not None:
        line += f"; it ends within {settings.hours:g} h"
    elif total > LONG:
        faster = "" if settings.preset else "--preset cpu takes less, "
        line += f"; {faster}--hours ends it in time"
    return line


def ranking_seconds(
    trials: Sequence[Trial], searched: EvaluationSettings, longer: EvaluationSettings, images: int
) -> float | None:
    """Foretell the seconds of longer trainings by those of the search; None: they do not tell.

    Args:
        trials: to train again.
        searched: how the search trained them.
        longer: how they are trained now.
        images: to train on now.
    """
    if not searched.joint_epochs or not all("stage1" in trial.phases for trial in trials):
        return None
    pixels = (longer.search_size / searched.search_size) ** 2
    more = pixels * images / searched.search_images
    scored = pixels * longer.search_validation / searched.search_validation
    epochs = longer.joint_epochs / searched.joint_epochs
    return sum(
        more * (trial.phases.get("stage0", 0.0) + epochs * trial.phases["stage1"])
        + scored * trial.phases.get("scoring", 0.0)
        for trial in trials
    )
