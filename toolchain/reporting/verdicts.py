"""What a comparison of runs says, in words and as a document."""

from collections.abc import Sequence
from itertools import takewhile
from statistics import fmean, stdev
from typing import Any

from toolchain.search.comparable import differences
from toolchain.search.comparison import CONFIDENCE, LEVEL, Comparison, Entry, Lead
from toolchain.search.pareto import Ranges
from toolchain.search.prediction import FEWEST
from toolchain.search.shown_costs import Cost, objectives
from toolchain.search.trial import trial_document

UNEQUAL = 1.1
"""Efforts whose ratio is below this are called equal."""


def hypervolume_words(costs: Sequence[Cost], ranges: Ranges) -> str:
    """Say in a sentence what the hypervolume is."""
    if not costs:
        return "The hypervolume is the best score: no cost counts."
    pairs = zip(costs, ranges, strict=True)
    spans = [
        f"from {cost.value(low / cost.scale)} to {cost.amount(high / cost.scale)}"
        for cost, (low, high) in pairs
    ]
    return (
        "The hypervolume is the mean of the best score within a cost limit, over limits "
        f"{' and '.join(spans)}, evenly in logarithms: all that the trials here cost."
    )


def side_names(sides: Sequence[Sequence[str]]) -> list[str]:
    """Name groups of runs: a run by its own name, several by how their names begin."""
    names = [one[0] if len(one) == 1 else _beginning(one) for one in sides]
    if len(set(names)) < len(names) or not all(names):
        return [", ".join(one) for one in sides]
    return names


def _beginning(names: Sequence[str]) -> str:
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike).rstrip("-_. 0123456789")


def sentences(comparison: Comparison) -> list[str]:
    """Say which side is better, how surely, where, and what may speak against it."""
    names = _names(comparison)
    return [
        _verdict(comparison, names),
        _interval(comparison),
        hypervolume_words(comparison.costs, comparison.ranges),
        _scores(comparison),
        *(_leads(cost, leads, names) for cost, leads in comparison.leads),
        _front(comparison, names),
        *_warnings(comparison, names),
    ]


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as a JSON document; ``words`` are its `sentences`.

    Costs are in stored units, which their keys name: ``from_ms``, ``to_parameters``, ``to_flops``.
    """
    names, difference = _names(comparison), comparison.difference
    sides = [
        {
            "name": name,
            "hypervolume": fmean(entry.hypervolume for entry in side),
            "deviation": stdev(e.hypervolume for e in side) if len(side) > 1 else None,
            "runs": [
                {
                    "run": str(entry.run.path),
                    "hypervolume": entry.hypervolume,
                    "trained": entry.trained,
                    "compared": len(entry.trials),
                    "best_score": max(trial.score or 0.0 for trial in entry.trials),
                    "evaluation_seconds": round(entry.seconds, 1),
                    "score_noise": entry.noise,
                }
                for entry in side
            ],
        }
        for name, side in zip(names, comparison.sides, strict=True)
    ]
    return {
        "objectives": objectives(comparison.costs),
        "limits": [
            {"objective": cost.objective, **_span(cost, *ends)}
            for cost, ends in zip(comparison.costs, comparison.ranges, strict=True)
        ],
        "scores": "longer training" if comparison.rescored else "search",
        "sides": sides,
        "difference": {
            "hypervolume": difference.value,
            "low": difference.low,
            "high": difference.high,
            "confidence": CONFIDENCE,
            "method": difference.method,
        },
        "better": None if difference.better is None else names[difference.better],
        "leads": [
            {
                "objective": cost.objective,
                "stretches": [
                    {
                        **_span(cost, lead.start, lead.end),
                        "leader": None if lead.side is None else names[lead.side],
                    }
                    for lead in leads
                ],
            }
            for cost, leads in comparison.leads
        ],
        "front": [
            trial_document(trial) | {"sides": [names[side] for side in of]}
            for trial, of in comparison.front
        ],
        "differing_settings": _differing(comparison),
        "words": sentences(comparison),
    }


def _names(comparison: Comparison) -> list[str]:
    return side_names([[entry.name for entry in side] for side in comparison.sides])


def _differing(comparison: Comparison) -> dict[str, list[list[str]]]:
    return differences([[entry.run for entry in side] for side in comparison.sides])


def _span(cost: Cost, start: float, end: float | None) -> dict[str, float | None]:
    unit = "ms" if cost.unit == "ms" else cost.kind.lower()
    return {f"from_{unit}": start, f"to_{unit}": end}


def _verdict(comparison: Comparison, names: Sequence[str]) -> str:
    difference = comparison.difference
    ahead = difference.better
    if ahead is None:
        ahead = int(difference.value > 0)
    values = [_hypervolume(side) for side in comparison.sides]
    figures = f"{values[ahead]} against {values[1 - ahead]}"
    by = abs(difference.value)
    if not difference.value:
        return f"No difference can be seen: hypervolume {values[0]} of both."
    if difference.low is None or difference.high is None:
        return f"{names[ahead]} has the larger hypervolume, {figures}, by {by:.3f}."
    ends = sorted(end if ahead else -end for end in (difference.low, difference.high))
    interval = f"by {by:.3f} (95 %: {ends[0]:.3f} to {ends[1]:.3f})"
    kind = "mean hypervolume" if len(comparison.sides[0]) > 1 else "hypervolume"
    if difference.better is None:
        return (
            f"No difference can be seen: {names[ahead]} has {kind} {figures} of "
            f"{names[1 - ahead]}, more {interval}."
        )
    return f"{names[ahead]} is better: {kind} {figures}, {interval}."


def _hypervolume(side: Sequence[Entry]) -> str:
    values = [entry.hypervolume for entry in side]
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{fmean(values):.3f} (deviation {stdev(values):.3f} over {len(values)} runs)"


def _interval(comparison: Comparison) -> str:
    if comparison.difference.method == "welch":
        return (
            "The interval is Welch's over the runs of each side: it holds the luck of the seeds, "
            "of searches and trainings, as far as the runs have different ones."
        )
    entries = [entry for side in comparison.sides for entry in side]
    if unknown := [entry for entry in entries if entry.noise is None]:
        return (
            f"There is no interval: how much luck is in a score is told by {FEWEST} candidates "
            f"trained to the end in a search of this version, which {_listed(unknown)} "
            f"{'lack' if len(unknown) > 1 else 'lacks'}. So this may be chance."
        )
    found = " and ".join(f"{entry.noise:.3f} in {entry.name}" for entry in entries)
    return (
        f"The interval holds the luck of trainings: scores vary by {found} (standard deviation), "
        "by what a predictor cannot explain. It does not hold the luck of the searches' seeds: "
        "that takes several runs a side."
    )


def _listed(entries: Sequence[Entry]) -> str:
    return ", ".join(entry.name for entry in entries)


def _scores(comparison: Comparison) -> str:
    entries = [entry for side in comparison.sides for entry in side]
    if comparison.rescored:
        return "Scores are those after a longer training, of the candidates that had one."
    again = [e for e in entries if any(t.search_score is not None for t in e.run.finalists)]
    note = f"; those after a longer training, of {_listed(again)}, do not count" if again else ""
    return f"Scores are those of the search, since not every run has longer trainings{note}."


def _leads(cost: Cost, leads: Sequence[Lead], names: Sequence[str]) -> str:
    """Say where along a cost which side has the higher best score."""
    parts = []
    for number, lead in enumerate(leads):
        start, end = cost.value(lead.start / cost.scale), lead.end and lead.end / cost.scale
        if len(leads) == 1:
            where = "everywhere"
        elif end is None:
            where = f"from {start} on"
        elif number == 0:
            where = f"below {cost.value(end)}"
        else:
            where = f"from {start} to {cost.value(end)}"
        parts.append(f"{where} {'neither' if lead.side is None else names[lead.side]}")
    return (
        f"The best score within a limit of {cost.name} is higher, by {LEVEL} or more: "
        f"{', '.join(parts)}."
    )


def _front(comparison: Comparison, names: Sequence[str]) -> str:
    of = [sides for _, sides in comparison.front]
    counts = [
        *(f"{of.count([side])} of {name}" for side, name in enumerate(names)),
        *([f"{both} of both"] if (both := of.count([0, 1])) else []),
    ]
    members = f"{len(of)} {'member' if len(of) == 1 else 'members'}"
    return f"The front of all runs together has {members}: {', '.join(counts)}."


def _warnings(comparison: Comparison, names: Sequence[str]) -> list[str]:
    """Say what may speak against the verdict: other efforts, other settings, nothing known."""
    found = []
    trained = [fmean(entry.trained for entry in side) for side in comparison.sides]
    seconds = [fmean(entry.seconds for entry in side) for side in comparison.sides]
    each = " a run" if len(comparison.sides[0]) > 1 else ""
    efforts = (("candidates trained", trained), ("seconds of evaluation", seconds))
    for what, values in efforts:
        if min(values) >= 1 and max(values) >= UNEQUAL * min(values):
            more = int(values[1] > values[0])
            found.append(
                f"The effort was not equal: {names[more]} had {values[more]:.0f} {what}"
                f"{each}, {names[1 - more]} {values[1 - more]:.0f}."
            )
    if not found:
        found.append(
            f"The effort was about equal: {trained[0]:.0f} and {trained[1]:.0f} candidates trained"
            f"{each}."
        )
    entries = [entry for side in comparison.sides for entry in side]
    if differing := _differing(comparison):
        told = [
            f"--{flag} ({'; '.join(' or '.join(side) for side in values if side)})"
            for flag, values in differing.items()
        ]
        found.append(f"The runs differ in {', '.join(told)}.")
    if logs := [entry for entry in entries if entry.run.settings is None]:
        found.append(
            f"Of published logs ({_listed(logs)}) it is not known on which data and how their "
            "scores were found: whether they compare, you must know."
        )
    return found
