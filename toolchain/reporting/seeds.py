"""Runs that differ by their seed alone: the mean and the spread of their hypervolume."""

from collections.abc import Sequence
from html import escape
from statistics import fmean, stdev

import numpy as np
import plotly.graph_objects as go

from toolchain.reporting.curves import TRIALS
from toolchain.reporting.figures import styled
from toolchain.reporting.markup import card, swatch
from toolchain.reporting.series import Series, history, ranges_of
from toolchain.reporting.standalone import Figures
from toolchain.reporting.verdicts import side_names
from toolchain.search.comparable import differences, same_inputs
from toolchain.search.features import Array
from toolchain.search.pareto import Ranges
from toolchain.search.shown_costs import Cost

Group = list[Series]


def seed_groups(series: Sequence[Series]) -> list[Group]:
    """Gather the runs of several seeds with the same other settings, in the order of the report.

    Published logs, of which no settings are known, and runs without a score are in no group.
    """
    groups: list[Group] = []
    for one in series:
        if one.run.settings is None or not one.scored:
            continue
        like = (group for group in groups if _differ_by_seed(group, one))
        if (group := next(like, None)) is not None:
            group.append(one)
        else:
            groups.append([one])
    return [group for group in groups if len(group) > 1]


def _differ_by_seed(group: Group, one: Series) -> bool:
    settings = [each.run.settings for each in (*group, one)]
    seeds = [each.seed for each in settings if each]
    others = {(e.data, e.dataset, e.trials, e.hours, e.rescore) for e in settings if e}
    runs = group[0].run, one.run
    same = not differences([runs[:1], runs[1:]]) and same_inputs(*runs)
    return len(set(seeds)) == len(seeds) and len(others) == 1 and same


def seed_figures(
    groups: Sequence[Group], series: Sequence[Series], costs: Sequence[Cost], figures: Figures
) -> str:
    """Write the figure and the words about groups of seeds.

    Args:
        groups: as of `seed_groups`.
        series: all runs with a score in the report: hypervolumes are of common ranges of costs.
        costs: that hypervolumes are of.
        figures: of the page.
    """
    ranges = ranges_of(series, costs)
    names = side_names([[one.name for one in group] for group in groups])
    plot = figures.place(
        "Hypervolume over trials: mean and deviation over seeds",
        hypervolume_bands(groups, names, costs, ranges),
    )
    words = "".join(
        f'<p class="soft">{swatch(group[0])}<b>{escape(name)}.</b> '
        f"{_spread([one.hypervolume(costs, ranges) for one in group])}</p>"
        for group, name in zip(groups, names, strict=True)
    )
    note = card(
        "<h3>Over seeds</h3><p>Runs that differ by their seed alone. A line is the mean of their "
        "hypervolumes, a band a standard deviation to either side, as far as all have trials. "
        "Figures are of the fronts that they end in; nastool compare says whether two groups "
        f"differ.</p>{words}"
    )
    return f'<div class="grid wide">{plot}{note}</div>'


def _spread(volumes: Sequence[float]) -> str:
    return (
        f"Hypervolume {fmean(volumes):.3f} on average over {len(volumes)} seeds, deviation "
        f"{stdev(volumes):.3f}, from {min(volumes):.3f} to {max(volumes):.3f}."
    )


def hypervolume_bands(
    groups: Sequence[Group], names: Sequence[str], costs: Sequence[Cost], ranges: Ranges
) -> go.Figure:
    """Draw the mean hypervolume of each group over trials, with a deviation to either side."""
    traces = []
    for group, name in zip(groups, names, strict=True):
        counts, volumes = _together(group, costs, ranges)
        mean, deviation = volumes.mean(0), volumes.std(0, ddof=1)
        style = {
            "x": counts,
            "mode": "lines",
            "name": name,
            "meta": group[0].position,
        }
        line = {"color": group[0].colour, "shape": "hv", "dash": group[0].dash}
        traces += [
            go.Scatter(
                y=np.round(mean + sign * deviation, 5),
                line={**line, "width": 0},
                hoverinfo="skip",
                fill=fill,
                **style,
            )
            for sign, fill in ((1, None), (-1, "tonexty"))
        ]
        traces.append(
            go.Scatter(
                y=np.round(mean, 5),
                customdata=np.round(deviation, 5)[:, None],
                line={**line, "width": 2.5},
                hovertemplate=f"{name}, {len(group)} seeds<br>%{{x}} trials: %{{y:.4f}} ± "
                "%{customdata[0]:.4f}<extra></extra>",
                **style,
            )
        )
    figure = styled(traces, x=TRIALS.title, y="Hypervolume (0 to 1)")
    return figure.update_xaxes(rangemode="tozero")


def _together(group: Group, costs: Sequence[Cost], ranges: Ranges) -> tuple[Array, Array]:
    """Return counts of trials that all runs have reached, and their hypervolumes, [runs, n]."""
    histories = [
        np.array([(count, volume) for count, _, volume in history(one, costs, ranges)])
        for one in group
    ]
    last = min(known[-1, 0] for known in histories)
    counts = np.unique(np.concatenate([known[:, 0] for known in histories]))
    counts = counts[counts <= last]
    places = [np.searchsorted(known[:, 0], counts, side="right") - 1 for known in histories]
    return counts, np.stack(
        [
            np.where(place >= 0, known[place, 1], 0.0)
            for place, known in zip(places, histories, strict=True)
        ]
    )
