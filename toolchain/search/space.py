"""The decisions that a search makes, in a form that Optuna's samplers understand."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.distributions import CategoricalDistribution

from toolchain.genotype import Genotype, choices


@dataclass(frozen=True)
class SearchSpace:
    """Genotypes of one size, and the encoders to choose from."""

    branches: int = 3
    cells: int = 3
    encoders: tuple[str, ...] = ("mobilenetv2",)

    @cached_property
    def options(self) -> dict[str, int]:
        """Each decision's number of options, in order; the encoder comes first."""
        return {"encoder": len(self.encoders), **dict(choices(self.branches, self.cells))}

    @cached_property
    def distributions(self) -> dict[str, CategoricalDistribution]:
        """Each decision as an Optuna distribution; no decision has an order."""
        return {
            place: CategoricalDistribution(tuple(range(options)))
            for place, options in self.options.items()
        }

    def decode(self, parameters: Mapping[str, Any]) -> tuple[Genotype, str]:
        """Turn a trial's parameters into a genotype and an encoder's name."""
        encoder, *values = (parameters[place] for place in self.options)
        return Genotype.from_values(values, self.branches, self.cells), self.encoders[encoder]
