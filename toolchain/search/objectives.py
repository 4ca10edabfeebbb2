"""What a search pays for: objectives that weigh, budgets that reject, and the reward."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from export.system.errors import UsageError

QUANTITIES = {
    "params": "parameters",
    "parameters": "parameters",
    "flops": "flops",
    "latency": "latency",
}
_SCALES = {
    "parameters": {"": 1, "K": 1e3, "M": 1e6, "G": 1e9},
    "flops": {"": 1, "K": 1e3, "M": 1e6, "G": 1e9},
    "latency": {"ms": 1, "us": 1e-3, "s": 1e3},
}

Costs = Mapping[str, float]
"""Costs of a candidate: ``parameters``, ``flops``, ``decoder_flops``, ``pixels`` of the image that
the network itself sees, and for each table ``latency:TABLE``, in ms."""
STEEPEST = -10
"""Exponent of an objective; beyond it factors are no longer numbers that a computer knows."""
_COUNTS = ("parameters", "flops", "decoder_flops", "pixels")


def facts_in(costs: Costs) -> dict[str, Any]:
    """Return costs as the fields of a trial; the other way round than `costs_in`."""
    latencies = {
        name.removeprefix("latency:"): ms
        for name, ms in costs.items()
        if name.startswith("latency:")
    }
    return {name: costs[name] for name in _COUNTS} | {"latency_ms": latencies}


def costs_in(facts: Mapping[str, Any]) -> dict[str, float]:
    """Return the costs among the fields of a trial, in the form that objectives read."""
    latencies = {f"latency:{table}": ms for table, ms in facts["latency_ms"].items()}
    return {name: facts[name] for name in _COUNTS} | latencies


def parse_amount(quantity: str, text: str) -> float:
    """Read an amount with its unit: ``0.4M`` (parameters, FLOPs), ``15ms`` (latency, in ms).

    Raises:
        UsageError: the amount or its unit is wrong.
    """
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([a-zA-Z]*)", text.strip())
    scales = _SCALES[quantity]
    try:
        value = float(match[1]) * scales[match[2]] if match else math.nan
    except (KeyError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        units = ", ".join(unit or "no unit" for unit in scales)
        raise UsageError(f"{text!r} is not an amount of {quantity}; its unit is one of {units}")
    if value <= 0:
        raise UsageError(f"{text!r}: an amount of {quantity} is above 0")
    return value


def _parse_quantity(text: str) -> tuple[str, str | None]:
    name, _, table = text.strip().partition("@")
    if name not in QUANTITIES or (table and QUANTITIES[name] != "latency"):
        raise UsageError(f"{text!r} is none of params, flops, latency, latency@TABLE")
    return QUANTITIES[name], table or None


def cost_of(costs: Costs, quantity: str, table: str | None) -> float:
    """Look a cost up; latency without a table's name is that of the slowest table.

    Raises:
        UsageError: there is no latency table, or none of that name.
    """
    if quantity != "latency":
        return costs[quantity]
    found = {k.removeprefix("latency:"): v for k, v in costs.items() if k.startswith("latency:")}
    if not found:
        raise UsageError("latency needs a table: add --latency-table TABLE")
    if table is None:
        return max(found.values())
    if table not in found:
        raise UsageError(f"no latency table is named {table!r}; there are {', '.join(found)}")
    return found[table]


@dataclass(frozen=True)
class Objective:
    """A cost that scales the reward by (cost / target) ^ exponent.

    Attributes:
        target: in parameters, FLOPs or milliseconds.
        exponent: negative: a cost over the target lowers the reward.
        weight: share in a weighted mean of several factors.
    """

    quantity: str
    table: str | None
    target: float
    exponent: float
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``QUANTITY:TARGET:EXPONENT[:WEIGHT]``, such as ``latency:15ms:-0.6``.

        Raises:
            UsageError: a part is missing or wrong.
        """
        parts = text.split(":")
        if len(parts) not in (3, 4):
            raise UsageError(
                f"objective {text!r} is not QUANTITY:TARGET:EXPONENT[:WEIGHT], "
                "such as latency:15ms:-0.6"
            )
        quantity, table = _parse_quantity(parts[0])
        target = parse_amount(quantity, parts[1])
        try:
            exponent, weight = float(parts[2]), float(parts[3]) if parts[3:] else 1.0
        except ValueError:
            raise UsageError(f"objective {text!r}: exponent and weight are numbers") from None
        if not (STEEPEST <= exponent < 0 and 0 < weight < math.inf):
            raise UsageError(
                f"objective {text!r}: the exponent is below 0 and at least {STEEPEST}, the weight "
                "above 0"
            )
        return cls(quantity, table, target, exponent, weight)

    @property
    def cost(self) -> str:
        """The name of its cost, as fronts know it."""
        name = "params" if self.quantity == "parameters" else self.quantity
        return f"{name}@{self.table}" if self.table else name

    def factor(self, costs: Costs) -> float:
        """Return (cost / target) ^ exponent. Source: Tan et al., "MnasNet", CVPR 2019, eq. 2."""
        return (max(cost_of(costs, self.quantity, self.table), 1e-9) / self.target) ** self.exponent


@dataclass(frozen=True)
class Budget:
    """A limit; a candidate over it is rejected before any training."""

    quantity: str
    table: str | None
    limit: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``QUANTITY<=LIMIT``, such as ``latency<=20ms``.

        Raises:
            UsageError: the text has another form.
        """
        quantity_text, separator, limit = text.partition("<=")
        if not separator:
            raise UsageError(f"budget {text!r} is not QUANTITY<=LIMIT, such as latency<=20ms")
        quantity, table = _parse_quantity(quantity_text)
        return cls(quantity, table, parse_amount(quantity, limit))

    def excess(self, costs: Costs) -> float:
        """Return by what share of the limit a candidate is over it; 0 or less: it is not."""
        return cost_of(costs, self.quantity, self.table) / self.limit - 1

    def complaint(self, costs: Costs) -> str:
        """Say that a candidate is over the limit."""
        cost = cost_of(costs, self.quantity, self.table)
        return f"{self.quantity} {cost:.4g} is over the budget of {self.limit:.4g}"


FLOPS_FLOOR = 0.6e9 / 512**2
"""FLOPs of a decoder for each pixel of the image that it sees: 0.6 G at 512 x 512."""
SCORE_FLOOR = 0.25


@dataclass(frozen=True)
class Reward:
    """Score times the combined cost factors.

    A factor over 1 pays for being cheap. Without bounds searches collapse to networks that are
    cheap because they do nothing (Lyu et al., 2023), so the factors end at ``bonus_limit``, and at
    1 for a network whose decoder *and* score are under their floors. The encoder does not count
    for the floor: it costs the same however little the decoder does.

    Attributes:
        objectives: each gives a factor; none: the reward is the score.
        combination: "product" (Tan et al., "MnasNet", CVPR 2019) or "mean" (weighted; Lyu et al.,
            2023).
        bonus_limit: the largest factor; None: there is none, as in the published logs.
        flops_floor: of the decoder's FLOPs for each pixel; None: there is none.
    """

    objectives: Sequence[Objective] = ()
    combination: str = "product"
    bonus_limit: float | None = None
    flops_floor: float | None = None

    def __call__(self, score: float, costs: Costs) -> float:
        """Return the reward of a score (0..1) at these costs."""
        if not self.objectives:
            return score
        limit = self._limit(score, costs)
        factors = [min(objective.factor(costs), limit) for objective in self.objectives]
        if self.combination == "product":
            return score * min(math.prod(factors), limit)
        weights = [objective.weight for objective in self.objectives]
        mean = sum(w * f for w, f in zip(weights, factors, strict=True)) / sum(weights)
        return score * mean

    def _limit(self, score: float, costs: Costs) -> float:
        if (
            self.flops_floor is not None
            and costs["decoder_flops"] < self.flops_floor * costs["pixels"]
            and score < SCORE_FLOOR
        ):
            return 1.0
        return math.inf if self.bonus_limit is None else self.bonus_limit
