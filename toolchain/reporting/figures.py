"""The interactive figures of a report.

Colours are names of the page's style sheet, ``var(--name)``; the page puts their values in when it
draws, for light or dark. Titles, run names and explanations are the page's, not the figures'.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from toolchain.genotype import OPERATIONS, Genotype
from toolchain.reporting.series import Series, bin_width
from toolchain.search.shown_costs import Cost

SCORE = "Score (mean F1, 0 to 1)"
EARLY_TO_LATE = [[step / 4, f"var(--trial-{step})"] for step in range(5)]
RARE_TO_OFTEN = [[0, "var(--rare)"], [0.5, "var(--even)"], [1, "var(--often)"]]


def score_against_cost(series: Series, cost: Cost) -> go.Figure:
    """Draw the score of each trial against a cost, coloured from the first trial to the last."""
    trials = series.measured([cost])
    return styled(
        [
            trial_points(
                series,
                cost,
                trials,
                marker={
                    "color": [trial.id for trial in trials],
                    "cmin": 0,
                    "cmax": max(1, series.trials[-1].id),
                    "colorscale": EARLY_TO_LATE,
                    "size": 7,
                },
            )
        ],
        x=cost.axis,
        y=SCORE,
    )


def pareto_fronts(series: Sequence[Series], cost: Cost) -> go.Figure:
    """Draw the Pareto front of score and a cost of each run's finalists, over all its trials."""
    traces = []
    for one in (one for one in series if cost in one.costs):
        front = one.front([cost])[::-1]
        faint = {"color": one.colour, "size": 4, "opacity": 0.16}
        others = {"marker": faint, "hoverinfo": "skip", "hovertemplate": None, "customdata": None}
        traces += [
            trial_points(one, cost, one.measured([cost]), **others),
            trial_points(
                one,
                cost,
                front,
                mode="lines+markers",
                # Between two members nothing better is known than the cheaper one.
                line={"color": one.colour, "shape": "hv", "width": 2},
                marker={"color": one.colour, "size": 8, "symbol": one.symbol},
            ),
        ]
    return styled(traces, x=cost.axis, y=SCORE)


def operation_shares(series: Series) -> go.Figure:
    """Draw how often each operation was sampled, as of `_shares`."""
    drawn = []
    for trial in series.trials:
        genotype = Genotype.parse(trial.genotype)
        numbers = [genotype.operation, *(op for entry in genotype.entries for op in entry[2:])]
        drawn.append([OPERATIONS[number] for number in numbers])
    return _shares(series, OPERATIONS, drawn)


def encoder_shares(series: Series) -> go.Figure:
    """Draw how often each encoder was sampled, as of `_shares`."""
    return _shares(series, series.encoders, [[trial.encoder] for trial in series.trials])


def working_size_shares(series: Series) -> go.Figure:
    """Draw how often each working size was sampled, as of `_shares`."""
    return _shares(
        series,
        [f"{size} pixels" for size in series.working_sizes],
        [[f"{trial.working_size} pixels"] for trial in series.trials],
    )


def _shares(series: Series, names: Sequence[str], drawn: Sequence[Sequence[str]]) -> go.Figure:
    """Draw the share of each name in what was drawn, in bins of equal width over the iterations.

    A colour is the ratio to a uniform draw, from a quarter to four times, on a logarithmic scale;
    a number is the share in percent.
    """
    width = bin_width([series])
    starts = range(0, series.trials[-1].id + 1, width)
    bins = [Counter[str]() for _ in starts]
    for trial, parts in zip(series.trials, drawn, strict=True):
        bins[trial.id // width].update(parts)
    shares = [[counts[name] / max(1, counts.total()) for counts in bins] for name in names]
    trace = go.Heatmap(
        x=[bin_name(start, width) for start in starts],
        y=list(names),
        z=[[round(math.log2(max(s * len(names), 1e-3)), 3) for s in row] for row in shares],
        zmin=-2,
        zmax=2,
        text=[[f"{100 * share:.0f}" for share in row] for row in shares],
        texttemplate="%{text}",
        textfont={"color": "var(--ink)"},
        hovertemplate="%{y}<br>trials %{x}: %{text} %<extra></extra>",
        colorscale=RARE_TO_OFTEN,
        showscale=False,
        xgap=2,
        ygap=2,
    )
    figure = styled([trace], x="Trials", y="")
    figure.update_xaxes(type="category", showgrid=False)
    return figure.update_yaxes(autorange="reversed", showgrid=False)


def trial_points(series: Series, cost: Cost, trials: Sequence[Any], **style: Any) -> go.Scatter:
    """Draw the scores of trials against a cost, with what is to be read of each; a click copies."""
    several = [
        [trial.encoder] * (len(series.encoders) > 1)
        + [f"at {trial.working_size}"] * (len(series.working_sizes) > 1)
        for trial in trials
    ]
    return go.Scatter(
        **{
            "x": [cost.of(trial) for trial in trials],
            "y": [round(trial.score, 5) for trial in trials],
            "customdata": [
                [trial.id, trial.genotype, "".join(f", {word}" for word in words)]
                for trial, words in zip(trials, several, strict=True)
            ],
            "name": series.name,
            "meta": series.position,
            "mode": "markers",
            "hovertemplate": f"{series.name}, trial %{{customdata[0]}}%{{customdata[2]}}"
            f"<br>score %{{y:.3f}}<br>"
            f"%{{x:.4~g}} {cost.unit}<br><i>click: copy genotype</i><extra></extra>",
            **style,
        }
    )


def bin_name(trial: int, width: int) -> str:
    """Name the bin of so many trials that a trial is in."""
    start = trial - trial % width
    return f"{start}–{start + width - 1}" if width > 1 else str(start)


def styled(traces: Sequence[Any], x: str, y: str, **layout: Any) -> go.Figure:
    """Make a figure in the style of the page, with the titles of its axes."""
    axis = {
        "gridcolor": "var(--line)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "ticks": "",
        "automargin": True,
    }
    return go.Figure(
        traces,
        {
            "template": "none",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": "var(--soft)"},
            "hoverlabel": {
                "bgcolor": "var(--card)",
                "bordercolor": "var(--line)",
                "font_color": "var(--ink)",
            },
            "margin": {"l": 8, "r": 12, "t": 6, "b": 8},
            "showlegend": False,
            "xaxis": {**axis, "title": {"text": x, "standoff": 10}},
            "yaxis": {**axis, "title": {"text": y, "standoff": 8}},
            **layout,
        },
    )
