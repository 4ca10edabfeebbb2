"""Where the time of searches went, and how their trials ended."""

from collections import Counter
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from toolchain.reporting.figures import styled
from toolchain.reporting.markup import swatch
from toolchain.reporting.series import Series
from toolchain.search.trial import Trial, TrialState

PHASES = {
    "stage0": "stage 0, decoder alone",
    "stage1": "stage 1, with encoder",
    "scoring": "scoring",
}
WHOLE, REST = "not split", "the rest"
PHASE_COLOURS = 4


def mean_phases(series: Series) -> dict[str, float]:
    """Return the mean seconds of each phase, of the trials that were trained to the end.

    What a trial took beyond its phases is `REST`; a run that knows no phases has `WHOLE` alone.
    """
    trained = [trial for trial in series.trials if trial.state is TrialState.COMPLETE]
    if not trained:
        return {}
    names = dict.fromkeys(name for trial in trained for name in trial.phases)
    phases = {
        name: sum(trial.phases.get(name, 0.0) for trial in trained) / len(trained) for name in names
    }
    rest = sum(trial.seconds for trial in trained) / len(trained) - sum(phases.values())
    return {**phases, REST if phases else WHOLE: max(0.0, rest)}


def phase_bars(series: Sequence[Series]) -> go.Figure:
    """Draw a bar of each run: the mean seconds of a trained trial, divided by phase.

    A run without a trained trial has an empty one.
    """
    found = [mean_phases(one) for one in series]
    # In the order in which they happen; those that are new to this module before the rest.
    named = (name for one in found for name in one if name not in (REST, WHOLE))
    order = [
        name
        for name in dict.fromkeys([*PHASES, *named, REST, WHOLE])
        if any(name in one for one in found)
    ]
    traces = [
        go.Bar(
            y=[one.name for one in series],
            x=[round(phases.get(phase, 0), 3) for phases in found],
            name=PHASES.get(phase, phase),
            orientation="h",
            text=[_share(phases, phase) for phases in found],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            constraintext="none",
            textfont={"color": "var(--ink)"},
            hovertemplate=f"%{{y}}<br>{PHASES.get(phase, phase)}: %{{x:.2f}} s<extra></extra>",
            marker={"color": _phase_colour(place, phase)},
        )
        for place, phase in enumerate(order)
    ]
    figure = styled(
        traces,
        x="Mean seconds of a trained candidate",
        y="",
        barmode="stack",
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    )
    return figure.update_yaxes(autorange="reversed", showgrid=False, type="category")


def _phase_colour(place: int, phase: str) -> str:
    return "var(--end)" if phase in (REST, WHOLE) else f"var(--phase-{place % PHASE_COLOURS})"


def _share(phases: dict[str, float], phase: str) -> str:
    """Write a phase's seconds where its part of the bar is wide enough to read them."""
    seconds = phases.get(phase, 0.0)
    return f"{seconds:.1f} s" if seconds > 0.08 * sum(phases.values()) else ""


def endings(series: Sequence[Series]) -> str:
    """Make the table of how the trials of each run ended, and what they took."""
    heads = "".join(
        f'<th class="{kind}">{name}</th>'
        for name, kind in (
            ("Run", "text"),
            *((name, "") for name in ("Trained in full", "Seconds each, mean")),
            *((name, "") for name in ("Stopped early", "Seconds each, mean")),
            *((name, "") for name in ("Scored again", "Seconds each, mean")),
            *((name, "") for name in ("Failed", "Over budget, untrained", "Reused")),
            ("Trained an hour", ""),
        )
    )
    rows = "".join(f"<tr>{_ending(one)}</tr>" for one in series)
    return (
        f'<div class="card scroll"><table class="endings"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _ending(one: Series) -> str:
    of_state = {s: [t for t in one.trials if t.state is s] for s in TrialState}
    kinds = Counter(trial.failure or "no kind" for trial in of_state[TrialState.FAILED])
    failures = ", ".join(f"{count} {escape(kind)}" for kind, count in kinds.most_common())
    trained = sum(trial.state.trained for trial in one.trials)
    cells = [
        *_seconds(of_state[TrialState.COMPLETE]),
        *_seconds(of_state[TrialState.PRUNED]),
        *_seconds([trial for trial in one.run.finalists if trial.search_score is not None]),
        failures or "0",
        f"{len(of_state[TrialState.INFEASIBLE]):,}",
        f"{len(of_state[TrialState.REUSED]):,}",
        f"{trained / one.hours:,.0f}" if one.timed else "–",
    ]
    name = escape(one.name)
    head = f'<td class="text">{swatch(one)}<span class="name" title="{name}">{name}</span></td>'
    return head + "".join(f"<td>{cell}</td>" for cell in cells)


def _seconds(trials: Sequence[Trial]) -> tuple[str, str]:
    """Write how many trials there are, and their mean seconds."""
    if not trials:
        return "0", "–"
    return f"{len(trials):,}", f"{sum(trial.seconds for trial in trials) / len(trials):.1f}"
