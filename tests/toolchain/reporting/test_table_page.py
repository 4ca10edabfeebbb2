import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from tests.toolchain.profiling.made_tables import made_table
from toolchain.architecture import Architecture
from toolchain.profiling.certificate import Case, certify
from toolchain.profiling.networks import draw_networks, random_genotypes
from toolchain.profiling.reading import read_table
from toolchain.profiling.table import LatencyTable
from toolchain.reporting import table_figures
from toolchain.reporting.table_page import table_page, write_table_page

ENCODERS = ("mobilenetv2", "ghostnet-0.25")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def certified_table() -> LatencyTable:
    """Make a table with a certificate on 40 networks whose errors are +8 % and -2 % in turns."""
    table = made_table(ENCODERS, device_name="<script>alert('&')</script>")
    cases, intervals = [], []
    for number, genotype in enumerate(random_genotypes(40, random.Random(0))):
        encoder = ENCODERS[number % 2]
        found = table.predict(table.plan(Architecture(genotype, encoder)))
        cases.append(
            Case(
                genotype=str(genotype),
                encoder=encoder,
                predicted_ms=found.median,
                measured_ms=found.median / (1.08 if number % 2 else 0.98),
            )
        )
        intervals.append((found.low, found.high))
    table.certificate = certify(cases, intervals, 0)
    return table


@pytest.fixture(scope="module")
def table_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "table.json"
    certified_table().save(path)
    return path


@pytest.fixture(scope="module")
def page(table_path: Path) -> str:
    return table_page(read_table(table_path))


def figure_data(page: str):
    return json.loads(re.findall(r'id="figures">(.*?)</script>', page)[0])


def test_the_page_needs_no_other_file_and_escapes_names(page):
    assert page.count(get_plotlyjs()) == 1
    own = page.replace(get_plotlyjs(), "")
    assert not re.search(r"https?:|<link|<img|\bsrc=|@import|url\(", own)
    assert "<script>alert" not in own
    assert "&lt;script&gt;alert" in own


def test_colours_are_in_the_style_sheet(page):
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
    used = set(re.findall(r"var\((--[\w-]+)\)", json.dumps(figure_data(page))))
    assert len(used) > 4
    assert all(f"{name}:" in style for name in used)


def test_each_figure_has_its_place(page):
    # Two of the errors, one of each resolution.
    places = re.findall(r'class="plot \w*" id="(.*?)"', page)
    assert set(figure_data(page)) == set(places)
    assert len(places) == 2 + 4


def test_every_case_is_listed_the_largest_error_first(page, table_path):
    rows = re.findall(r'data-copy="(.*?)"', page)
    cases = LatencyTable.load(table_path).certificate.cases
    assert sorted(rows) == sorted(case.genotype for case in cases)
    assert rows[0] in {case.genotype for case in cases if case.signed_error > 0.07}
    assert "40 random networks that no fit has seen" in page


def test_points_have_their_predicted_interval(table_path):
    table = LatencyTable.load(table_path)
    cases = table.certificate.cases
    reading = read_table(table_path)
    figure = table_figures.predicted_against_measured(
        cases, [table.predict(table.plan(Architecture(g, c.encoder))) for c, g in _parsed(cases)]
    )
    diagonal, *traces = figure.data
    assert list(diagonal.x) == list(diagonal.y)
    assert [trace.name for trace in traces] == list(reading.shares)
    for trace in traces:
        mine = [case for case in cases if case.encoder == trace.name]
        assert list(trace.x) == [case.measured_ms for case in mine]
        assert list(trace.y) == [case.predicted_ms for case in mine]
        np.testing.assert_allclose(trace.error_y.array, 0.1 * np.array(trace.y))
        np.testing.assert_allclose(trace.error_y.arrayminus, 0.1 * np.array(trace.y))
        assert max(trace.x) < diagonal.x[1]


def _parsed(cases):
    from toolchain.genotype import Genotype

    return [(case, Genotype.parse(case.genotype)) for case in cases]


def test_the_distribution_counts_signed_errors():
    errors = [-0.12, -0.02, -0.01, 0.0, 0.05, 0.09, 0.1]
    cases = [
        Case(genotype="g", encoder="e", predicted_ms=100 * (1 + e), measured_ms=100.0)
        for e in errors
    ]
    trace = table_figures.error_distribution(cases).data[0]
    assert list(trace.text) == [
        *("-15 to -10 %", "-10 to -5 %", "-5 to 0 %", "0 to 5 %", "5 to 10 %", "10 to 15 %")
    ]
    assert sum(trace.y) == len(errors)
    assert list(trace.y)[:4] == [1, 0, 2, 1]


def test_bars_are_corrected_costs(table_path):
    cells = read_table(table_path).grid
    trace = table_figures.cost_bars([cells["conv3x3"]["64x64"], cells["mobilenetv2"]["64x64"]])
    assert list(trace.data[0].x) == pytest.approx([1.0, 2.0])
    assert list(trace.data[0].error_x.array) == pytest.approx([0.05, 0.1])


def test_an_old_table_shows_its_worst_and_says_so(tmp_path):
    table = certified_table()
    table.certificate = table.certificate.model_copy(update={"cases": []})
    table.save(tmp_path / "table.json")
    document = write_table_page(tmp_path / "table.json", tmp_path / "table.html")
    assert (document["networks"], document["only_worst"]) == (5, True)
    assert "keeps only the 5 worst of its 40 networks" in (tmp_path / "table.html").read_text()


def test_a_table_of_several_working_sizes(tmp_path):
    table = made_table(ENCODERS, working_sizes=[512, 256])
    networks = draw_networks(12, table.provenance.backbones, "page")
    predictions = [table.predict(table.plan(network)) for network in networks]
    cases = [
        Case(
            genotype=str(network.genotype),
            encoder=network.encoder,
            working_size=network.working_size,
            predicted_ms=found.median,
            measured_ms=found.median + number,
        )
        for number, (network, found) in enumerate(zip(networks, predictions, strict=True))
    ]
    table.certificate = certify(cases, [(p.low, p.high) for p in predictions], 0)
    table.save(tmp_path / "table.json")
    reading = read_table(tmp_path / "table.json")
    figure = table_figures.predicted_against_measured(cases, predictions)
    assert [trace.name for trace in figure.data[1:]] == list(reading.shares)
    assert [len(trace.x) for trace in figure.data[1:]] == [3, 3, 3, 3]
    page = table_page(reading)
    assert "<dt>Working sizes</dt><dd>512, 256</dd>" in page
    assert page.count('<td class="text" data-value="mobilenetv2 at 256">') == 3
    # Two of the errors, and 128x128 to 8x8.
    assert len(figure_data(page)) == 2 + 5


def test_a_table_without_certificate(tmp_path):
    made_table().save(tmp_path / "table.json")
    document = write_table_page(tmp_path / "table.json", tmp_path / "table.html")
    assert (document["networks"], document["only_worst"]) == (0, False)
    page = (tmp_path / "table.html").read_text()
    assert "No network was measured against this table." in page
    assert len(figure_data(page)) == 4


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in")
def test_the_page_draws_in_a_browser(page, tmp_path):
    path = tmp_path / "table.html"
    path.write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--disable-component-update", "--no-first-run", "--enable-logging=stderr"]
    flags += ["--virtual-time-budget=8000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    result = subprocess.run(
        [str(CHROMIUM), *flags], capture_output=True, text=True, timeout=120, check=True
    )
    body = re.findall(r"<body(.*?)>", result.stdout)[-1]
    assert "data-error" not in body
    assert f'data-drawn="{len(figure_data(page))}"' in body
    assert "CONSOLE" not in result.stderr
