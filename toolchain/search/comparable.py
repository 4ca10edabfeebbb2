"""Whether the scores and costs of runs may be compared at all, and in what the runs differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from export.system.errors import DataError, UsageError
from toolchain.search.run import Run
from toolchain.search.shown_costs import (
    SLOWEST,
    Cost,
    common_costs,
    measured,
    measured_costs,
    objectives,
)
from toolchain.settings.base import FILE_NAME, read_record
from toolchain.settings.search_settings import EvaluationSettings, SearchSettings

OF_THE_SEARCH = ("working_sizes", "early_stop", "every_epoch")
"""Settings of evaluations that say which candidates are trained how far, not how one is scored."""
_UNTOLD = ("seed", "storage", "data", "dataset")


def comparable_costs(runs: Mapping[str, Run], names: Sequence[str] | None) -> list[Cost]:
    """Return the costs to compare runs by, after checking that costs and scores compare.

    Args:
        runs: by their names.
        names: objectives, as of `common_costs`.

    Raises:
        DataError: a run has no trial with a score, or none of which all these costs are known.
        UsageError: runs are of other data, evaluations or tables, or have no cost in common.
    """
    for run in runs.values():
        if not run.scored or not run.finalists:
            raise DataError(run.path, "has no trial with a score; compare it after some have one")
    trials = [run.scored for run in runs.values()]
    costs = common_costs(trials, names)
    shared = ", ".join(runs)
    if not costs and names is None:
        raise UsageError(f"{shared} have no cost in common; compare runs that know the same costs")
    timed = all(any(cost.table for cost in measured_costs(some)) for some in trials)
    if names is None and timed and not any(cost.table for cost in costs):
        raise UsageError(
            f"{shared} have no latency table in common; add --objectives score,params,flops to "
            "compare other costs"
        )
    for run in runs.values():
        if not measured(run.finalists, costs):
            wanted = ", ".join(objectives(costs))
            raise DataError(run.path, f"has no trial with all of {wanted}; compare by fewer")
    known = [(name, run) for name, run in runs.items() if run.settings is not None]
    for name, run in known[1:]:
        _check_evaluations(*known[0], name, run)
        _check_tables(*known[0], name, run, costs)
    return costs


def _check_evaluations(first: str, run: Run, second: str, other: Run) -> None:
    """Check that a candidate would have got the same score, for all that the runs know."""
    ours, theirs = _settings(run), _settings(other)
    compared = [name for name in EvaluationSettings.model_fields if name not in OF_THE_SEARCH]
    for name in compared:
        if getattr(ours, name) != getattr(theirs, name):
            values = (_text(getattr(settings, name)) for settings in (ours, theirs))
            raise _refusal(first, second, name, *values)
    contents, others = _contents(run), _contents(other)
    for name in ("teacher", "weights"):
        digests = [_digests(known, f"--{ours.flag(name)}") for known in (contents, others)]
        one, two = (sorted(each.values()) for each in digests)
        if name == "weights" and set(ours.encoders) != set(theirs.encoders):
            # Files are of different encoders then; those of a common one are the same.
            shared = set(ours.encoders) & set(theirs.encoders)
            alike = bool(one) == bool(two) and (not one or not shared or set(one) & set(two))
        else:
            alike = one == two
        if not alike:
            raise _refusal(first, second, name, *(", ".join(each) or "none" for each in digests))
    digests = [_digests(known, "--data") for known in (contents, others)]
    if all(digests) and digests[0] == digests[1]:
        return
    # What is digested are the images as candidates see them.
    as_seen = set(ours.sides) == set(theirs.sides) and (ours.rescore > 0) == (theirs.rescore > 0)
    if (ours.data, ours.dataset) != (theirs.data, theirs.dataset):
        raise _refusal(first, second, "data", ours.data, theirs.data)
    if all(digests) and as_seen:
        raise UsageError(
            f"{first} and {second} do not compare: the images in {ours.data} (--data) have changed "
            "between them; search both on the same"
        )


def _check_tables(first: str, run: Run, second: str, other: Run, costs: Sequence[Cost]) -> None:
    """Check that latencies are of tables with the same contents."""
    contents = [_digests(_contents(each), "--latency-table") for each in (run, other)]
    # A table is known by the name of its file, which its digest begins with.
    ours, theirs = (dict(d.rsplit(" ", 1) for d in each.values()) for each in contents)
    slowest = SLOWEST in costs
    for name in ours.keys() | theirs.keys() if slowest else {cost.table for cost in costs} - {""}:
        if name in ours and name in theirs and ours[name] != theirs[name]:
            raise UsageError(
                f"{first} and {second} do not compare: --latency-table {name} had other contents; "
                "search both with the same, or add --objectives score,params,flops"
            )
        if slowest and (name not in ours or name not in theirs):
            raise UsageError(
                f"{first} and {second} do not compare: only one has --latency-table {name}; name "
                "another by --objectives score,latency@TABLE"
            )


def _refusal(first: str, second: str, name: str, one: str, two: str) -> UsageError:
    flag = SearchSettings.flag(name)
    return UsageError(
        f"{first} and {second} do not compare: --{flag} was {one} and {two}; search both with the "
        "same"
    )


def _settings(run: Run) -> SearchSettings:
    assert run.settings is not None, "a published log is never checked"
    return run.settings


def _contents(run: Run) -> dict[str, str]:
    return read_record(run.path / FILE_NAME, SearchSettings)[1]


def _digests(contents: Mapping[str, str], flag: str) -> dict[str, str]:
    """Return the digests of the inputs of a flag by what follows it."""
    pairs = ((name.split(" ", 1), digest) for name, digest in contents.items())
    return {words[-1]: digest for words, digest in pairs if words[0] == flag}


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_text, value)) or "left out"
    return "left out" if value is None else f"{value}"


def same_inputs(run: Run, other: Run) -> bool:
    """Say whether weights, teacher and tables of two searches had the same contents."""
    flags = [f"--{SearchSettings.flag(name)}" for name in ("weights", "teacher", "latency_tables")]
    both = (_contents(run), _contents(other))
    ours, theirs = ([sorted(_digests(c, f).values()) for f in flags] for c in both)
    return ours == theirs


def differences(sides: Sequence[Sequence[Run]]) -> dict[str, list[list[str]]]:
    """Return the settings in which runs differ, by flag, with what each side has, in words.

    Seeds, places of data and what changes no result are left out; so are published logs, of which
    nothing is known.
    """
    found = {}
    for name in SearchSettings.model_fields:
        if name in _UNTOLD or SearchSettings.attribute(name, "free"):
            continue
        values = [
            list(dict.fromkeys(_shown(run.settings, name) for run in side if run.settings))
            for side in sides
        ]
        if len({value for side in values for value in side}) > 1:
            found[SearchSettings.flag(name)] = values
    return found


def _shown(settings: SearchSettings, name: str) -> str:
    """Write a setting; of a file its name."""
    value = getattr(settings, name)
    files = settings.files().get(name)
    return _text(tuple(file.name for file in files) if files else value)
