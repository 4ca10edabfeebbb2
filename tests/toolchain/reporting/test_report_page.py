import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs

from toolchain.reporting import figures
from toolchain.reporting.page import Page
from toolchain.reporting.series import Series, chosen_costs

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
    table = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)[0]
    best = sorted(two[0].scored, key=lambda trial: -(trial.score or 0))[:20]
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


def test_runs_of_a_single_trial(make_series: Make) -> None:
    series = [make_series("one", count=1)]
    assert "one" in Page(series, chosen_costs(series, None)).html()


ACTIONS = """
<script>
const wait = setInterval(() => {
  if (!document.body.dataset.drawn) return;
  clearInterval(wait);
  const headings = [...document.querySelectorAll("thead button")];
  headings.find((button) => button.textContent.startsWith("Parameters")).click();
  const column = headings.findIndex((button) => button.textContent.startsWith("Parameters"));
  const rows = document.querySelector("tbody").rows;
  document.body.dataset.order = [...rows].map((row) => row.cells[column].dataset.value);
  document.querySelector('[data-run="1"]').click();
  document.body.dataset.hidden = document.getElementById("figure-0").data.map((t) => t.visible);
  document.body.dataset.pressed =
    [...document.querySelectorAll('[data-run="1"]')].map((chip) => chip.ariaPressed);
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
    assert found["pressed"] == "false,false"
    assert "CONSOLE" not in result.stderr
