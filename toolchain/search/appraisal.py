"""What is known of an architecture before any training: what it computes, what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from toolchain.architecture import Architecture
from toolchain.blueprint import Blueprint, blueprint
from toolchain.costs import count
from toolchain.graph import canonical
from toolchain.profiling.table import LatencyTable
from toolchain.search.features import Array, features
from toolchain.search.objectives import Budget, Costs, costs_in


@dataclass(frozen=True)
class Appraisal:
    """An architecture, costed.

    Attributes:
        architecture: the network.
        plan: its blueprint, as it runs.
        computes: what is equal for architectures that compute the same.
        facts: those fields of a trial that follow from the architecture alone.
        costs: in the form that objectives and budgets read.
        complaint: why it is not worth training, or None.
        excess: by what share it is over its budgets; 1 where it is no network; 0 or less: it is
            worth training.
    """

    architecture: Architecture
    plan: Blueprint
    computes: tuple[str, str, int | None]
    facts: dict[str, Any]
    costs: Costs
    complaint: str | None
    excess: float

    @cached_property
    def features(self) -> Array:
        """What a predictor of scores knows of it; see `features`."""
        return features(self.architecture, self.plan)


Appraise = Callable[[Architecture], Appraisal]


class Appraiser:
    """Appraises the architectures of one search, in about a millisecond each.

    Args:
        classes: number of classes.
        input_size: of the deployed network, pixels.
        tables: latency tables by name.
        budgets: limits of costs.
    """

    def __init__(
        self,
        classes: int,
        input_size: int,
        tables: dict[str, LatencyTable],
        budgets: Sequence[Budget] = (),
    ):
        self._classes, self._input_size = classes, input_size
        self._tables, self._budgets = tables, budgets

    def __call__(self, architecture: Architecture) -> Appraisal:
        """Appraise an architecture."""
        plan = blueprint(architecture, self._classes, self._input_size, pruned=True)
        counted = count(plan)
        latencies = {name: table.predict(plan).median for name, table in self._tables.items()}
        image = (self._input_size, self._input_size)
        height, width = architecture.working_image(image)
        facts: dict[str, Any] = {
            "genotype": str(architecture.genotype),
            "canonical": canonical(architecture.genotype),
            "encoder": architecture.encoder,
            "working_size": architecture.working_size,
            "parameters": counted.parameters.total,
            "flops": counted.flops.total,
            "decoder_flops": counted.flops.decoder,
            "pixels": height * width,
            "latency_ms": {name: round(ms, 4) for name, ms in latencies.items()},
        }
        costs = costs_in(facts)
        excess = [(budget.excess(costs), budget) for budget in self._budgets]
        over = [(share, budget) for share, budget in excess if share > 0]
        complaint = over[0][1].complaint(costs) if over else None
        share = max((share for share, _ in excess), default=-1.0)
        if not counted.flops.total:
            complaint, share = "its context cell ignores the image", 1.0
        computes = (facts["canonical"], architecture.encoder, architecture.working_size)
        return Appraisal(architecture, plan, computes, facts, costs, complaint, share)
