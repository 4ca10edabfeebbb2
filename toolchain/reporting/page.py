"""The report as one HTML file that needs nothing else: no network, no other file."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from html import escape

from toolchain.genotype import Genotype
from toolchain.reporting import figures
from toolchain.reporting.drawing import draw_cell, draw_decoder
from toolchain.reporting.markup import card, genotype_line, section, swatch
from toolchain.reporting.series import Cost, Series, all_costs, covered, objectives, references
from toolchain.reporting.standalone import Figures, standalone_page
from toolchain.reporting.tables import best_genotypes, configuration
from toolchain.search.pareto import knee
from toolchain.search.run import TrialRecord, TrialState

DRAWN = 4


class Page:
    """The report of some runs; the figures are gathered while the sections are written.

    Args:
        series: the runs.
        costs: the costs that fronts and hypervolumes of all runs are about.
    """

    def __init__(self, series: Sequence[Series], costs: Sequence[Cost]):
        self._series, self._costs = series, costs
        self._figures = Figures()

    def html(self) -> str:
        """Return the whole page, about 5 MB because plotly.js is in it."""
        sections = [
            self._header(),
            self._fronts(),
            self._progress(),
            *map(self._run, self._series),
            best_genotypes(self._series, self._costs),
            configuration(self._series),
        ]
        return standalone_page(self._title, sections, self._figures)

    @property
    def _title(self) -> str:
        count = len(self._series)
        return self._series[0].name if count == 1 else f"{count} searches compared"

    @property
    def _many(self) -> bool:
        return len(self._series) > 1

    def _header(self) -> str:
        trials = sum(len(one.trials) for one in self._series)
        cards = "".join(map(self._facts, self._series))
        return (
            f'<p class="kicker">Architecture search</p><h1>{escape(self._title)}</h1>'
            f'<p class="soft">{trials:,} trials, {sum(one.hours for one in self._series):,.1f} '
            f"hours of evaluation. Report of {datetime.now():%d %B %Y, %H:%M}.</p>"
            f'<div class="grid">{cards}</div>'
        )

    def _facts(self, one: Series) -> str:
        share = covered(
            one.measured(self._costs), self._costs, references(self._series, self._costs)
        )
        facts = {
            "Best score": f"{one.best_score:.3f}",
            "Trials": f"{len(one.trials):,}",
            "On the front": f"{len(one.front(self._costs))}",
            "Hypervolume": f"{share:.4f}",
            "Evaluation": f"{one.hours:.1f} h" if one.hours >= 1 else f"{60 * one.hours:.1f} min",
        }
        counts = Counter(trial.state for trial in one.trials)
        states = ", ".join(f"{counts[state]:,} {state}" for state in TrialState if counts[state])
        items = "".join(
            f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items()
        )
        return card(
            f'<h3>{swatch(one)}<span class="name">{escape(one.name)}</span></h3>'
            f'<dl class="facts">{items}</dl><p class="states">{states}</p>'
        )

    def _compared(self, content: str) -> str:
        """Put figures of all runs under a row of buttons that hide and show the runs."""
        chips = "".join(
            f'<button data-run="{one.position}" aria-pressed="true">'
            f"{swatch(one)}{escape(one.name)}</button>"
            for one in self._series
        )
        row = f'<div class="chips">{chips}</div>' if self._many else ""
        return f"<div data-compared>{row}{content}</div>"

    def _fronts(self) -> str:
        plots = "".join(
            self._figures.place(f"Score and {cost.name}", figures.pareto_fronts(self._series, cost))
            for cost in all_costs(self._series)
        )
        return section(
            "Pareto fronts",
            "A line joins the trials that no other trial of the run beats in both score and cost; "
            "faint points are all the others. Click a point to copy its genotype.",
            self._compared(f'<div class="grid">{plots}</div>'),
        )

    def _progress(self) -> str:
        largest = references(self._series, self._costs)
        plots = "".join(
            self._figures.place(
                f"Hypervolume over {title}",
                figures.hypervolume(self._series, self._costs, against),
            )
            for against, title in (("trials", "trials"), ("hours", "time"))
        )
        boxes = self._figures.place("Score over the iterations", figures.score_boxes(self._series))
        limits = [cost.amount(top) for cost, top in zip(self._costs, largest, strict=True)]
        return section(
            "Progress",
            "The hypervolume is the share that a run's trials dominate of the box from score 0 to "
            f"1 and from cost 0 to the largest of any trial here: {', '.join(limits)}.",
            self._compared(f'<div class="grid">{plots}</div>{boxes}'),
        )

    def _run(self, one: Series) -> str:
        plots = "".join(
            self._figures.place(f"Score against {cost.name}", figures.score_against_cost(one, cost))
            for cost in one.costs
        )
        shares = figures.operation_shares(one)
        return section(
            one.name if self._many else "Trials",
            "",
            '<div class="scale">first trial<i class="trials"></i>last trial</div>'
            f'<div class="grid">{plots}</div><h3 class="apart">What the search preferred</h3>'
            '<div class="scale">¼ of a uniform draw or less<i class="shares"></i>4 × or more</div>'
            f"{self._figures.place('Operations sampled, % of all drawn', shares, 'tall')}"
            f"{self._drawings(one)}",
            swatch(one) if self._many else "",
        )

    def _drawings(self, one: Series) -> str:
        front = one.front(self._costs)
        middle = knee(front, objectives(self._costs))
        # Evenly from the best score to the knee: what lies beyond is small but of little use.
        span = front[: max(front.index(middle) + 1, DRAWN)]
        last = min(DRAWN, len(span)) - 1
        picks = [span[round(step * (len(span) - 1) / max(1, last))] for step in range(last + 1)]
        tags = {middle.id: "knee of the front", front[0].id: "highest score"}
        cards = "".join(_drawing(one, pick, tags.get(pick.id, "on the front")) for pick in picks)
        return (
            '<h3 class="apart">Best architectures, drawn as they run</h3><p class="soft">'
            "Lines run downwards, and where they meet they are added. A merge sends each of its "
            "two maps through a context cell of its own; fractions are resolutions relative to the "
            "image. Zeros, skips and what nothing reads are left out.</p>"
            f'<div class="grid wide">{cards}</div>'
        )


def _drawing(one: Series, trial: TrialRecord, tag: str) -> str:
    genotype = Genotype.parse(trial.genotype)
    measured = [(cost, cost.of(trial)) for cost in one.costs]
    costs = ", ".join(cost.amount(value) for cost, value in measured if value is not None)
    return card(
        f'<h3>Trial {trial.id}<span class="tag">{tag}</span></h3>'
        f'<p class="soft">score {trial.score:.3f}, {costs}</p><div class="graphs">'
        f"<div><h4>Decoder</h4>{draw_decoder(genotype)}</div>"
        f"<div><h4>Context cell</h4>{draw_cell(genotype)}</div></div>{genotype_line(trial)}",
        "drawn",
    )
