"""What a run's scores say of networks that it has not trained, and how surely."""

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from toolchain.reporting.figures import SCORE, styled, trial_points
from toolchain.reporting.markup import card, swatch
from toolchain.reporting.series import Series
from toolchain.reporting.standalone import Figures
from toolchain.reporting.trust import Pair, agreement
from toolchain.search.correlation import Correlation
from toolchain.search.features import Array
from toolchain.search.pareto import cost_values, pareto_front
from toolchain.search.prediction import DRAWN, FEWEST, RunPredictor
from toolchain.search.shown_costs import Cost, measured

WIDTH = 1.64
"""Standard deviations to either side of a prediction: nine of ten scores lie between."""
STRETCHES = 3
LIMITS = 90
FEWEST_DRAWN = 300
"""Networks to predict for of each run, where a report has many."""
UNLIKE = 1.2
"""Widths of a band whose ratio is below this are called alike."""


class RunOutlook:
    """A run's predictor, and what it says of one cost after the other.

    Args:
        series: the run.
        predictor: fitted to it.
    """

    def __init__(self, series: Series, predictor: RunPredictor):
        self.series, self._predictor = series, predictor

    def pairs(self) -> list[Pair]:
        """Pair what is predicted of candidates by the others with their scores."""
        return [
            Pair(trial.id, trial.genotype, predicted, trial.score or 0.0)
            for trial, predicted in self._predictor.held_out
        ]

    def figure(self, cost: Cost) -> go.Figure:
        """Draw the predicted best score within each limit, its band, and the trained candidates."""
        trained = measured(self._predictor.trials, [cost])
        limits = self._limits(cost)
        means, widths = self._band(cost, limits)
        x = np.round(limits / cost.scale, 5)
        line = {"color": self.series.colour, "shape": "hv"}
        # The colour of a band is the line's, half transparent.
        edge = {"x": x, "mode": "lines", "hoverinfo": "skip", "opacity": 0.5}
        traces = [
            go.Scatter(y=np.round(means + widths, 5), line={**line, "width": 0}, **edge),
            go.Scatter(
                y=np.round(means - widths, 5), line={**line, "width": 0}, fill="tonexty", **edge
            ),
            go.Scatter(
                x=x,
                y=np.round(means, 5),
                customdata=np.round(widths, 5)[:, None],
                mode="lines",
                line={**line, "width": 2},
                hovertemplate=f"up to %{{x:.4~g}} {cost.unit}: %{{y:.3f}} ± %{{customdata[0]:.3f}}"
                "<extra>predicted best</extra>",
            ),
            trial_points(
                self.series,
                cost,
                trained,
                marker={"color": "var(--ink)", "size": 5, "opacity": 0.6},
            ),
        ]
        for trace in traces:
            trace.meta = self.series.position
        return styled(traces, x=cost.axis, y=SCORE).update_xaxes(type="log")

    def agreement(self) -> str:
        """Say how well candidates foretell the scores of others."""
        predicted, found = zip(*((pair.early, pair.late) for pair in self.pairs()), strict=True)
        correlation = Correlation.of("spearman", predicted, found)
        errors = float(np.abs(np.subtract(predicted, found)).mean())
        order = (
            f"Spearman {correlation.value:.2f} between prediction and score over {len(found)} "
            f"candidates (95 % interval {correlation.low:.2f} to {correlation.high:.2f}); "
            if correlation
            else ""
        )
        return (
            f"{order}predictions are off by {errors:.3f} on average, where scores have a deviation "
            f"of {np.std(found):.3f}."
        )

    def place(self, costs: Sequence[Cost], figures: Figures) -> str:
        """Write the figures of those costs that are known of any network, and what they say."""
        known = [cost for cost in costs if self._predictor.knows(cost.objective)]
        plots = "".join(
            figures.place(f"Best score to expect within a limit of {cost.name}", self.figure(cost))
            for cost in known
        )
        words = " ".join(f"{self._sureness(cost)} {self._front(cost)}" for cost in known)
        if not known:
            return ""
        return (
            '<h3 class="apart">What its scores say of other networks</h3><p class="soft">A line is '
            "the best score that is predicted within a cost limit, over random networks of the "
            "space, changes of the front and the trained ones; the band holds nine of ten scores "
            f"if the prediction is right. Points are the trained ones. {escape(words)}</p>"
            f'<div class="grid">{plots}</div>'
        )

    def _limits(self, cost: Cost) -> Array:
        """Return limits from the cheapest network to the dearest trained one, in stored units."""
        trained = measured(self._predictor.trials, [cost])
        dearest = max(cost_values(trial.costs, [cost.objective])[0] for trial in trained)
        steps = self._predictor.outlook(cost.objective).costs
        even = np.geomspace(steps[0], dearest, LIMITS)
        return np.unique(np.concatenate([even, steps[steps <= dearest]]))

    def _band(self, cost: Cost, limits: Array) -> tuple[Array, Array]:
        """Return the predicted best score within each limit, and half the width of its band.

        The band is of what a training would give, luck included.
        """
        means, deviations = self._predictor.outlook(cost.objective).at(limits)
        return means, WIDTH * np.hypot(deviations, self._predictor.noise)

    def _sureness(self, cost: Cost) -> str:
        """Say in which third of a cost's range, in logarithms, the band is widest."""
        limits = self._limits(cost)
        even = np.geomspace(limits[0], limits[-1], LIMITS)
        thirds = np.split(self._band(cost, even)[1], STRETCHES)
        widths = [float(third.mean()) for third in thirds]
        widest = int(np.argmax(widths))
        others = float(np.mean(widths[:widest] + widths[widest + 1 :]))
        if widths[widest] < UNLIKE * others:
            return (
                f"Over {cost.name} the best score is predicted about equally surely everywhere, to "
                f"±{np.mean(widths):.3f}."
            )
        ends = np.geomspace(limits[0], limits[-1], STRETCHES + 1)[widest : widest + 2] / cost.scale
        return (
            f"The best score is least sure for limits from {cost.value(ends[0])} to "
            f"{cost.amount(ends[1])}: ±{widths[widest]:.3f}, elsewhere ±{others:.3f}."
        )

    def _front(self, cost: Cost) -> str:
        """Say whether the front of the trained candidates lies within the band."""
        front = pareto_front(measured(self._predictor.trials, [cost]), ["score", cost.objective])
        at = np.array([cost_values(trial.costs, [cost.objective])[0] for trial in front])
        means, widths = self._band(cost, at)
        scores = np.array([trial.score for trial in front])
        above = int((scores > means + widths).sum())
        below = int((scores < means - widths).sum())
        within = len(front) - above - below
        if within == len(front):
            return f"All {within} members of the trained front lie within the band."
        out = [f"{n} {where}" for n, where in ((above, "above"), (below, "below")) if n]
        return (
            f"Of the {len(front)} members of the trained front {within} lie within the band, "
            f"{' and '.join(out)} it"
            + ("." if not below else ": there better networks are expected than were trained.")
        )


def outlooks(series: Sequence[Series]) -> dict[int, RunOutlook]:
    """Fit a predictor to each run that has trained enough; return them by the runs' positions.

    Logs have no space to predict for.
    """
    drawn = max(FEWEST_DRAWN, DRAWN // len(series))
    fitted = [(one, RunPredictor.of(one.run, drawn)) for one in series]
    return {one.position: RunOutlook(one, predictor) for one, predictor in fitted if predictor}


def prediction_figure(found: Sequence[RunOutlook], figures: Figures) -> str:
    """Write how well the scores of each run's candidates foretell those of its others."""
    plot = figures.place(
        "Score of the search against what other candidates predict",
        agreement(
            [one.series for one in found],
            [one.pairs() for one in found],
            "Predicted score",
            "Score of the search",
        ),
    )
    words = "".join(
        f'<p class="soft">{swatch(one.series)}<b>{escape(one.series.name)}.</b> '
        f"{escape(one.agreement())}</p>"
        for one in found
    )
    note = card(
        "<h3>Predicted score</h3><p>A Gaussian process learns from candidates that were trained to "
        f"the end, {FEWEST} or more. A tenth at a time, it predicts scores that it has not seen."
        f"</p>{words}"
    )
    return f'<div class="grid wide">{plot}{note}</div>'
