"""Where the time of searches went, and how well their early stop chose."""

import math
from collections import Counter
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from scipy.stats import spearmanr

from toolchain.reporting.figures import SCORE, styled
from toolchain.reporting.markup import swatch
from toolchain.reporting.series import Series
from toolchain.search.run import TrialRecord, TrialState

PHASES = {
    "stage0": "stage 0, decoder alone",
    "stage1": "stage 1, with encoder",
    "validation": "validation",
}
WHOLE, REST = "not split", "the rest"
PHASE_COLOURS = 4
FEWEST_RANKED = 4
"""The interval of a rank correlation needs as many pairs."""


def mean_phases(series: Series) -> dict[str, float]:
    """Return the mean seconds of each phase, of the trials that were trained and have a score.

    What a trial took beyond its phases is `REST`; a run that knows no phases has `WHOLE` alone.
    """
    trained = [trial for trial in series.trials if trial.state is TrialState.COMPLETE]
    if not trained:
        return {}
    names = dict.fromkeys(name for trial in trained for name in trial.split)
    phases = {
        name: sum(trial.split.get(name, 0.0) for trial in trained) / len(trained) for name in names
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
            *((name, "") for name in ("Reused", "Rejected untrained", "Failed")),
            ("Judged an hour", ""),
        )
    )
    rows = "".join(f"<tr>{_ending(one)}</tr>" for one in series)
    return (
        f'<div class="card scroll"><table class="endings"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _ending(one: Series) -> str:
    complete = [trial for trial in one.trials if trial.state is TrialState.COMPLETE]
    counts = Counter(trial.state for trial in one.trials)
    kinds = Counter(t.failure or "no kind" for t in one.trials if t.state is TrialState.FAILED)
    failures = ", ".join(f"{count} {escape(kind)}" for kind, count in kinds.most_common())
    judged = len(one.trials) - counts[TrialState.PRUNED]
    cells = [
        *_seconds([trial for trial in complete if not trial.stopped]),
        *_seconds([trial for trial in complete if trial.stopped]),
        f"{counts[TrialState.REUSED]:,}",
        f"{counts[TrialState.PRUNED]:,}",
        failures or "0",
        f"{judged / one.hours:,.0f}" if one.timed else "–",
    ]
    name = escape(one.name)
    head = f'<td class="text">{swatch(one)}<span class="name" title="{name}">{name}</span></td>'
    return head + "".join(f"<td>{cell}</td>" for cell in cells)


def _seconds(trials: Sequence[TrialRecord]) -> tuple[str, str]:
    """Write how many trials there are, and their mean seconds."""
    if not trials:
        return "0", "–"
    return f"{len(trials):,}", f"{sum(trial.seconds for trial in trials) / len(trials):.1f}"


def ranked(series: Series) -> list[TrialRecord]:
    """Return the trials that have both a score after stage 0 and one after the whole training."""
    return [t for t in series.scored if t.stage0_score is not None and not t.stopped]


def early_against_final(series: Sequence[Series]) -> go.Figure:
    """Draw the final score against that after stage 0, with the diagonal of no change."""
    pairs = [trial for one in series for trial in ranked(one)]
    scores = [score or 0.0 for trial in pairs for score in (trial.stage0_score, trial.score)]
    ends = [min(scores), max(scores)]
    diagonal = go.Scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": "var(--soft)", "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    traces = [
        go.Scatter(
            x=[round(trial.stage0_score or 0, 5) for trial in ranked(one)],
            y=[round(trial.score or 0, 5) for trial in ranked(one)],
            customdata=[[trial.id, trial.genotype] for trial in ranked(one)],
            name=one.name,
            meta=one.position,
            mode="markers",
            marker={"color": one.colour, "size": 8, "opacity": 0.8, "symbol": one.symbol},
            hovertemplate=f"{one.name}, trial %{{customdata[0]}}<br>after stage 0 %{{x:.3f}}<br>"
            "final %{y:.3f}<br><i>click: copy genotype</i><extra></extra>",
        )
        for one in series
        if ranked(one)
    ]
    return styled([diagonal, *traces], x="Score after stage 0", y=SCORE)


def rank_correlation(series: Series) -> tuple[float, float, float] | None:
    """Return the Spearman correlation of both scores of the `ranked` trials, and its 95 % interval.

    The interval is of Fieller, Hartley and Pearson, Biometrika 44(3/4), 1957. None where there are
    fewer than `FEWEST_RANKED` trials, or one of the scores never changes.
    """
    trials = ranked(series)
    early, final = [t.stage0_score for t in trials], [t.score for t in trials]
    if len(trials) < FEWEST_RANKED or len(set(early)) == 1 or len(set(final)) == 1:
        return None
    found = float(spearmanr(early, final).statistic)
    middle = math.atanh(max(-0.9999, min(0.9999, found)))
    half = 1.96 * math.sqrt(1.06 / (len(trials) - 3))
    return found, math.tanh(middle - half), math.tanh(middle + half)


def ranking_words(series: Series) -> str:
    """Say how well the score after stage 0 foretold the order of the final scores."""
    count = len(ranked(series))
    correlation = rank_correlation(series)
    if correlation is None:
        return (
            f"Too few candidates went on after stage 0, or too alike, for a correlation: {count}."
        )
    found, low, high = correlation
    verdict = next(words for limit, words in _VERDICTS if found >= limit)
    return (
        f"Spearman {found:.2f} over {count} trials (95 % interval {low:.2f} to {high:.2f}): "
        f"the score after stage 0 {verdict}."
    )


_VERDICTS = (
    (0.9, "orders candidates nearly as the final score does"),
    (0.7, "orders candidates well"),
    (0.4, "orders candidates loosely"),
    (-1.0, "hardly orders candidates, so the early stop decides by chance"),
)
