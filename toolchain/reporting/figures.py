"""The interactive figures of a report.

Colours are names of the page's style sheet, ``var(--name)``; the page puts their values in when it
draws, for light or dark. Titles, run names and explanations are the page's, not the figures'.
"""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from toolchain.genotype import OPERATIONS, Genotype
from toolchain.reporting.series import Cost, Series, bin_width, history, references

SCORE = "Score (mean F1, 0 to 1)"
EARLY_TO_LATE = [[step / 4, f"var(--trial-{step})"] for step in range(5)]
RARE_TO_OFTEN = [[0, "var(--rare)"], [0.5, "var(--even)"], [1, "var(--often)"]]


def score_against_cost(series: Series, cost: Cost) -> go.Figure:
    """Draw the score of each trial against a cost, coloured from the first trial to the last."""
    trials = series.measured([cost])
    return styled(
        [
            _trials(
                series,
                cost,
                trials,
                marker={
                    "color": [trial.id for trial in trials],
                    "cmin": 0,
                    "cmax": max(1, series.trials[-1].id),
                    "colorscale": EARLY_TO_LATE,
                    "size": 6,
                    "opacity": 0.85,
                },
            )
        ],
        x=cost.axis,
        y=SCORE,
    )


def pareto_fronts(series: Sequence[Series], cost: Cost) -> go.Figure:
    """Draw the Pareto front of score and a cost of each run, over all its trials."""
    traces = []
    for one in (one for one in series if cost in one.costs):
        front = one.front([cost])[::-1]
        faint = {"color": one.colour, "size": 4, "opacity": 0.16}
        traces += [
            _trials(one, cost, one.measured([cost]), marker=faint, hoverinfo="skip"),
            _trials(
                one,
                cost,
                front,
                mode="lines+markers",
                # Between two members nothing better is known than the cheaper one.
                line={"color": one.colour, "shape": "hv", "width": 2},
                marker={"color": one.colour, "size": 7},
            ),
        ]
    return styled(traces, x=cost.axis, y=SCORE)


def hypervolume(series: Sequence[Series], costs: Sequence[Cost], against: str) -> go.Figure:
    """Draw the hypervolume of each run, as of `series.covered`, against ``trials`` or ``hours``."""
    largest = references(series, costs)
    traces = []
    for one in series:
        points = list(history(one, costs, largest))
        place = 0 if against == "trials" else 1
        traces.append(
            go.Scatter(
                x=[point[place] for point in points],
                y=[point[2] for point in points],
                name=one.name,
                meta=one.position,
                mode="lines",
                line={"color": one.colour, "shape": "hv", "width": 2},
                hovertemplate=f"{one.name}<br>%{{x:.4~g}} {against}: %{{y:.4f}}<extra></extra>",
            )
        )
    x = "Trials" if against == "trials" else "Evaluation time, summed over trials (h)"
    return styled(traces, x=x, y="Hypervolume (share, 0 to 1)")


def score_boxes(series: Sequence[Series]) -> go.Figure:
    """Draw box plots of the score over the iterations, in bins of equal width."""
    width = bin_width(series)
    traces = [
        go.Box(
            x=[_bin(trial.id, width) for trial in one.scored],
            y=[trial.score for trial in one.scored],
            name=one.name,
            meta=one.position,
            line={"color": one.colour, "width": 1.5},
            marker={"size": 3, "opacity": 0.5},
        )
        for one in series
    ]
    last = max(one.trials[-1].id for one in series)
    bins = [_bin(start, width) for start in range(0, last + 1, width)]
    figure = styled(traces, x="Trials", y=SCORE, boxmode="group")
    return figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=bins, showgrid=False
    )


def operation_shares(series: Series) -> go.Figure:
    """Draw how often each operation was sampled, in bins of equal width over the iterations.

    A colour is the ratio to a uniform draw, from a quarter to four times, on a logarithmic scale;
    a number is the share in percent.
    """
    width = bin_width([series])
    starts = range(0, series.trials[-1].id + 1, width)
    counts = [[0] * len(starts) for _ in OPERATIONS]
    for trial in series.trials:
        genotype = Genotype.parse(trial.genotype)
        drawn = [genotype.operation, *(op for entry in genotype.entries for op in entry[2:])]
        for operation in drawn:
            counts[operation][trial.id // width] += 1
    totals = [max(1, sum(column)) for column in zip(*counts, strict=True)]
    shares = [[n / total for n, total in zip(row, totals, strict=True)] for row in counts]
    trace = go.Heatmap(
        x=[_bin(start, width) for start in starts],
        y=list(OPERATIONS),
        z=[[math.log2(max(s * len(OPERATIONS), 1e-3)) for s in row] for row in shares],
        zmin=-2,
        zmax=2,
        text=[[f"{100 * share:.0f}" for share in row] for row in shares],
        texttemplate="%{text}",
        hovertemplate="%{y}<br>trials %{x}: %{text} %<extra></extra>",
        colorscale=RARE_TO_OFTEN,
        showscale=False,
        xgap=2,
        ygap=2,
    )
    figure = styled([trace], x="Trials", y="")
    figure.update_xaxes(type="category", showgrid=False)
    return figure.update_yaxes(autorange="reversed", showgrid=False)


def _trials(series: Series, cost: Cost, trials: Sequence[Any], **style: Any) -> go.Scatter:
    return go.Scatter(
        **{
            "x": [cost.of(trial) for trial in trials],
            "y": [trial.score for trial in trials],
            "customdata": [[trial.id, trial.genotype] for trial in trials],
            "name": series.name,
            "meta": series.position,
            "mode": "markers",
            "hovertemplate": f"{series.name}, trial %{{customdata[0]}}<br>score %{{y:.3f}}<br>"
            f"%{{x:.4~g}} {cost.unit}<br><i>click: copy genotype</i><extra></extra>",
            **style,
        }
    )


def _bin(trial: int, width: int) -> str:
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
