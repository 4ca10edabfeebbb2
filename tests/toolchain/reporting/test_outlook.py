"""What a report says of networks that were not trained, and over seeds."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.toolchain.search.stand_in import searched
from toolchain.cli.pareto import front_table
from toolchain.reporting import outlook
from toolchain.reporting.outlook import RunOutlook, outlooks
from toolchain.reporting.page import Page
from toolchain.reporting.seeds import hypervolume_bands, seed_groups
from toolchain.reporting.series import Series, chosen_costs, history, ranges_of
from toolchain.search.run import Run

Make = Callable[..., Series]
SIZES = {"working_sizes": (512, 256), "encoders": ("mobilenetv2", "ghostnet-0.1")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Series]:
    """Return three seeds of a search, and one of other settings with too few trials."""
    folder = tmp_path_factory.mktemp("runs")
    runs: list[Run] = [searched(folder / str(n), trials=24, seed=n, **SIZES) for n in range(3)]
    runs.append(searched(folder / "other", trials=6, cells=1))
    names = ["seed-0", "seed-1", "seed-2", "other"]
    return [Series(name, run, n) for n, (name, run) in enumerate(zip(names, runs, strict=True))]


@pytest.fixture(scope="module")
def page(runs: list[Series]) -> str:
    return Page(runs, chosen_costs(runs, None)).html()


@pytest.fixture(scope="module")
def one(runs: list[Series]) -> RunOutlook:
    return outlooks(runs[:1])[0]


def test_the_page_says_what_is_to_be_expected_of_other_networks(page: str) -> None:
    assert page.count("Score of the search against what other candidates predict</h3>") == 1
    # Two costs of three runs; the fourth has too few candidates.
    assert page.count("<h3>Best score to expect within a limit of parameters</h3>") == 3
    assert page.count("<h3>Best score to expect within a limit of FLOPs</h3>") == 3
    found = re.findall(r"Spearman (-?[\d.]+) between prediction and score over 24 candidates", page)
    assert len(found) == 3
    assert page.count("of the trained front") == 6


def test_logs_and_short_runs_have_no_outlook(make_series: Make, runs: list[Series]) -> None:
    series = [make_series("log", count=60), runs[3]]
    assert outlooks(series) == {}
    page = Page(series, chosen_costs(series, None)).html()
    assert "Could the scores be predicted?" not in page
    assert "Best score to expect" not in page


def test_the_band_lies_around_the_best_prediction(one: RunOutlook) -> None:
    [cost] = [cost for cost in one.series.costs if cost.objective == "flops"]
    upper, lower, best, trained = one.figure(cost).data
    assert lower.fill == "tonexty"
    assert (np.diff(best.y) >= 0).all()
    assert (upper.y > best.y).all()
    assert np.allclose(np.array(upper.y) + np.array(lower.y), 2 * np.array(best.y), atol=1e-4)
    assert len(trained.x) == 24
    assert max(trained.x) == pytest.approx(best.x[-1], rel=1e-4)
    # Networks are predicted that cost less than any trained one.
    assert best.x[0] < min(trained.x)


def test_where_the_band_is_wide_is_said(one: RunOutlook, monkeypatch: pytest.MonkeyPatch) -> None:
    [cost] = [cost for cost in one.series.costs if cost.objective == "flops"]

    def band(wide: float) -> None:
        monkeypatch.setattr(RunOutlook, "_limits", lambda *_: np.array([1e9, 8e9]))
        widths = lambda at: np.where(at > 4.0001e9, wide, 0.01)  # noqa: E731
        monkeypatch.setattr(RunOutlook, "_band", lambda _, __, at: (0.5 + 0 * at, widths(at)))

    band(0.03)
    assert (
        one._sureness(cost)
        == "The best score is least sure for limits from 4.00 G to 8.00 G FLOPs: ±0.030, elsewhere "
        "±0.010."
    )
    band(0.011)
    assert "about equally surely everywhere, to ±0.010" in one._sureness(cost)


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (0.0, "0 lie within the band, {} above it."),
        (1.0, "0 lie within the band, {} below it: there better networks are expected"),
    ],
)
def test_a_front_outside_the_band_is_said(
    one: RunOutlook, monkeypatch: pytest.MonkeyPatch, mean: float, words: str
) -> None:
    [cost] = [cost for cost in one.series.costs if cost.objective == "flops"]
    monkeypatch.setattr(RunOutlook, "_band", lambda _, __, at: (mean + 0 * at, 0.01 + 0 * at))
    found = one._front(cost)
    count = int(re.findall(r"Of the (\d+) members", found)[0])
    assert words.format(count) in found


def test_the_words_are_true_of_the_figure(one: RunOutlook) -> None:
    """The front's members within the band, counted from what is drawn."""
    [cost] = [cost for cost in one.series.costs if cost.objective == "params"]
    upper, lower, _, trained = one.figure(cost).data
    points = sorted(zip(trained.x, trained.y, strict=True), key=lambda point: (point[0], -point[1]))
    front, best = [], 0.0
    for x, y in points:
        if y > best:
            front.append((x, y))
            best = y
    inside = 0
    for x, y in front:
        place = np.searchsorted(np.array(upper.x) * (1 - 1e-5), x, side="right") - 1
        inside += lower.y[place] <= y <= upper.y[place]
    found = one._front(cost)
    assert f"All {inside} members" in found or (
        f"Of the {len(front)} members of the trained front {inside} lie within" in found
    )


def test_runs_of_one_report_share_what_is_drawn(
    runs: list[Series], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many runs must not take many times as long."""
    drawn = []

    class Noted:
        @classmethod
        def of(cls, run: Run, number: int) -> None:
            drawn.append(number)

    monkeypatch.setattr(outlook, "RunPredictor", Noted)
    outlooks(runs[:1])
    outlooks(runs[:2])
    outlooks(runs * 4)
    assert drawn[:3] == [2000, 1000, 1000]
    assert set(drawn[3:]) == {300}


def test_seeds_of_one_search_are_gathered(make_series: Make, runs: list[Series]) -> None:
    [group] = seed_groups([make_series("log"), *runs])
    assert [one.name for one in group] == ["seed-0", "seed-1", "seed-2"]
    assert seed_groups([runs[0], runs[3]]) == []
    # The same seed twice is no second seed, other data are no other seed.
    assert seed_groups([runs[0], runs[0]]) == []
    settings = runs[1].run.settings
    assert settings
    elsewhere = replace(runs[1].run, settings=settings.model_copy(update={"data": "elsewhere"}))
    assert seed_groups([runs[0], Series("elsewhere", elsewhere, 1)]) == []
    # Nor is a search that went on for longer, or that scored its best again.
    for other in ({"trials": 25}, {"rescore": 3}):
        longer = replace(runs[1].run, settings=settings.model_copy(update=other))
        assert seed_groups([runs[0], Series("longer", longer, 1)]) == []


def test_the_spread_over_seeds_is_drawn_and_told(runs: list[Series], page: str) -> None:
    costs = chosen_costs(runs, None)
    ranges = ranges_of(runs, costs)
    group = runs[:3]
    upper, _, mean = hypervolume_bands([group], ["seed"], costs, ranges).data
    ends = [list(history(one, costs, ranges)) for one in group]
    last = min(known[-1][0] for known in ends)
    assert mean.x[-1] == last
    at_last = [max(v for count, _, v in known if count <= last) for known in ends]
    assert mean.y[-1] == pytest.approx(np.mean(at_last), abs=1e-4)
    assert upper.y[-1] - mean.y[-1] == pytest.approx(np.std(at_last, ddof=1), abs=1e-4)
    final = [one.hypervolume(costs, ranges) for one in group]
    assert f"Hypervolume {np.mean(final):.3f} on average over 3 seeds, deviation " in page
    assert page.count("Hypervolume over trials: mean and deviation over seeds") == 1


def test_runs_of_one_seed_have_no_spread(make_series: Make) -> None:
    series = [make_series("a"), make_series("b", position=1)]
    assert "over seeds" not in Page(series, chosen_costs(series, None)).html()


def test_working_sizes_are_shown_where_there_are_several(runs: list[Series], page: str) -> None:
    assert "Working size (pixels)</button>" in page
    assert "<h3>Working sizes sampled, % of all drawn</h3>" in page
    assert "working size 256</p>" in page
    assert "at 256" in page
    alone = [replace(t, working_size=256) for t in runs[0].trials]
    run = replace(runs[0].run, trials=alone, finalists=[t for t in alone if t.score is not None])
    # What was drawn with another working size is not to be predicted of: no settings, as of a log.
    one = [Series("one", replace(run, settings=None), 0)]
    plain = Page(one, chosen_costs(one, None)).html()
    assert "Working size" not in plain
    assert "at 256" not in plain


def test_a_front_on_the_command_line_has_its_working_sizes(runs: list[Series]) -> None:
    def headings(series: Series) -> list[str]:
        table = front_table(series.front(chosen_costs([series], None))).renderables[0]
        return [str(column.header) for column in table.columns]

    assert "working size" in headings(runs[0])
    assert "working size" not in headings(runs[3])
