"""The figures of progress: reward, hypervolume and score over the trials and over time."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from toolchain.reporting.figures import SCORE, bin_name, styled
from toolchain.reporting.series import Series, bin_width, history, ranges_of
from toolchain.search.shown_costs import Cost

LAST = 50
REWARD_POINTS = 500


@dataclass(frozen=True)
class Axis:
    """What progress is drawn against.

    Attributes:
        title: of the axis.
        unit: of a value on it.
        seconds: that one unit is; None: the axis counts trials.
    """

    title: str
    unit: str
    seconds: float | None = None

    @property
    def name(self) -> str:
        """What it counts, in the title of a figure."""
        return "trials" if self.seconds is None else "time"

    def place(self, count: int, hours: float) -> float:
        """Return the place of a moment: after so many trials, and hours of evaluation."""
        return count if self.seconds is None else hours * 3600 / self.seconds


TRIALS = Axis("Trials", "trials")


def axes(series: Sequence[Series]) -> list[Axis]:
    """Return what progress is drawn against: trials, and time in a unit that suits the longest run.

    There is no time where no run is `Series.timed`.
    """
    if not any(one.timed for one in series):
        return [TRIALS]
    seconds = 3600 * max(one.hours for one in series)
    units = (("s", 1.0), ("min", 60.0), ("h", 3600.0))
    unit, size = next((pair for pair in units if seconds < 180 * pair[1]), units[-1])
    return [TRIALS, Axis(f"Evaluation time, summed over trials ({unit})", unit, size)]


def rewards(series: Series) -> Iterator[tuple[int, float, float, float]]:
    """Yield (trials so far, hours of evaluation so far, best reward, mean of the last `LAST`).

    Trials without a reward count as trials and take time, nothing else.
    """
    last: deque[float] = deque(maxlen=LAST)
    best, hours = float("-inf"), 0.0
    step = max(1, len(series.trials) // REWARD_POINTS)
    for count, trial in enumerate(series.trials, 1):
        hours += trial.seconds / 3600
        if trial.reward is not None:
            last.append(trial.reward)
            best = max(best, trial.reward)
        if last and (count % step == 0 or count == len(series.trials)):
            yield count, hours, best, sum(last) / len(last)


def reward_so_far(series: Sequence[Series], axis: Axis) -> go.Figure:
    """Draw the best reward so far of each run, and dotted the mean of the last `LAST`."""
    traces = []
    for one in series:
        points = list(rewards(one))
        x = [axis.place(count, hours) for count, hours, _, _ in points]
        best, mean = [point[2] for point in points], [point[3] for point in points]
        style = {"shape": "hv", "width": 2.5, "dash": one.dash}
        traces.append(_curve(one, axis, x, best, "best", style))
        traces.append(_curve(one, axis, x, mean, "mean", {"dash": "dot", "width": 1.8}))
    return styled(traces, x=axis.title, y="Reward").update_xaxes(rangemode="tozero")


def hypervolume(series: Sequence[Series], costs: Sequence[Cost], axis: Axis) -> go.Figure:
    """Draw the hypervolume of each run, as of `covered`."""
    ranges = ranges_of(series, costs)
    traces = []
    for one in series:
        points = list(history(one, costs, ranges))
        x = [axis.place(count, hours) for count, hours, _ in points]
        volumes = [volume for _, _, volume in points]
        style = {"shape": "hv", "width": 2.5, "dash": one.dash}
        traces.append(_curve(one, axis, x, volumes, "hypervolume", style))
    figure = styled(traces, x=axis.title, y="Hypervolume (0 to 1)")
    return figure.update_xaxes(rangemode="tozero")


def score_boxes(series: Sequence[Series]) -> go.Figure:
    """Draw box plots of the score over the iterations, in bins of equal width."""
    width = bin_width(series)
    traces = [
        go.Box(
            x=[bin_name(trial.id, width) for trial in one.scored],
            y=[trial.score for trial in one.scored],
            name=one.name,
            meta=one.position,
            line={"color": one.colour, "width": 1.5},
            marker={"size": 3, "opacity": 0.5},
        )
        for one in series
    ]
    last = max(one.trials[-1].id for one in series)
    bins = [bin_name(start, width) for start in range(0, last + 1, width)]
    figure = styled(traces, x="Trials", y=SCORE, boxmode="group")
    return figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=bins, showgrid=False
    )


def _curve(
    one: Series,
    axis: Axis,
    x: Sequence[float],
    y: Sequence[float],
    what: str,
    line: dict[str, object],
) -> go.Scatter:
    return go.Scatter(
        x=[round(value, 5) for value in x],
        y=[round(value, 5) for value in y],
        name=one.name,
        meta=one.position,
        # A line of one point would not be seen.
        mode="lines" if len(x) > 1 else "markers",
        line={"color": one.colour, **line},
        marker={"color": one.colour, "symbol": one.symbol, "size": 8},
        hovertemplate=f"{one.name}, {what}<br>%{{x:.4~g}} {axis.unit}: %{{y:.4f}}<extra></extra>",
    )
