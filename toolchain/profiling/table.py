"""A latency table: what was measured on a device, and predictions from it."""

import hashlib
import json
import logging
import math
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from export.system.errors import DataError
from export.system.files import read_json, validated, write_text
from toolchain.architecture import Architecture
from toolchain.networks.blueprint import Blueprint, Unit, blueprint
from toolchain.profiling.backbone import working_size_of
from toolchain.profiling.certificate import Certificate
from toolchain.profiling.correction import Correction, kind_of
from toolchain.profiling.provenance import Provenance

SCHEMA_VERSION = 1
log = logging.getLogger(__name__)


class Entry(BaseModel):
    """One unit.

    Attributes:
        latency_ms: what it adds to a network.
        iqr_ms: spread of that over the turns of the measurement, between the quartiles.
        samples: number of turns.
        method: how it was measured, in words.
    """

    model_config = ConfigDict(frozen=True)

    latency_ms: float = Field(ge=0)
    iqr_ms: float = Field(ge=0)
    samples: int = Field(gt=0)
    method: str


class Prediction(NamedTuple):
    """A network's latency in milliseconds.

    Attributes:
        median: the prediction.
        low: nine of ten networks lie between this
        high: and this.
        extrapolated: names of units that were not measured but continued from smaller ones.
    """

    median: float
    low: float
    high: float
    extrapolated: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        document: dict[str, Any] = {
            key: round(getattr(self, key), 4) for key in ("median", "low", "high")
        }
        return document | ({"extrapolated": list(self.extrapolated)} if self.extrapolated else {})


class LatencyTable(BaseModel):
    """A latency table as it is stored.

    Attributes:
        schema_version: of this format.
        provenance: what the figures hold for.
        entries: by the name of the unit.
        correction: from the sum of entries to a network.
        certificate: errors on networks that no fit has seen.
        checksum: SHA-256 of entries and correction.
    """

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    provenance: Provenance
    entries: dict[str, Entry]
    correction: Correction = Correction()
    certificate: Certificate | None = None
    checksum: str = ""

    _source: str = PrivateAttr("latency table")
    _corrected: dict[Unit, float] = PrivateAttr(default_factory=dict)
    _extrapolated: dict[Unit, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a table.

        Raises:
            DataError: the file is missing, truncated, of a newer format, or changed by hand.
        """
        document = read_json(path)
        version = document.get("schema_version") if isinstance(document, dict) else None
        if not isinstance(version, int):
            raise DataError(
                path, "is not a latency table (no schema_version); nastool profile-device makes one"
            )
        if version > SCHEMA_VERSION:
            raise DataError(
                path,
                f"schema_version is {version}, this program reads up to {SCHEMA_VERSION}; "
                "update nastool",
            )
        table = validated(cls, document, path, "profile the device again")
        if table.checksum != table._sum():
            raise DataError(
                path,
                "checksum does not fit entries and correction: the file was edited or is damaged; "
                "profile the device again",
            )
        table._source = str(path)
        if reason := table._roughness():
            log.warning("%s: %s: order holds better than milliseconds", path, reason)
        return table

    def save(self, path: str | Path) -> None:
        """Write the table, one line an entry or a case, whole or not at all."""
        self.checksum = self._sum()
        document = self.model_dump(mode="json")
        rows: list[str] = []

        def row(value: Any) -> str:
            rows.append(json.dumps(value))
            return f"row {len(rows) - 1}"

        document["entries"] = {name: row(entry) for name, entry in document["entries"].items()}
        for key in ("worst", "cases") if self.certificate else ():
            document["certificate"][key] = [row(case) for case in document["certificate"][key]]
        text = json.dumps(document, indent=2)
        write_text(path, re.sub(r'"row (\d+)"', lambda found: rows[int(found[1])], text) + "\n")
        self._source = str(path)

    def _roughness(self) -> str | None:
        """Say why this table is rough, if it is."""
        if reason := self.provenance.roughness:
            return reason
        if self.certificate and self.certificate.is_rough:
            return f"off by {self.certificate.mape:.0f} % on average when it was made"
        return None

    def _sum(self) -> str:
        content = self.model_dump(mode="json", include={"entries", "correction"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def check_matches(self, *, force: bool = False, **use: Any) -> None:
        """Refuse a table that was made for something else than this machine and use.

        Args:
            force: take the table as it is.
            use: see `Provenance.differences`.

        Raises:
            DataError: it does not match; the message names the first field that differs.
            UnavailableError: its runtime is not installed.
        """
        if force:
            return
        for field, then, now in self.provenance.differences(**use):
            raise DataError(
                self._source,
                f"{field} is {in_words(then)}, here it is {in_words(now)}; profile this device, or "
                "use --force",
            )

    def plan(self, architecture: Architecture) -> Blueprint:
        """Return the pruned blueprint of a network at this table's size and classes."""
        made = self.provenance
        return blueprint(architecture, made.classes, made.input_size, made.aggregation, pruned=True)

    def predict(self, plan: Blueprint) -> Prediction:
        """Predict the latency of a network.

        Args:
            plan: its blueprint, pruned.

        Raises:
            DataError: an entry is missing; the message says how to measure it.
        """
        known = self._corrected
        # Where nothing reads the image, the entry of the constant logits has the labels in it.
        units = plan.units if plan.encoder else plan.decoder
        total = self.correction.constant_ms
        try:
            for unit in units:
                total += known[unit]
        except KeyError:
            known.update({unit: self._latency(unit) for unit in units if unit not in known})
            return self.predict(plan)
        names: tuple[str, ...] = ()
        if self._extrapolated:
            names = tuple(
                dict.fromkeys(
                    self._extrapolated[unit] for unit in units if unit in self._extrapolated
                )
            )
        spread = self.correction.spread
        return Prediction(total, total * (1 - spread), total * (1 + spread), names)

    def at_pace(self, factor: float, error: float) -> Self:
        """Return a table of a machine that takes ``factor`` times as long.

        Args:
            factor: all milliseconds are multiplied by this.
            error: of the factor, a fraction; intervals grow by it.
        """
        entries = {
            name: entry.model_copy(
                update={
                    "latency_ms": round(factor * entry.latency_ms, 5),
                    "iqr_ms": round(factor * entry.iqr_ms, 5),
                }
            )
            for name, entry in self.entries.items()
        }
        correction = self.correction.model_copy(
            update={
                "constant_ms": round(factor * self.correction.constant_ms, 5),
                "spread": round(math.hypot(self.correction.spread, error), 5),
            }
        )
        return type(self)(
            provenance=self.provenance,
            entries=entries,
            correction=correction,
            certificate=self.certificate,
        )

    def _latency(self, unit: Unit) -> float:
        weight = self.correction.weights.get(kind_of(unit), 1.0)
        entry = self.entries.get(unit.name)
        if entry is not None:
            return weight * entry.latency_ms
        if unit.kind == "head":
            # Linear in the number of maps, from the two widest heads that were measured.
            width = unit.outputs
            measured = {
                maps: self.entries[name].latency_ms
                for maps in range(1, unit.inputs // width)
                if (name := Unit("head", maps * width, width, unit.size, unit.to).name)
                in self.entries
            }
            if len(measured) > 1:
                (below, first), (above, second) = sorted(measured.items())[-2:]
                slope = max(second - first, 0.0) / (above - below)
                self._extrapolated[unit] = unit.name
                return weight * (second + slope * (unit.inputs // width - above))
        raise DataError(
            self._source, f"has no entry {unit.name!r}; measure it: {self._remedy(unit)}"
        )

    def _remedy(self, unit: Unit) -> str:
        made = self.provenance
        flags = made.flags_with()
        if unit.encoder:
            flags = made.flags_with([unit.encoder], [working_size_of(unit)])
        others = "--input-size, --working-size and --classes"
        return f"nastool profile-device {flags} (see also {others})"


def in_words(value: Any) -> str:
    """Write a field's value for people."""
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)


def table_schema() -> dict[str, Any]:
    """Return the JSON Schema of the files."""
    return LatencyTable.model_json_schema() | {"title": "nastool latency table"}
