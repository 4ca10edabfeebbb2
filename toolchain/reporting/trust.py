"""How well the scores of searches foretold what more training gave."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from toolchain.reporting.figures import styled
from toolchain.reporting.series import Series
from toolchain.search.correlation import Correlation, verdict
from toolchain.search.trial import TrialState


@dataclass(frozen=True)
class Pair:
    """Two scores of one candidate.

    Attributes:
        trial: its number.
        genotype: its published text.
        early: the score of less training.
        late: the score of more.
    """

    trial: int
    genotype: str
    early: float
    late: float


def stage_pairs(series: Series) -> list[Pair]:
    """Pair the scores after stage 0 and at the end, of trials that were trained to the end."""
    return [
        Pair(trial.id, trial.genotype, trial.stage0_score, trial.score)
        for trial in series.trials
        if trial.state is TrialState.COMPLETE
        and trial.stage0_score is not None
        and trial.score is not None
    ]


def ranking_pairs(series: Series) -> list[Pair]:
    """Pair the scores of the search and those that ``nastool rank`` has found, if it has."""
    genotypes = {trial.id: trial.genotype for trial in series.trials}
    rows = (series.run.ranking or {}).get("trials", ())
    return [
        Pair(row["id"], genotypes.get(row["id"], ""), row["search_score"], row["result"])
        for row in rows
    ]


def agreement(
    series: Sequence[Series], pairs: Sequence[Sequence[Pair]], early: str, late: str
) -> go.Figure:
    """Draw the late against the early score of the candidates of each run, with the diagonal.

    Args:
        series: the runs.
        pairs: of each run.
        early: title of the early score.
        late: title of the late score.
    """
    scores = [score for some in pairs for pair in some for score in (pair.early, pair.late)]
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
            x=[round(pair.early, 5) for pair in some],
            y=[round(pair.late, 5) for pair in some],
            customdata=[[pair.trial, pair.genotype] for pair in some],
            name=one.name,
            meta=one.position,
            mode="markers",
            marker={"color": one.colour, "size": 8, "opacity": 0.8, "symbol": one.symbol},
            hovertemplate=f"{one.name}, trial %{{customdata[0]}}<br>{early} %{{x:.3f}}<br>"
            f"{late} %{{y:.3f}}<br><i>click: copy genotype</i><extra></extra>",
        )
        for one, some in zip(series, pairs, strict=True)
        if some
    ]
    return styled([diagonal, *traces], x=early, y=late)


def words(pairs: Sequence[Pair], subject: str) -> str:
    """Say how well the early scores foretold the order of the late ones; see `verdict`."""
    early, late = [pair.early for pair in pairs], [pair.late for pair in pairs]
    return verdict(Correlation.of("spearman", early, late), len(pairs), subject)
