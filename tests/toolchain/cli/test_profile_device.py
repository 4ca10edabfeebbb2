import json

import numpy as np
import pytest

from export.benchmarking.tail_choice import TailChoice
from export.kit import protocol
from export.kit.contention import Contention
from export.kit.journal import Measurements, settings_of
from export.system.errors import GateError
from tests.toolchain.profiling.made_tables import made_table
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.profiling import device
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.entries import recipes
from toolchain.profiling.networks import Shape
from toolchain.profiling.parts import encoder_part
from toolchain.profiling.stopwatch import Stopwatch
from toolchain.profiling.table import LatencyTable

SMALL = ("--input-size", "64", "--encoder", "ghostnet-0.1", "--threads", "1", "--seconds", "0.01")


@pytest.fixture
def hasty(monkeypatch):
    """Measure a little, and count every turn however busy the machine is."""
    monkeypatch.setattr(protocol, "BLOCK_MS", 5.0)
    monkeypatch.setattr(protocol, "TURNS", 2)
    monkeypatch.setattr(protocol, "MOST_TURNS", 2)
    monkeypatch.setattr(protocol, "SENTINEL_MS", 1.0)
    monkeypatch.setattr(protocol, "WARM_UP_SECONDS", 0.001)
    monkeypatch.setattr(protocol, "PAUSES", (0.0,))
    monkeypatch.setattr(Stopwatch, "_quiet", lambda *_: True)
    monkeypatch.setattr(Contention, "share", lambda _: 0.0)
    monkeypatch.setattr(Measurements, "at_other_speeds", lambda *_: [])


def test_profiles_certifies_and_predicts(cli, hasty, tmp_path):
    path = tmp_path / "table.json"
    networks = ("--fit-networks", "10", "--certify-networks", "10")
    result = cli("profile-device", *SMALL, *networks, "--output", path, "--json")
    assert result.code == 0, result.err
    document = result.document
    assert document["table"] == str(path)
    assert document["seconds"] > 0
    written = json.loads(path.read_text())
    assert document["entries"] == len(written["entries"])
    assert document["certificate"]["architectures"] == 10
    assert written["certificate"] == document["certificate"]
    assert written["correction"]["networks"] == 10
    assert written["provenance"]["encoders"] == ["ghostnet-0.1"]
    assert written["provenance"]["working_sizes"] == [64]
    assert written["provenance"]["threads"] == 1

    again = cli(
        "certify", path, "--architectures", "10", "--seconds", "0.01", "--seed", "7",
        "--max-mape", "1e9", "--min-spearman", "-1", "--json",
    )  # fmt: skip
    assert again.code == 0, again.err
    certificate = again.document["certificate"]
    assert certificate["architectures"] == 10
    assert len(certificate["worst"]) == 5
    assert set(certificate["worst"][0]) >= {"genotype", "predicted_ms", "measured_ms"}
    drawn = {case["genotype"] for case in document["certificate"]["worst"]}
    assert drawn.isdisjoint(case["genotype"] for case in certificate["worst"])

    missed = cli("certify", path, "--architectures", "10", "--seconds", "0.01", "--max-mape", "0")
    assert missed.code == 1
    assert "FAILED: the mean error is" in missed.err

    cost = cli(
        "cost", "1 [0,1]", "--input-size", "64", "--encoder", "ghostnet-0.1",
        "--latency-table", path, "--json",
    )  # fmt: skip
    assert cost.document["latency_ms"][str(path)]["median"] > 0


def test_an_interrupted_profiling_goes_on(cli, hasty, tmp_path, monkeypatch):
    path = tmp_path / "table.json"
    networks = ("--fit-networks", "0", "--certify-networks", "0", "--output", path, "--json")
    compare, calls = Stopwatch.compare, []

    def interrupted(self, models):
        calls.append(models)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return compare(self, models)

    monkeypatch.setattr(Stopwatch, "compare", interrupted)
    assert cli("profile-device", *SMALL, *networks).code == 130
    assert not path.exists()
    # Which tail is the fastest may come out otherwise the second time: it stays.
    chosen = settings_of(tmp_path / "table.json.partial" / "measured.jsonl")["tail"]
    monkeypatch.setattr(device, "_fastest_tail", lambda *_: f"not {chosen}")
    other = cli("profile-device", *SMALL, *networks, "--threads", "2", "--resume")
    assert other.code == 2
    assert "was begun with threads 1, not 2" in other.err
    # Nor is anything exported again.
    monkeypatch.setattr(encoder_part, "_exported", {})
    monkeypatch.setattr(encoder_part, "_export", None)
    result = cli("profile-device", *SMALL, *networks, "--resume")
    assert result.code == 0, result.err
    # Five had been measured; the sixth is measured again.
    assert len(calls) == 1 + len(recipes(Shape(image=(64, 64)), [Backbone("ghostnet-0.1")]))
    assert [file.name for file in tmp_path.iterdir()] == ["table.json"]
    whole = path.read_text()
    again = cli("profile-device", *SMALL, *networks, "--resume")
    assert (again.code, "table.json: is finished; leave out --resume" in again.err) == (2, True)
    assert path.read_text() == whole


def test_a_table_of_two_working_sizes(cli, hasty, tmp_path, monkeypatch):
    path = tmp_path / "table.json"
    sizes = ("--working-size", "64", "--working-size", "96", "--working-size", "64")
    networks = ("--fit-networks", "10", "--certify-networks", "10", "--output", path, "--json")
    compare, calls = Stopwatch.compare, []

    def interrupted(self, models):
        calls.append(models)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return compare(self, models)

    monkeypatch.setattr(Stopwatch, "compare", interrupted)
    # The one that torch exports in the least time.
    monkeypatch.setattr(device, "_fastest_tail", lambda *_: "resize")
    begin = ("profile-device", *SMALL, "--input-size", "128", *networks)
    assert cli(*begin, *sizes).code == 130
    other = cli(*begin, "--working-size", "128", "--resume")
    assert other.code == 2
    assert "was begun with working_sizes [64, 96], not [128]" in other.err
    result = cli(*begin, "--resume")
    assert result.code == 0, result.err
    backbones = [Backbone("ghostnet-0.1", size) for size in (64, 96)]
    pieces = recipes(Shape(image=(128, 128)), backbones)
    assert len(calls) == 1 + len(pieces) + 10 + 10

    table = LatencyTable.load(path)
    assert table.provenance.working_sizes == [64, 96]
    assert table.provenance.backbones == backbones
    assert set(table.entries) == {unit.name for piece in pieces for unit in piece.units}
    assert [case.working_size for case in table.certificate.cases] == [64, 96] * 5
    genotype = Genotype.parse("8 [1,1,1,10] [4,3,1,3] [0,1] [2,0]")
    for backbone in backbones:
        assert table.predict(table.plan(Architecture(genotype, *backbone))).median > 0

    again = cli(
        "certify", path, "--architectures", "10", "--seconds", "0.01", "--max-mape", "1e9",
        "--min-spearman", "-1",
    )  # fmt: skip
    assert again.code == 0, again.err
    assert "ghostnet-0.1 at 64" in again.out or "ghostnet-0.1 at 96" in again.out
    cost = ("cost", str(genotype), "--input-size", "128", "--encoder", "ghostnet-0.1", "--json")
    small = cli(*cost, "--latency-table", path, "--working-size", "96").document
    assert small["latency_ms"][str(path)]["median"] > 0
    whole = cli(*cost, "--latency-table", path)
    assert "table.json: has no entries for the working size 128; profile the device" in whole.err


@pytest.mark.parametrize(
    ("working_sizes", "side"), [((512,), 128), ((256, 512), 128), ((256, 384), 64), ((384,), 96)]
)
def test_the_tail_is_chosen_on_logits_that_tails_differ_on(monkeypatch, working_sizes, side):
    """Where the scale is no even whole number all tails are one, and noise would choose."""
    shapes = []

    def fastest(logits, height, width, target, **where):
        shapes.append((logits.shape, height, width))
        return TailChoice("cells", {})

    monkeypatch.setattr(device, "fastest_tail", fastest)
    made = made_table(working_sizes=list(working_sizes)).provenance
    assert device._fastest_tail(made) == "cells"
    assert shapes == [((1, 19, side, side), 512, 512)]


def test_a_busy_machine_is_refused_and_nothing_written(cli, hasty, tmp_path, monkeypatch):
    monkeypatch.setattr(Contention, "share", lambda _: 1.0)
    result = cli("profile-device", *SMALL, "--output", tmp_path / "table.json")
    assert result.code == 1
    assert "too busy to measure on" in result.err
    assert "or measure roughly with a larger --max-drift" in result.err
    assert "is kept" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_what_was_measured_before_a_machine_grew_busy_is_kept(cli, hasty, tmp_path, monkeypatch):
    def grows_busy(stopwatch, jobs, shape, journal):
        journal.add("a unit", np.ones((2, 3)), 1.0)
        raise GateError("too busy")

    monkeypatch.setattr(device, "measure_all", grows_busy)
    result = cli("profile-device", *SMALL, "--output", tmp_path / "table.json")
    assert (result.code, (tmp_path / "table.json.partial").is_dir()) == (1, True)
    assert result.err.count("too busy") == 1
    assert "; what is measured is kept, --resume goes on with it" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input-size", "100"], "'--input-size': 100 is no multiple of 32"),
        (["--working-size", "100"], "'--working-size': 100 is no multiple of 32"),
        (["--working-size", "32"], "at least 64 and at most the input size 512, not 32"),
        (["--working-size", "256", "--working-size", "544"], "the input size 512, not 544"),
        (["--encoder", "vgg"], "no encoder is named 'vgg'"),
        (["--fit-networks", "3"], "'--fit-networks': 3 is too few: 0, or at least 10"),
        (["--runtime", "abacus"], "runtime 'abacus' is not known"),
        (["--device", "gpu"], "device 'gpu' is not known"),
        (["--precision", "int4"], "'int4' is not one of"),
    ],
)
def test_wrong_use_is_one_line(cli, tmp_path, arguments, words):
    result = cli("profile-device", *arguments, "--output", tmp_path / "table.json")
    assert result.code == 2
    assert words in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_certify_refuses_a_table_of_another_machine(cli, tmp_path):
    path = tmp_path / "far.json"
    made_table(device_name="Abacus").save(path)
    result = cli("certify", path)
    assert result.code == 2
    assert "far.json: device_name is Abacus" in result.err
