"""The decisions that a search makes, in a form that Optuna's samplers understand."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from optuna.distributions import CategoricalDistribution

from toolchain.architecture import Architecture
from toolchain.genotype import Genotype, choices
from toolchain.settings.search_settings import SearchSettings

MOST_CHANGES = 3
"""Decisions that a change alters, at most."""

Decisions = tuple[int, ...]
"""A value for each decision, in their order."""


@dataclass(frozen=True)
class SearchSpace:
    """Genotypes of one size, and the encoders and working sizes to choose from."""

    branches: int = 3
    cells: int = 3
    encoders: tuple[str, ...] = ("mobilenetv2",)
    working_sizes: tuple[int | None, ...] = (None,)

    @classmethod
    def of(cls, settings: SearchSettings) -> Self:
        """Return the space of a search."""
        sizes = tuple(settings.sides)
        return cls(settings.branches, settings.cells, settings.encoders, sizes)

    @cached_property
    def options(self) -> dict[str, int]:
        """Each decision's number of options, in order.

        The encoder comes first, then the working size where there is a choice.
        """
        sizes = len(self.working_sizes)
        working_size = {"working_size": sizes} if sizes > 1 else {}
        genotype = dict(choices(self.branches, self.cells))
        return {"encoder": len(self.encoders)} | working_size | genotype

    @cached_property
    def distributions(self) -> dict[str, CategoricalDistribution]:
        """Each decision as an Optuna distribution; no decision has an order."""
        return {
            place: CategoricalDistribution(tuple(range(options)))
            for place, options in self.options.items()
        }

    def decode(self, parameters: Mapping[str, Any]) -> Architecture:
        """Turn a trial's parameters into an architecture."""
        values = {place: parameters[place] for place in self.options}
        encoder = self.encoders[values.pop("encoder")]
        working_size = self.working_sizes[values.pop("working_size", 0)]
        genotype = Genotype.from_values(list(values.values()), self.branches, self.cells)
        return Architecture(genotype, encoder, working_size)

    def architecture(self, decisions: Decisions) -> Architecture:
        """Return the architecture that decisions lead to."""
        return self.decode(dict(zip(self.options, decisions, strict=True)))

    def decisions(self, architecture: Architecture) -> Decisions:
        """Return the decisions that lead to an architecture of the space."""
        sizes = self.working_sizes
        size = [sizes.index(architecture.working_size)] if len(sizes) > 1 else []
        encoder = self.encoders.index(architecture.encoder)
        return (encoder, *size, *architecture.genotype.values)

    def random(self, chance: np.random.Generator) -> Decisions:
        """Draw all decisions evenly."""
        return tuple(int(chance.integers(count)) for count in self.options.values())

    def changed(self, chance: np.random.Generator, decisions: Decisions) -> Decisions:
        """Draw one to `MOST_CHANGES` of the decisions anew."""
        options, result = list(self.options.values()), list(decisions)
        for place in chance.choice(len(result), int(chance.integers(1, MOST_CHANGES + 1)), False):
            result[place] = int(chance.integers(options[place]))
        return tuple(result)
