"""What the search pays for: objectives (targets that weigh) and budgets (limits that reject)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from export.errors import UsageError

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
"""Costs of a candidate: ``parameters``, ``flops``, and ``latency:TABLE`` (ms) for each table."""


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
    if math.isnan(value):
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
        if exponent >= 0 or weight <= 0:
            raise UsageError(f"objective {text!r}: the exponent is below 0, the weight above 0")
        return cls(quantity, table, target, exponent, weight)

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

    def exceeded(self, costs: Costs) -> str | None:
        """Say how a candidate is over the limit, or return None."""
        cost = cost_of(costs, self.quantity, self.table)
        if cost <= self.limit:
            return None
        return f"{self.quantity} {cost:.4g} is over the budget of {self.limit:.4g}"
