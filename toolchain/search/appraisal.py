"""What is known of an architecture before any training: what it computes, what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from export.system.errors import UsageError
from toolchain.architecture import Architecture
from toolchain.graph import canonical
from toolchain.networks.blueprint import Blueprint, blueprint
from toolchain.networks.costs import count
from toolchain.profiling.costing import load_tables
from toolchain.profiling.table import LatencyTable
from toolchain.search.features import Array, features
from toolchain.search.objectives import Budget, Costs, facts_in
from toolchain.settings.search_settings import SearchSettings


@dataclass(frozen=True)
class Appraisal:
    """An architecture, costed; what takes longer is computed when it is asked for.

    Attributes:
        architecture: the network.
        plan: its blueprint, as it runs.
        costs: in the form that objectives and budgets read.
        complaint: why it is not worth training, or None.
        excess: by what share it is over its budgets; 1 where it is no network; 0 or less: it is
            worth training.
    """

    architecture: Architecture
    plan: Blueprint
    costs: Costs
    complaint: str | None
    excess: float

    @cached_property
    def computes(self) -> tuple[str, str, int | None]:
        """What is equal for architectures that compute the same."""
        architecture = self.architecture
        return canonical(architecture.genotype), architecture.encoder, architecture.working_size

    @cached_property
    def features(self) -> Array:
        """What a predictor of scores knows of it; see `features`."""
        return features(self.architecture, self.plan)

    @property
    def facts(self) -> dict[str, Any]:
        """Those fields of a trial that follow from the architecture alone."""
        text, encoder, working_size = self.computes
        return {
            "genotype": str(self.architecture.genotype),
            "canonical": text,
            "encoder": encoder,
            "working_size": working_size,
            **facts_in(self.costs),
        }


def named_tables(settings: SearchSettings, classes: int) -> dict[str, LatencyTable]:
    """Load the latency tables of a search by the names of their files.

    One may search here for a device that is elsewhere, by a table of its name.

    Raises:
        UsageError: two files have one name.
        DataError: a table cannot be read, or does not fit the search.
    """
    names = [path.stem for path in settings.latency_tables]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two --latency-table are named {repeated[0]}; rename one of the files")
    tables = load_tables(
        settings.latency_tables,
        classes,
        settings.input_size,
        settings.encoders,
        settings.working_sizes,
        force=settings.force,
        elsewhere=True,
    )
    return dict(zip(names, tables.values(), strict=True))


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
        height, width = architecture.working_image((self._input_size, self._input_size))
        costs = {
            "parameters": counted.parameters.total,
            "flops": counted.flops.total,
            "decoder_flops": counted.flops.decoder,
            "pixels": height * width,
        } | {
            f"latency:{name}": round(table.predict(plan).median, 4)
            for name, table in self._tables.items()
        }
        if not counted.flops.total:
            return Appraisal(architecture, plan, costs, "its context cell ignores the image", 1.0)
        excess = [(budget.excess(costs), budget) for budget in self._budgets]
        over = [budget for share, budget in excess if share > 0]
        complaint = over[0].complaint(costs) if over else None
        share = max((share for share, _ in excess), default=-1.0)
        return Appraisal(architecture, plan, costs, complaint, share)
