import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_runs import made_run
from plotly.offline import get_plotlyjs

from toolchain.reporting import figures
from toolchain.reporting.page import Page
from toolchain.reporting.series import Series, chosen_costs
from toolchain.search.trial import TrialState

Make = Callable[..., Series]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture
def two(make_series: Make) -> list[Series]:
    return [
        make_series("plain", seed=1),
        make_series("<script>alert('&')</script>", tables=["phone"], position=1, seed=2),
    ]


@pytest.fixture
def page(two: list[Series]) -> str:
    return Page(two, chosen_costs(two, None)).html()


def figure_data(page: str) -> dict[str, Any]:
    return json.loads(re.findall(r'id="figures">(.*?)</script>', page)[0])


def test_the_page_needs_no_other_file(page: str) -> None:
    assert page.count(get_plotlyjs()) == 1
    own = page.replace(get_plotlyjs(), "")
    assert not re.search(r"https?:|<link|<img|\bsrc=|@import|url\(", own)


def test_names_are_escaped(page: str) -> None:
    own = page.replace(get_plotlyjs(), "")
    assert "<script>alert" not in own
    assert "&lt;script&gt;alert" in own


def test_every_colour_of_a_figure_is_in_the_style_sheet(page: str) -> None:
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
    light, dark = style.split("@media (prefers-color-scheme: dark)", 1)
    used = set(re.findall(r"var\((--[\w-]+)\)", json.dumps(figure_data(page))))
    assert len(used) > 10
    for name in used:
        assert f"{name}:" in light
        assert f"{name}:" in dark


def test_each_figure_has_its_place(page: str) -> None:
    assert set(figure_data(page)) == set(re.findall(r'class="plot \w*" id="(.*?)"', page))


def test_the_table_has_the_best_and_the_front(two: list[Series], page: str) -> None:
    table = re.findall(r'id="genotypes">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)[0]
    best = sorted(two[0].run.finalists, key=lambda trial: -(trial.score or 0))[:20]
    front = two[0].front(chosen_costs(two, None))
    for trial in [*best, *front]:
        assert f'data-copy="{trial.genotype}"' in table


def test_settings_that_differ_are_marked(page: str) -> None:
    settings = re.findall(r"<tr><td class=\"text\">(.*?)</td><td class=\"(.*?)\">", page)
    assert ("seed", "text differs") in settings
    assert ("reward.floor", "text") in settings


def test_operation_shares_add_up(make_series: Make) -> None:
    heatmap = figures.operation_shares(make_series("a", count=400)).data[0]
    columns = list(zip(*heatmap.text, strict=True))
    assert heatmap.x[0] == "0–49"
    assert len(columns) == 8
    for column in columns:
        assert sum(map(int, column)) == pytest.approx(100, abs=6)


def test_a_front_rises_with_the_cost(make_series: Make) -> None:
    series = make_series("a", count=100)
    front = figures.pareto_fronts([series], series.costs[0]).data[1]
    assert list(front.x) == sorted(front.x)
    assert list(front.y) == sorted(front.y)


def failed(series: Series) -> Series:
    """Return the run as if every trial had failed."""
    lost = {"state": TrialState.FAILED, "score": None, "reward": None, "failure": "timeout"}
    trials = [replace(trial, stage0_score=None, **lost) for trial in series.trials]
    return Series(series.name, made_run("b", trials), series.position)


def test_a_single_trial(make_series: Make) -> None:
    series = [make_series("one", count=1)]
    page = Page(series, chosen_costs(series, None)).html()
    assert "for a correlation: 1." in page
    assert len(figure_data(page)) == 2 + 2 + 2 + 1 + 2 + 2 + 1


def test_a_run_of_failures_has_its_page(make_series: Make) -> None:
    series = [failed(make_series("lost", count=12))]
    page = Page(series, chosen_costs(series, None)).html()
    assert "No trial has a score yet." in page
    assert "<td>12 timeout</td>" in page
    titles = re.findall(r'<h3>([^<]*)</h3><div class="plot', page)
    assert titles == ["Operations sampled, % of all drawn", "Encoders sampled, % of all drawn"]


def test_a_run_of_failures_beside_another(make_series: Make) -> None:
    series = [
        failed(make_series("lost", count=12)),
        make_series("fine", tables=["phone"], position=1),
    ]
    costs = chosen_costs(series, None)
    assert [cost.objective for cost in costs] == ["latency@phone"]
    assert "<td>12 timeout</td>" in Page(series, costs).html()


def test_each_latency_table_has_its_figures(make_series: Make) -> None:
    series = [make_series("both", tables=["phone", "desktop"])]
    page = Page(series, chosen_costs(series, None)).html()
    for table in ("phone", "desktop"):
        assert f"<h3>Score and latency ({table})</h3>" in page
        assert f"<h3>Score against latency ({table})</h3>" in page
        assert f"Latency (ms), {table}</button>" in page


def test_encoders_are_shown_where_there_are_several(make_series: Make) -> None:
    several = make_series("a", count=100)
    shares = figures.encoder_shares(several).data[0]
    assert list(shares.y) == ["ghostnet-0.25", "mobilenetv2"]
    first = [trial.encoder for trial in several.trials[:10]]
    assert int(shares.text[0][0]) == 10 * first.count("ghostnet-0.25")
    alone = [replace(trial, encoder="mobilenetv2") for trial in several.trials]
    one = Series("a", made_run("a", alone), 0)
    pages = [Page([each], chosen_costs([each], None)).html() for each in (several, one)]
    assert ["Encoders sampled" in page for page in pages] == [True, False]


def test_trials_that_were_stopped_are_in_no_figure_of_scores(make_series: Make) -> None:
    series = make_series("a", count=120)
    [cost] = [cost for cost in series.costs if cost.objective == "params"]
    [points] = figures.score_against_cost(series, cost).data
    stopped = {trial.id for trial in series.trials if trial.state is TrialState.PRUNED}
    assert stopped
    assert not stopped & {number for number, *_ in points.customdata}


def test_a_front_is_of_those_that_were_scored_again(make_series: Make) -> None:
    plain = make_series("a", count=60)
    chosen = [t for t in plain.trials if t.state is TrialState.COMPLETE][:4]
    rescored = {t.id: {"score": 0.5 * t.score, "reward": 0.4 * t.score} for t in chosen}
    series = Series("a", made_run("a", plain.trials, rescored=rescored), 0)
    front = series.front([cost for cost in series.costs if cost.objective == "params"])
    assert {trial.id for trial in front} <= set(rescored)
    assert all(trial.score == rescored[trial.id]["score"] for trial in front)
    page = Page([series], series.costs).html()
    assert "Scored again" in page
    assert "Of the search" in page


def test_the_page_says_whether_the_scores_could_be_trusted(make_series: Make) -> None:
    plain = make_series("a", count=60)
    complete = [t for t in plain.trials if t.state is TrialState.COMPLETE]
    rows = [
        {"id": t.id, "chosen": "best", "search_score": t.score, "result": t.score + 0.1}
        for t in complete[:12]
    ]
    ranked = Series("a", made_run("a", plain.trials, ranking={"trials": rows}), 0)
    page = Page([ranked], ranked.costs).html()
    assert "Score after a longer training" in page
    assert "Spearman 1.00 over 12 candidates" in page
    assert "nastool rank has not been run" not in page
    assert "nastool rank has not been run on a." in Page([plain], plain.costs).html()


@pytest.mark.parametrize("objectives", [["latency:15ms:-0.6"], ["latency:20ms:-0.6"]])
def test_rewards_of_other_objectives_come_with_a_warning(
    make_series: Make, objectives: list[str]
) -> None:
    series = [make_series("a"), make_series("b", position=1)]
    series[0].run.document["objectives"] = ["latency:15ms:-0.6"]
    series[1].run.document["objectives"] = objectives
    page = Page(series, chosen_costs(series, None)).html()
    assert ("other objectives do not compare" in page) == (objectives != ["latency:15ms:-0.6"])


ACTIONS = """
<script>
const wait = setInterval(() => {
  if (!document.body.dataset.drawn) return;
  clearInterval(wait);
  const headings = [...document.querySelectorAll("thead button")];
  headings.find((button) => button.textContent.startsWith("Parameters")).click();
  const column = headings.findIndex((button) => button.textContent.startsWith("Parameters"));
  const rows = document.querySelector("#genotypes tbody").rows;
  document.body.dataset.order = [...rows].map((row) => row.cells[column].dataset.value);
  document.querySelector('[data-run="1"]').click();
  document.body.dataset.hidden = document.getElementById("figure-0").data.map((t) => t.visible);
  document.body.dataset.pressed =
    [...document.querySelectorAll('[data-run="1"]')].map((chip) => chip.ariaPressed);
  document.querySelector("[data-copy]").click();
  const toast = document.getElementById("toast");
  setTimeout(() => { document.body.dataset.toast = toast.textContent; }, 500);
}, 50);
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in")
def test_the_page_works_in_a_browser(page: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page.replace("</body>", ACTIONS), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--disable-component-update", "--no-first-run", "--enable-logging=stderr"]
    flags += ["--virtual-time-budget=8000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    result = subprocess.run(
        [
            str(CHROMIUM),
            *flags,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    body = re.findall(r"<body (.*?)>", result.stdout)[-1]
    found = dict(re.findall(r'data-(\w+)="(.*?)"', body))
    assert "error" not in found, found
    assert int(found["drawn"]) == len(figure_data(page))
    order = [float(value) for value in found["order"].split(",")]
    assert order == sorted(order, reverse=True)
    assert found["hidden"].split(",") == ["", "", "false", "false"]
    assert found["pressed"] == "false,false,false"
    assert found["toast"] == "Genotype copied"
    assert "CONSOLE" not in result.stderr
