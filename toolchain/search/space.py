"""The decisions that a search makes, in a form that Optuna's samplers understand."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.distributions import CategoricalDistribution

from toolchain.architecture import Architecture
from toolchain.genotype import Genotype, choices


@dataclass(frozen=True)
class SearchSpace:
    """Genotypes of one size, and the encoders and working sizes to choose from."""

    branches: int = 3
    cells: int = 3
    encoders: tuple[str, ...] = ("mobilenetv2",)
    working_sizes: tuple[int | None, ...] = (None,)

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
