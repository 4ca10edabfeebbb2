"""The latency table of what a kit has measured on a device far away."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from export.kit import measure
from export.kit.journal import JournalError, Recorded, read_journal
from export.machine.gpus import UNKNOWN
from export.onnx_file.metadata import Precision
from export.system.errors import DataError, UsageError
from export.system.files import validated
from export.system.numbers import LARGEST_SEED, LARGEST_SIDE, MOST_CLASSES, MOST_NETWORKS
from toolchain.profiling.device import Profile, default_path, planned
from toolchain.profiling.jobs import key_of
from toolchain.profiling.kit import kit_identity
from toolchain.profiling.plan import SMALLEST, Plan

MOST = 1e9
"""Milliseconds, and multiples of the sentinel's."""
REMEDY = "measure again with a new kit"


class _Settings(BaseModel):
    """What a plan follows from; see `toolchain.profiling.kit.kit_settings`.

    A plan of numbers without bounds would be drawn for days.
    """

    model_config = ConfigDict(extra="forbid")

    precision: Precision
    encoders: list[str] = Field(min_length=1)
    classes: int = Field(ge=2, le=MOST_CLASSES)
    working_sizes: list[int]
    aggregation: int = Field(ge=1, le=1024)
    seed: int = Field(ge=0, le=LARGEST_SEED)
    tail: str
    input_size: int = Field(ge=SMALLEST, le=LARGEST_SIDE)
    fit_networks: int = Field(ge=0, le=MOST_NETWORKS)
    certify_networks: int = Field(ge=0, le=MOST_NETWORKS)
    version: str


class _Kit(BaseModel):
    """What a file of samples says of its kit."""

    kit: str
    settings: _Settings
    runtime: str
    device: str


class _Head(BaseModel):
    """What a file of samples says of its device."""

    model_config = ConfigDict(allow_inf_nan=False)

    runtime_version: str
    runtime_settings: dict[str, Any]
    device_facts: dict[str, str | list[str] | None]
    threads: int | None
    max_drift: float = Field(gt=0)


class _Facts(BaseModel):
    """What is known of a measurement that has ended."""

    model_config = ConfigDict(allow_inf_nan=False)

    environment: dict[str, Any]
    date: str
    seconds: float = Field(ge=0)


def table_from_kit(path: Path, output: Path | None = None) -> Profile:
    """Make the latency table of what a kit has measured.

    Args:
        path: the file of samples.
        output: the table's; by default as `profile_device` names it.

    Raises:
        DataError: the file cannot be read, was cut short, or is of another kit or version.
    """
    try:
        recorded = read_journal(path, "give the file that a kit's measure.py has written")
    except JournalError as error:
        raise DataError(error.path, error.problem) from None
    plan = _plan_of(path, recorded)
    made, found, facts = plan.made, recorded.found, recorded.facts
    if facts is None or {key_of(job) for job in plan.jobs} - found.measured.keys():
        done = len(found.measured)
        raise DataError(
            path,
            f"was cut short: {done} of {len(plan.jobs)} measurements; run measure.py again where "
            "it was written, it goes on",
        )
    for key in map(key_of, plan.jobs):
        turns = np.append(found.measured[key], found.levels[key])
        if turns.size < 2 or not ((turns > 0) & (turns < MOST)).all():
            raise DataError(path, f"{key!r}: its times are none; {REMEDY}")
    measured_on = validated(_Head, recorded.settings, path, REMEDY)
    ended = validated(_Facts, facts, path, REMEDY)
    made.environment, made.date, made.seconds = ended.environment, ended.date, ended.seconds
    made.runtime_version, made.settings = measured_on.runtime_version, measured_on.runtime_settings
    made.threads, made.max_drift = measured_on.threads, measured_on.max_drift
    name = next(iter(measured_on.device_facts.values()), None)
    made.device_name = name if isinstance(name, str) and name else UNKNOWN
    table = plan.table(found)
    target = output or default_path(made)
    table.save(target)
    return Profile(target, table)


def _plan_of(path: Path, recorded: Recorded) -> Plan:
    """Plan again what the kit has measured."""
    head = recorded.settings
    if (version := head.get("kit_version")) != measure.KIT_VERSION:
        raise DataError(
            path,
            f"kit_version is {version}, this program reads {measure.KIT_VERSION}; make a new kit "
            "with nastool profile-device --kit",
        )
    found = validated(_Kit, head, path, REMEDY)
    settings = found.settings.model_dump(exclude={"tail", "version"})
    try:
        plan = planned(runtime=found.runtime, device=found.device, **settings)
    except UsageError as error:
        raise DataError(path, f"its settings are not a kit's ({error}); make a new kit") from None
    plan.made.tail, version = found.settings.tail, found.settings.version
    if kit_identity(plan) != found.kit:
        raise DataError(
            path,
            f"is of a kit of nastool {version}, whose networks are others than those of "
            f"{plan.made.version}; make a new kit",
        )
    return plan
