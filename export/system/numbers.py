"""Numbers that users give: finite and in range, in every flag of every command."""

import math
from typing import Any

import click

from export.machine.processor import MOST_THREADS as MOST_THREADS

LARGEST = 10**9
"""Of a number whose flag states no limit of its own: more than any count or time that is meant."""
LARGEST_SEED = 2**63 - 1
"""That torch, numpy and Optuna take."""
LARGEST_SIDE = 8192
"""Of an image that a network takes, pixels."""
MOST_PIXELS = 120_000_000
"""Of a picture: cameras of 108 megapixels are in use, and a PNG of 50 kB can hold 400."""
MOST_CLASSES = 255
"""Labels are bytes, and 255 is that of pixels which do not count."""
FEWEST_NETWORKS = 10
"""Of which anything can be said."""
FEWEST_TO_ANCHOR = 3
"""By which a latency table can be brought to another pace."""
MOST_NETWORKS = 10_000
"""Drawn and measured in one go."""
LONGEST = 86_400.0
"""Of one measurement, seconds."""

SEED = click.IntRange(0, LARGEST_SEED)
CLASSES = click.IntRange(2, MOST_CLASSES)
THREADS = click.IntRange(1, MOST_THREADS)


class Side(click.IntRange):
    """Pixels of an image that goes through an encoder: a multiple of its coarsest grid."""

    def __init__(self, grid: int = 32):
        super().__init__(grid, LARGEST_SIDE)
        self.grid = grid

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number; refuse one that is no multiple."""
        number = super().convert(value, param, ctx)
        if number % self.grid:
            self.fail(f"{number} is no multiple of {self.grid}.", param, ctx)
        return number


class Networks(click.IntRange):
    """Whole networks to measure: none, or so many that something can be said of them.

    Args:
        fewest: so many.
    """

    def __init__(self, fewest: int = FEWEST_NETWORKS) -> None:
        super().__init__(0, MOST_NETWORKS)
        self.fewest = fewest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number; refuse a few."""
        number = super().convert(value, param, ctx)
        if 0 < number < self.fewest:
            self.fail(f"{number} is too few: 0, or at least {self.fewest}.", param, ctx)
        return number


def check_numbers(context: click.Context) -> None:
    """Refuse what the types of flags let through: nan, infinity, and what is beyond `LARGEST`.

    Raises:
        click.BadParameter: names the flag.
    """
    for parameter in context.command.params:
        values = context.params.get(parameter.name or "")
        limit = getattr(parameter.type, "max", None)
        for value in values if isinstance(values, (list, tuple)) else (values,):
            if isinstance(value, float) and not math.isfinite(value):
                raise click.BadParameter(f"{value} is no finite number.", context, parameter)
            if isinstance(value, (int, float)) and limit is None and abs(value) > LARGEST:
                raise click.BadParameter(
                    f"{value} is beyond {LARGEST}, the largest.", context, parameter
                )
