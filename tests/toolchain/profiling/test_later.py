"""Tables in another hour, certified and brought to its pace; what is measured is made up."""

import math

import numpy as np
import pytest

from tests.toolchain.profiling.made_tables import made_table
from toolchain.profiling import later as module
from toolchain.profiling.later import anchor_table, certify_table
from toolchain.profiling.networks import draw_networks
from toolchain.profiling.table import LatencyTable

LEVEL = 2.0
# The sentinel takes so much more beside every fourth network.
ODD = 1.3


class Slow:
    """A stopwatch of a machine on which everything takes 1.2 times as long, give or take."""

    def __init__(self, *_: object, **__: object):
        self.settings: dict[str, object] = {}

    def __enter__(self) -> "Slow":
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def path(request, tmp_path, monkeypatch):
    table = made_table()
    table.save(tmp_path / "table.json")
    odd = getattr(request, "param", False)

    def measure(stopwatch, networks, shape, found):
        for number, network in enumerate(networks):
            ms = table.predict(table.plan(network)).median * 1.2 * (1.02 if number % 2 else 0.98)
            level = LEVEL * (ODD if odd and number % 4 == 0 else 1)
            found.add(str(network), np.array([[ms / LEVEL] * 3]), level)

    monkeypatch.setattr(module, "Stopwatch", Slow)
    monkeypatch.setattr(module, "measure_all", measure)
    monkeypatch.setattr(module, "export_parts", lambda *_: None)
    return tmp_path / "table.json"


def test_all_milliseconds_take_the_pace_of_some_networks(path, tmp_path):
    anchor_table(path, tmp_path / "now.json", networks=12)
    before, now = LatencyTable.load(path), LatencyTable.load(tmp_path / "now.json")
    for network in draw_networks(5, before.provenance.backbones, "others"):
        then, here = (t.predict(t.plan(network)) for t in (before, now))
        assert here.median == pytest.approx(1.2 * then.median, rel=0.005)
        assert here.high / here.median > then.high / then.median
    made = now.provenance.anchor
    assert made.factor == pytest.approx(1.2, rel=0.001)
    assert made.error == pytest.approx(0.02 / math.sqrt(11), rel=0.05)
    assert (made.networks, now.provenance.sentinel_ms) == (12, LEVEL)
    assert before.provenance.anchor is None


def test_an_anchored_table_can_be_anchored_again(path, tmp_path):
    anchor_table(path, tmp_path / "now.json")
    again = anchor_table(tmp_path / "now.json", tmp_path / "later.json")
    assert again.provenance.anchor.factor == pytest.approx(1.0, abs=0.005)


def test_a_certificate_is_of_the_table_as_it_is_or_of_one_at_the_pace_of_other_networks(path):
    alone = certify_table(path, architectures=20)
    assert alone.mape == pytest.approx(100 * (1 - 1 / 1.2), rel=0.02)
    assert (alone.coverage, alone.anchor) == (0, None)
    anchored = certify_table(path, architectures=20, anchor=12)
    assert anchored.mape == pytest.approx(2, rel=0.02)
    assert anchored.coverage == 100
    assert anchored.anchor.factor == pytest.approx(1.2, rel=0.001)
    assert anchored.anchor.networks == 12
    assert [c.genotype for c in anchored.cases] == [c.genotype for c in alone.cases]
    assert LatencyTable.load(path).provenance.anchor is None


def test_certify_says_what_pace_it_took(cli, path):
    options = ("--architectures", "10", "--max-mape", "5")
    alone, anchored = (cli("certify", path, *options, "--anchor", n) for n in ("0", "3"))
    assert (alone.code, anchored.code) == (1, 0), anchored.err
    assert "nastool table anchor brings a table to it" in alone.out
    assert "at the pace of 3 further networks, measured among these: 1.1" in anchored.out
    refused = cli("certify", path, "--anchor", "2")
    assert (refused.code, "2 is too few: 0, or at least 3." in refused.err) == (2, True)


@pytest.mark.parametrize("path", [False, True], indirect=True)
def test_certify_says_what_was_measured_at_another_speed(cli, path, request):
    odd = request.node.callspec.params["path"]
    share = cli(
        "certify", path, "--anchor", "8", "--architectures", "12", "--json", "--max-mape", 50
    )
    assert share.document["certificate"]["at_other_speeds"] == (0.25 if odd else 0)
    said = cli("certify", path, "--anchor", "8", "--architectures", "12", "--max-mape", 50).out
    assert ("25% of the networks were measured at another speed" in " ".join(said.split())) is odd


def test_the_command_says_the_factor(cli, path, tmp_path):
    result = cli("table", "anchor", path, "--output", tmp_path / "now.json", "--networks", "4")
    assert result.code == 0, result.err
    assert "now.json: 1.200 (+- 0.01" in result.out
    document = cli(
        "table", "anchor", path, "--output", tmp_path / "now.json", "--json"
    ).document  # fmt: skip
    assert document["anchor"]["networks"] == 12


def test_a_table_of_another_machine_is_refused(cli, path, tmp_path):
    made_table(device_name="Abacus").save(path)
    result = cli("table", "anchor", path, "--output", tmp_path / "now.json")
    assert (result.code, "device_name is Abacus" in result.err) == (2, True)
    assert not (tmp_path / "now.json").exists()
