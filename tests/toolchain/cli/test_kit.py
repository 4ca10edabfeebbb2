"""A device far away: its kit, what it measures, and the table of that."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.kit import measure, protocol
from export.kit.contention import Contention
from export.kit.journal import Measurements, read_journal
from export.kit.protocol import Protocol
from export.onnx_file.tail import DEFAULT_TAIL
from export.system.errors import DataError
from toolchain.profiling import kit as module
from toolchain.profiling.device import planned, profile_device
from toolchain.profiling.jobs import key_of
from toolchain.profiling.kit_samples import table_from_kit
from toolchain.profiling.table import LatencyTable

SMALL = ("--input-size", "64", "--encoder", "ghostnet-0.1", "--seconds", "0.01")
NETWORKS = ("--fit-networks", "10", "--certify-networks", "10")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a kit; it is only read."""
    folder = tmp_path_factory.mktemp("made") / "kit"
    settings = {"input_size": 64, "encoders": ["ghostnet-0.1"]}
    counts = {"fit_networks": 10, "certify_networks": 10}
    module.write_kit(folder, seconds=0.01, **settings, **counts)
    return folder


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure a little, and count every turn however busy the machine is."""
    settings = {"BLOCK_MS": 1.0, "TURNS": 2, "MOST_TURNS": 2, "SENTINEL_MS": 1.0}
    settings |= {"WARM_UP_SECONDS": 0.001, "SETTLE_SECONDS": 0.0}
    for name, value in settings.items():
        monkeypatch.setattr(protocol, name, value)
    monkeypatch.setattr(Protocol, "_quiet", lambda *_: True)
    monkeypatch.setattr(Contention, "share", lambda _: 0.0)


def test_a_kit_becomes_a_table(cli, made: Path, tmp_path: Path, hasty, capsys) -> None:
    samples = tmp_path / "samples.jsonl"
    assert measure.main(made, ["--threads", "1", "--output", str(samples)]) == 0
    assert "110 of 110 measured, 0 s left" in capsys.readouterr().out
    path = tmp_path / "table.json"
    result = cli("profile-device", "--from-kit", samples, "--output", path, "--json")
    assert result.code == 0, result.err
    assert result.document["certificate"]["architectures"] == 10
    table = LatencyTable.load(path)
    # What is measured directly has the same units and the same networks.
    settings = {"input_size": 64, "encoders": ["ghostnet-0.1"], "threads": 1, "seconds": 0.01}
    direct = profile_device(
        tmp_path / "direct.json", fit_networks=10, certify_networks=10, max_drift=9.9, **settings
    ).table
    assert table.entries.keys() == direct.entries.keys()
    assert [c.genotype for c in table.certificate.cases] == [
        c.genotype for c in direct.certificate.cases
    ]
    for field in ("device_name", "runtime_version", "threads", "settings", "precision", "device"):
        assert getattr(table.provenance, field) == getattr(direct.provenance, field)
    table.check_matches(threads=1)


def test_an_interrupted_measurement_goes_on(made: Path, tmp_path: Path, hasty, monkeypatch) -> None:
    samples = tmp_path / "samples.jsonl"
    compare, calls = Protocol.compare, []

    def interrupted(self, graphs):
        calls.append(graphs)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return compare(self, graphs)

    monkeypatch.setattr(Protocol, "compare", interrupted)
    monkeypatch.setattr(Measurements, "at_other_speeds", lambda *_: [])
    arguments = ["--threads", "1", "--output", str(samples)]
    assert measure.main(made, arguments) == 130
    assert len(read_journal(samples, "").found.measured) == 5
    with pytest.raises(DataError, match="was cut short: 5 of 110 measurements; run meas"):
        table_from_kit(samples)
    assert measure.main(made, ["--threads", "2", "--output", str(samples)]) == 2
    assert measure.main(made, arguments) == 0
    assert len(calls) == 1 + 110


def test_what_was_measured_at_another_speed_is_measured_once_more(
    made: Path, tmp_path: Path, hasty, monkeypatch, capsys
) -> None:
    compared = []

    def compare(self, graphs):
        # Slow for the first three, and for the last of those whatever is done.
        slow = len(compared) < 3 or graphs == compared[2]
        compared.append(graphs)
        self.sentinel_ms = 2.0 if slow else 1.0
        ms = 1 + len(compared) / 10
        return np.array([[ms] * 3, [2 * ms] * 3][: len(graphs)])

    monkeypatch.setattr(Protocol, "compare", compare)
    samples = tmp_path / "samples.jsonl"
    assert measure.main(made, ["--threads", "1", "--output", str(samples)]) == 0
    assert len(compared) == 110 + 3
    assert sorted(map(str, compared[110:])) == sorted(map(str, compared[:3]))
    assert "110 of 110 measured at one speed of the machine" in capsys.readouterr().out
    table = table_from_kit(samples, tmp_path / "table.json").table
    assert table.provenance.sentinel_ms == 1.0
    assert table.provenance.at_other_speeds == pytest.approx(1 / 110, abs=0.001)


def test_a_kit_needs_neither_nastool_nor_a_new_python(made: Path) -> None:
    for path in made.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))
    program = "import sys; sys.modules.update(dict.fromkeys(('torch', 'psutil', 'pydantic')))"
    program += "; import runpy; sys.argv = ['measure.py', '--help']; "
    program += "sys.path.insert(0, '.'); runpy.run_path('measure.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=made, capture_output=True, text=True, check=True
    )
    assert "Measure this device" in done.stdout


def test_a_kit_without_numpy_says_so(made: Path) -> None:
    program = "import sys; sys.modules['numpy'] = None; import runpy; sys.path.insert(0, '.'); "
    program += "runpy.run_path('measure.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=made, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert "numpy" in line


def test_weights_are_stored_once_and_graphs_are_small(made: Path) -> None:
    graphs = list((made / "graphs").glob("*.onnx"))
    assert len(graphs) > 150
    assert max(path.stat().st_size for path in graphs) < 200_000
    models = [onnx.load(path, load_external_data=False) for path in graphs]
    lengths = [
        int(entry.value)
        for model in models
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "length"
    ]
    assert sum(lengths) > 1.5 * (made / "graphs" / "weights.bin").stat().st_size


def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "kit"))


@pytest.mark.parametrize(
    ("change", "arguments", "words", "code"),
    [
        ({"kit_version": 99}, [], "kit_version is 99, this program's 2; copy the whole kit", 2),
        (None, [], "cannot be read", 2),
        ({}, ["--device", "cuda:0"], "the graphs are for cpu, not for cuda:0", 2),
        ({}, ["--threads", "0"], "--threads must be 1 to 1024, not 0", 2),
        ({}, ["--threads", "99999999999"], "--threads must be 1 to 1024, not 99999999999", 2),
        ({}, ["--max-drift", "nan"], "--max-drift must be a number above 0", 2),
        ({}, ["--max-drift", "inf"], "--max-drift must be a number above 0", 2),
        ({"runtime": "tensorrt"}, [], "tensorrt cannot be loaded", 3),
    ],
)
def test_wrong_use_of_a_kit_is_one_line(
    made, tmp_path, capsys, monkeypatch, change, arguments, words, code
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    folder = copied(made, tmp_path)
    text = (folder / "kit.json").read_text()
    changed = json.dumps(json.loads(text) | change) if change is not None else text[:100]
    (folder / "kit.json").write_text(changed)
    output = ["--output", str(tmp_path / "samples.jsonl")]
    assert measure.main(folder, [*arguments, *output]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_runtime_that_computes_something_else_is_refused(
    made, tmp_path, capsys, monkeypatch
) -> None:
    def zeros(self, path):
        return 0 * labels(self, path)

    runner = measure.RUNNERS["onnxruntime"]
    labels = runner.labels
    monkeypatch.setattr(runner, "labels", zeros)
    assert measure.main(made, ["--output", str(tmp_path / "s.jsonl")]) == 2
    assert "this runtime computes something else" in capsys.readouterr().err


def plan_and_head():
    """Return what a kit measures, and the first line of its samples; no graph is exported."""
    plan = planned(input_size=64, encoders=["ghostnet-0.1"], fit_networks=10, certify_networks=10)
    plan.made.tail = DEFAULT_TAIL
    head = {
        "kit": module.kit_identity(plan), "kit_version": 2, "settings": module.kit_settings(plan),
        "runtime": "onnxruntime", "device": "cpu", "runtime_version": "1", "runtime_settings": {},
        "threads": 1, "device_facts": {"cpu model": "x"}, "max_drift": 0.1,
    }  # fmt: skip
    return plan, head


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda head: head | {"kit_version": 99}, "kit_version is 99, this program reads 2"),
        (lambda head: head | {"kit": "other"}, "is of a kit of nastool"),
        (lambda head: head | {"settings": {}}, "settings.precision, settings.enc"),
        (lambda head: head | {"settings": None}, "settings: Input should be a valid"),
        (lambda head: head | {"device": "x"}, "its settings are not a kit's"),
        (
            lambda head: head | {"settings": head["settings"] | {"fit_networks": 10**12}},
            "settings.fit_networks: Input should be less than or equal to 10000; measure again",
        ),
        (lambda head: [head], "cannot be read as a measurement"),
    ],
)
def test_samples_of_another_kit_are_one_line(cli, tmp_path, edit, words) -> None:
    _, head = plan_and_head()
    (tmp_path / "samples.jsonl").write_text(json.dumps(edit(head)) + "\n")
    result = cli("profile-device", "--from-kit", tmp_path / "samples.jsonl")
    assert result.code == 2
    (line,) = result.err.strip().splitlines()
    assert f"samples.jsonl: {words}" in line


put = list.__setitem__
SAMPLES = {
    "as it is": (lambda lines: None, None),
    "level of nan": (lambda lines: put(lines[1], 2, float("nan")), "NaN is no finite"),
    "level of 0": (lambda lines: put(lines[1], 2, 0), "its lines are not those of a measurement"),
    "level of text": (lambda lines: put(lines[1], 2, "x"), "cannot be read as a measurement"),
    "no level": (lambda lines: lines[1].pop(), "cannot be read as a measurement"),
    "no date": (lambda lines: lines[-1].update(date={}), "date: Input should be a valid string"),
    "an environment of text": (lambda lines: lines[-1].update(environment="x"), "environment: "),
    "drift of nan": (lambda lines: lines[0].update(max_drift=float("nan")), "NaN is no finite"),
    "device facts": (lambda lines: lines[0].update(device_facts=[]), "device_facts: Input"),
    "400 digits": (lambda lines: put(lines[1], 1, [[10**400]]), "too large"),
    "no turns": (lambda lines: put(lines[1], 1, [[]]), "its times are none"),
    "no time": (lambda lines: put(lines[1], 1, [[0.0]]), "its times are none"),
    "an age": (lambda lines: put(lines[1], 1, [[1e300]]), "its times are none"),
}


@pytest.mark.parametrize("change", SAMPLES)
def test_damaged_samples_are_one_line(cli, tmp_path, change) -> None:
    plan, head = plan_and_head()
    times = [
        [key_of(job), [[n + 1.0, n + 1.1], [n + 3.0, n + 3.0 + n / 100]], 2.0]
        for n, job in enumerate(plan.jobs)
    ]
    facts = {"environment": {}, "date": "2026-01-01", "seconds": 3}
    lines = [head, *times, facts]
    edit, words = SAMPLES[change]
    edit(lines)
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = cli("profile-device", "--from-kit", path, "--output", tmp_path / "table.json")
    assert result.code == (2 if words else 0), result.err
    assert (tmp_path / "table.json").exists() is (words is None)
    if words:
        (line,) = result.err.strip().splitlines()
        assert line.startswith(f"nastool: {path}: ")
        assert words in line


def test_samples_without_an_end_are_read_so_far(cli) -> None:
    result = cli("profile-device", "--from-kit", "/dev/zero")
    assert result.code == 2
    assert "it is larger than 64 MiB" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runtime", "tensorrt-rtx"], "--kit takes --runtime onnxruntime or tensorrt"),
        (["--resume"], "--kit goes without"),
        (["--input-size", "100"], "multiple of 32"),
    ],
)
def test_a_kit_that_cannot_be_is_not_begun(cli, tmp_path, arguments, words) -> None:
    result = cli("profile-device", "--kit", tmp_path / "kit", *arguments)
    assert (result.code, words in result.err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(cli, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = cli("profile-device", *SMALL, *NETWORKS, "--kit", tmp_path)
    assert result.code == 2
    assert "exists and is not a kit" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
