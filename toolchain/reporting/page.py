"""The report as one HTML file that needs nothing else: no network, no other file."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from html import escape

from toolchain.genotype import Genotype
from toolchain.reporting import curves, effort, figures, trust
from toolchain.reporting.drawing import draw_cell, draw_decoder
from toolchain.reporting.markup import card, genotype_line, section, swatch
from toolchain.reporting.outlook import RunOutlook, outlooks, prediction_figure
from toolchain.reporting.seeds import seed_figures, seed_groups
from toolchain.reporting.series import Series, all_costs, ranges_of
from toolchain.reporting.standalone import Figures, standalone_page
from toolchain.reporting.tables import best_genotypes, settings_table
from toolchain.reporting.verdicts import hypervolume_words
from toolchain.search.pareto import knee
from toolchain.search.shown_costs import Cost, objectives
from toolchain.search.trial import Trial, TrialState

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
            self._trust(),
            self._predictions(),
            self._effort(),
            *map(self._run, self._series),
            best_genotypes(self._series, self._costs),
            settings_table(self._series),
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
            f'<p class="soft">{trials:,} {"trial" if trials == 1 else "trials"}, '
            f"{_duration(sum(one.hours for one in self._series))} of evaluation. "
            f"Report of {datetime.now():%d %B %Y, %H:%M}.</p>"
            f'<div class="grid">{cards}</div>'
        )

    def _facts(self, one: Series) -> str:
        share = one.hypervolume(self._costs, ranges_of(self._series, self._costs))
        facts = {
            "Best score": "–" if one.best_score is None else f"{one.best_score:.3f}",
            "Trials": f"{len(one.trials):,}",
            "On the front": f"{len(one.front(self._costs))}",
            "Hypervolume": f"{share:.4f}",
            "Evaluation": _duration(one.hours),
        }
        if again := sum(trial.search_score is not None for trial in one.run.finalists):
            facts["Scored again"] = f"{again}"
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
        if not plots:
            return section("Pareto fronts", "No trial has a score yet.", "")
        return section(
            "Pareto fronts",
            "A line joins the trials that no other trial of the run beats in both score and cost, "
            "among those that were scored again after a longer training if any were; faint points "
            "are all trials with their scores of the search. Click a point to copy its genotype.",
            self._compared(f'<div class="grid">{plots}</div>'),
        )

    def _progress(self) -> str:
        if not self._scored:
            return ""
        axes = curves.axes(self._scored)
        rewards = "".join(
            self._figures.place(
                f"Best reward so far (line) and mean reward (dots), over {axis.name}",
                curves.reward_so_far(self._scored, axis),
            )
            for axis in axes
        )
        volumes = "".join(
            self._figures.place(
                f"Hypervolume over {axis.name}",
                curves.hypervolume(self._scored, self._costs, axis),
            )
            for axis in axes
        )
        boxes = self._figures.place("Score over the iterations", curves.score_boxes(self._scored))
        ranges = ranges_of(self._scored, self._costs)
        seeds = ""
        if groups := seed_groups(self._scored):
            seeds = seed_figures(groups, self._scored, self._costs, self._figures)
        return section(
            "Progress",
            f"The mean reward is of the last {curves.LAST} trials. {self._reward_warning}"
            f"{hypervolume_words(self._costs, ranges)}",
            self._compared(f'<div class="grid">{rewards}{volumes}</div>{boxes}{seeds}'),
        )

    @property
    def _scored(self) -> list[Series]:
        return [one for one in self._series if one.scored]

    @property
    def _reward_warning(self) -> str:
        """Say that rewards do not compare, where runs weigh costs differently."""
        names = ("objectives", "combination", "bonus_limit", "parts", "file")
        goals = {str([one.run.document.get(name) for name in names]) for one in self._scored}
        return "Rewards of runs with other objectives do not compare. " if len(goals) > 1 else ""

    def _trust(self) -> str:
        """Write what more training says of the scores, as far as anybody has tried."""
        content = "".join(
            self._agreement(*arguments)
            for arguments in (
                (
                    trust.ranking_pairs,
                    "Score of the search",
                    "Score after a longer training",
                    "Trained longer by nastool rank, half of them the best, half drawn at random, "
                    "on images that the search has not touched.",
                ),
                (
                    trust.stage_pairs,
                    "Score after stage 0",
                    "Score of the search",
                    "Candidates are stopped after stage 0 where a finished one beats them at their "
                    "cost. These went on; those that were stopped have no other score.",
                ),
            )
        )
        if not content:
            return ""
        without = [one.name for one in self._scored if one.timed and one.run.ranking is None]
        advice = f" nastool rank has not been run on {', '.join(without)}." if without else ""
        return section("Could the scores be trusted?", advice.strip(), content)

    def _agreement(
        self, pairs_of: Callable[[Series], list[trust.Pair]], early: str, late: str, text: str
    ) -> str:
        known = [one for one in self._series if pairs_of(one)]
        if not known:
            return ""
        pairs = [pairs_of(one) for one in known]
        subject = f"the {early[0].lower()}{early[1:]}"
        words = "".join(
            f'<p class="soft">{swatch(one)}<b>{escape(one.name)}.</b> '
            f"{escape(trust.words(some, subject))}</p>"
            for one, some in zip(known, pairs, strict=True)
        )
        plot = self._figures.place(
            f"{late} against {early[0].lower()}{early[1:]}",
            trust.agreement(known, pairs, early, late),
        )
        note = card(f"<h3>{early}</h3><p>{text}</p>{words}")
        return self._compared(f'<div class="grid wide">{plot}{note}</div>')

    @cached_property
    def _outlooks(self) -> dict[int, RunOutlook]:
        return outlooks(self._series)

    def _predictions(self) -> str:
        """Write how well scores foretell those of other candidates."""
        if not (found := list(self._outlooks.values())):
            return ""
        content = self._compared(prediction_figure(found, self._figures))
        return section("Could the scores be predicted?", "", content)

    def _effort(self) -> str:
        trained = [one for one in self._series if one.timed and effort.mean_phases(one)]
        bars = ""
        if trained:
            bars = self._figures.place(
                "Seconds of a trained candidate, by phase",
                effort.phase_bars(trained),
                "" if len(trained) > 3 else "low",
            )
        return section(
            "Where the time went",
            "Seconds are those of one worker. A candidate that computes the same as an earlier one "
            "takes over its result; one over a budget is not trained.",
            f"{effort.endings(self._series)}{bars}",
        )

    def _run(self, one: Series) -> str:
        plots = "".join(
            self._figures.place(f"Score against {cost.name}", figures.score_against_cost(one, cost))
            for cost in one.costs
        )
        legend = '<div class="scale">first trial<i class="trials"></i>last trial.</div>'
        shares = self._figures.place(
            "Operations sampled, % of all drawn", figures.operation_shares(one), "tall"
        )
        if len(one.encoders) > 1:
            shares += self._figures.place(
                "Encoders sampled, % of all drawn", figures.encoder_shares(one), "low"
            )
        if len(one.working_sizes) > 1:
            shares += self._figures.place(
                "Working sizes sampled, % of all drawn", figures.working_size_shares(one), "low"
            )
        known = self._outlooks.get(one.position)
        outlook = known.place(self._costs, self._figures) if known else ""
        return section(
            one.name if self._many else "Trials",
            "",
            f"{legend if plots else ''}"
            f'<div class="grid">{plots}</div><h3 class="apart">What the search preferred</h3>'
            '<div class="scale">¼ of a uniform draw or less<i class="shares"></i>4 × or more</div>'
            f"{shares}{outlook}{self._drawings(one)}",
            swatch(one) if self._many else "",
        )

    def _drawings(self, one: Series) -> str:
        front = one.front(self._costs)
        if not front:
            return ""
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


def _duration(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _drawing(one: Series, trial: Trial, tag: str) -> str:
    genotype = Genotype.parse(trial.genotype)
    measured = [(cost, cost.of(trial)) for cost in one.costs]
    costs = ", ".join(cost.amount(value) for cost, value in measured if value is not None)
    encoder = f", {escape(trial.encoder)}" if len(one.encoders) > 1 else ""
    size = f", working size {trial.working_size}" if len(one.working_sizes) > 1 else ""
    return card(
        f'<h3>Trial {trial.id}<span class="tag">{tag}</span></h3>'
        f'<p class="soft">score {trial.score:.3f}, {costs}{encoder}{size}</p><div class="graphs">'
        f"<div><h4>Decoder</h4>{draw_decoder(genotype)}</div>"
        f"<div><h4>Context cell</h4>{draw_cell(genotype)}</div></div>{genotype_line(trial)}",
        "drawn",
    )
