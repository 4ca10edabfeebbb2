"""Parameters and FLOPs of a genotype's network, as written and as it runs."""

from dataclasses import dataclass

from toolchain.architecture import Architecture
from toolchain.networks.blueprint import AGGREGATION, Blueprint, blueprint


@dataclass(frozen=True)
class Count:
    """A count of the encoder and of the decoder."""

    encoder: int
    decoder: int

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.encoder + self.decoder


@dataclass(frozen=True)
class Costs:
    """Costs of one network.

    Attributes:
        parameters: trainable parameters, auxiliary heads left out.
        flops: FLOPs of the convolutions of one image, 2 x MAC.
    """

    parameters: Count
    flops: Count


def network_costs(
    architecture: Architecture,
    classes: int = 19,
    input_size: int | tuple[int, int] = 512,
    aggregation: int = AGGREGATION,
    *,
    pruned: bool = False,
) -> Costs:
    """Count parameters and FLOPs; the arguments are those of `blueprint`."""
    return count(blueprint(architecture, classes, input_size, aggregation, pruned=pruned))


def count(plan: Blueprint) -> Costs:
    """Sum parameters and FLOPs over the units of a blueprint."""
    return Costs(
        Count(sum(u.parameters for u in plan.encoder), sum(u.parameters for u in plan.decoder)),
        Count(sum(u.flops for u in plan.encoder), sum(u.flops for u in plan.decoder)),
    )
