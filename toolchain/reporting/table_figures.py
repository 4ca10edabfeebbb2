"""The figures of a latency table's page; colours are names of the style sheet, as in `figures`."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from toolchain.profiling.certificate import Case
from toolchain.profiling.reading import UnitCost
from toolchain.profiling.table import Prediction
from toolchain.reporting.figures import styled

BIN_PERCENT = 5
COLOURS = 6


def predicted_against_measured(
    cases: Sequence[Case], predictions: Sequence[Prediction]
) -> go.Figure:
    """Draw each network with its predicted interval, and the diagonal of no error."""
    everything = list(zip(cases, predictions, strict=True))
    largest = 1.05 * max(max(case.measured_ms, p.high) for case, p in everything)
    traces = [
        go.Scatter(
            x=[0, largest],
            y=[0, largest],
            mode="lines",
            line={"color": "var(--soft)", "width": 1, "dash": "dot"},
            hoverinfo="skip",
        )
    ]
    backbones = list(dict.fromkeys(case.backbone for case in cases))
    for number, backbone in enumerate(backbones):
        colour = f"var(--run-{number % COLOURS})"
        pairs = [pair for pair in everything if pair[0].backbone == backbone]
        traces.append(
            go.Scatter(
                x=[case.measured_ms for case, _ in pairs],
                y=[case.predicted_ms for case, _ in pairs],
                error_y={
                    "array": [p.high - case.predicted_ms for case, p in pairs],
                    "arrayminus": [case.predicted_ms - p.low for case, p in pairs],
                    "thickness": 1,
                    "width": 0,
                    "color": colour,
                },
                text=[
                    f"{case.genotype}<br>predicted {case.predicted_ms:.2f} ms "
                    f"({p.low:.2f} to {p.high:.2f}), measured {case.measured_ms:.2f} ms, "
                    f"{100 * case.signed_error:+.1f} %"
                    for case, p in pairs
                ],
                hovertemplate="%{text}<extra></extra>",
                name=str(backbone),
                mode="markers",
                marker={"color": colour, "size": 7, "opacity": 0.85},
            )
        )
    figure = styled(
        traces,
        x="Measured (ms)",
        y="Predicted (ms)",
        showlegend=len(backbones) > 1,
        hovermode="closest",
        legend={"x": 0.02, "y": 0.98},
    )
    figure.update_traces(showlegend=False, selector={"mode": "lines"})
    return figure.update_xaxes(range=[0, largest]).update_yaxes(range=[0, largest])


def error_distribution(cases: Sequence[Case]) -> go.Figure:
    """Draw how many networks have which signed error, in bins of `BIN_PERCENT`."""
    errors = [100 * case.signed_error for case in cases]
    start = BIN_PERCENT * int(np.floor(min(*errors, 0) / BIN_PERCENT))
    # One bin more than is filled, so that the largest error lies inside.
    end = BIN_PERCENT * (1 + int(np.floor(max(*errors, 0) / BIN_PERCENT)))
    edges = np.arange(start, end + 1, BIN_PERCENT)
    counts, _ = np.histogram(errors, edges)
    trace = go.Bar(
        x=[float(edge) + BIN_PERCENT / 2 for edge in edges[:-1]],
        y=counts.tolist(),
        width=BIN_PERCENT,
        text=[f"{edge} to {edge + BIN_PERCENT} %" for edge in edges[:-1]],
        textposition="none",
        hovertemplate="%{text}: %{y} networks<extra></extra>",
        marker={"color": "var(--run-0)", "line": {"color": "var(--card)", "width": 1}},
    )
    figure = styled([trace], x="Error of the prediction (%, above 0: too high)", y="Networks")
    figure.add_vline(x=0, line={"color": "var(--soft)", "width": 1, "dash": "dot"})
    return figure.update_xaxes(showgrid=False)


def cost_bars(costs: Sequence[UnitCost]) -> go.Figure:
    """Draw the cost of units at one resolution as bars, with half the spread to either side."""
    trace = go.Bar(
        x=[cost.latency_ms for cost in costs],
        y=[cost.unit.kind for cost in costs],
        orientation="h",
        error_x={
            "array": [cost.iqr_ms / 2 for cost in costs],
            "color": "var(--ink)",
            "thickness": 1,
            "width": 3,
        },
        hovertemplate="%{y}: %{x:.3f} ms<extra></extra>",
        marker={"color": "var(--run-0)"},
    )
    figure = styled([trace], x="Adds to a network (ms)", y="")
    return figure.update_yaxes(autorange="reversed", showgrid=False).update_xaxes(
        rangemode="tozero"
    )
