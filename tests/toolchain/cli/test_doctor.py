import json
import platform

import psutil
import pytest

from export.checks.conformance import Target, contract
from export.runtimes import Session
from export.runtimes.onnxruntime.runtime import OnnxRuntime
from export.system.errors import BrokenError, GateError
from tests.toolchain.profiling.made_tables import made_table


def test_json_is_as_promised(cli) -> None:
    result = cli("doctor", "--json")
    assert result.code == 0
    assert result.err == ""
    found = result.document
    keys = {"python", "platform", "cpu", "gpus", "runtimes", "packages", "problems"}
    assert keys <= found.keys()
    assert found["python"] == platform.python_version()
    working = [entry["device"] for entry in found["runtimes"] if entry["works"]]
    assert "cpu" in working


def test_text_lists_what_is_missing_with_cost_and_remedy(cli, monkeypatch) -> None:
    from export.checks import diagnosis

    monkeypatch.setattr(diagnosis, "_camera_works", lambda: False)
    monkeypatch.setattr(diagnosis, "_display_works", lambda: True)
    result = cli("doctor")
    assert result.code == 0
    assert "onnxruntime on cpu       works" in result.out
    assert "display                  works" in result.out
    missing = result.out[result.out.index("what it costs") :]
    assert "camera 0" in missing
    assert "connect a webcam" in missing
    assert "display " not in missing


def test_a_machine_that_does_not_tell_its_memory_is_described(cli, monkeypatch, tmp_path) -> None:
    """In a container without /proc."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    result = cli("doctor")
    assert result.code == 0
    assert "memory                   not visible" in result.out


def test_tables_that_do_not_fit_for_one_reason_are_one_line(cli, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        made_table(runtime_version="1.0").save(tmp_path / "latency_tables" / f"{name}.json")
    out = cli("doctor").out
    assert "a.json and 1 more: runtime_version is 1.0, here it is" in out
    assert "b.json" not in out


def test_every_runtime_is_listed_on_the_devices_it_may_use(cli) -> None:
    found = cli("doctor", "--json").document
    listed = [(entry["runtime"], entry["device"].partition(":")[0]) for entry in found["runtimes"]]
    assert set(listed) == {
        ("onnxruntime", "cpu"),
        ("onnxruntime", "cuda"),
        ("tensorrt", "cuda"),
        ("tensorrt-rtx", "cuda"),
    }
    missing = {problem["missing"]: problem["remedy"] for problem in found["problems"]}
    for entry in found["runtimes"]:
        if not entry["works"]:
            assert missing[f"{entry['runtime']} on {entry['device']}"] == entry["problem"]


@pytest.fixture
def one_check(monkeypatch: pytest.MonkeyPatch):
    """Put one function in the place of all checks."""

    def put(function) -> None:
        checks = [contract.Check("a promise", function)]
        monkeypatch.setattr("export.checks.conformance.report.CHECKS", checks)

    return put


def test_selftest_writes_its_report(cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("doctor", "--selftest", "--json")
    assert result.code == 0, result.err
    report = json.loads((tmp_path / "nastool-selftest.json").read_text())
    assert result.document == {**report, "report": "nastool-selftest.json"}
    assert report["running"] is None
    assert report["environment"]["python"] == platform.python_version()
    assert "onnxruntime" in {target["runtime"] for target in report["targets"]}
    assert report["summary"]["failed"] == 0
    assert report["summary"]["passed"] >= 20
    assert sum(report["summary"].values()) == len(report["checks"])
    reasons = [entry["reason"] for entry in report["not_run"]]
    reasons += [entry["reason"] for entry in report["checks"] if entry["outcome"] == "skipped"]
    assert all(reason and "\n" not in reason for reason in reasons)


def test_selftest_ends_with_1_when_a_check_fails(cli, tmp_path, one_check) -> None:
    def broken(target: Target, folder) -> None:
        raise GateError("found [1, 8], not [/8]")

    one_check(broken)
    output = tmp_path / "deep" / "report.json"
    result = cli("doctor", "--selftest", "--output", output)
    assert result.code == 1
    assert "FAILED: 1 of 1 checks" in result.err
    assert "a promise" in result.out
    assert "found [1, 8], not [/8]" in result.out
    assert str(output) in result.out.replace("\n", "")
    (entry,) = json.loads(output.read_text())["checks"]
    assert entry["reason"] == "GateError: found [1, 8], not [/8]"


def test_selftest_that_dies_leaves_the_name_of_the_check(cli, tmp_path, one_check) -> None:
    def dies(target: Target, folder) -> None:
        raise KeyboardInterrupt

    one_check(dies)
    output = tmp_path / "report.json"
    assert cli("doctor", "--selftest", "--output", output).code == 130
    assert json.loads(output.read_text())["running"]["check"] == "a promise"


def test_selftest_where_nothing_opens(cli, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Target, "trouble", lambda self: contract.Trouble(False, "is not there"))
    output = tmp_path / "report.json"
    result = cli("doctor", "--selftest", "--output", output)
    assert result.code == 1
    assert "no runtime opens a model" in result.err
    assert json.loads(output.read_text())["targets"] == []


class FakeGpu(OnnxRuntime):
    """ONNX Runtime on a GPU that is the CPU, with a fault."""

    fault = ""

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        return ("cpu", "cuda")

    @classmethod
    def open_impl(cls, model, kind, index, threads, options) -> Session:
        if kind == "cuda" and cls.fault == "throws":
            raise RuntimeError("illegal memory access\nin kernel 7")
        if kind == "cuda" and cls.fault == "does not load":
            raise BrokenError("CUDA cannot be used (libcudnn.so.9: cannot open): install it")
        session = super().open_impl(model, "cpu", 0, threads, options)
        if kind == "cuda" and cls.fault != "falls back":
            session.device = "cuda:0"
        if kind == "cuda" and cls.fault == "wrong labels":
            right = session.run_impl
            session.run_impl = lambda feeds: {name: x + 1 for name, x in right(feeds).items()}
        return session


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("wrong labels", "runs, but computes wrong labels"),
        ("throws", "RuntimeError: illegal memory access in kernel 7"),
        ("does not load", "libcudnn.so.9: cannot open"),
        ("falls back", "device is cpu"),
    ],
)
def test_a_gpu_that_is_there_and_does_not_work_fails_the_selftest(
    cli, tmp_path, monkeypatch, fault, words
) -> None:
    monkeypatch.setattr(FakeGpu, "fault", fault)
    monkeypatch.setattr("export.runtimes.onnxruntime.runtime.OnnxRuntime", FakeGpu)
    output = tmp_path / "report.json"
    result = cli("doctor", "--selftest", "--output", output)
    assert result.code == 1
    assert "FAILED" in result.out
    assert "FAILED: " in result.err
    report = json.loads(output.read_text())
    found = report["broken"] + [c for c in report["checks"] if c["outcome"] == "failed"]
    assert any(
        (entry["runtime"], entry["device"]) == ("onnxruntime", "cuda:0")
        and words in entry["reason"]
        for entry in found
    )
    assert all(words not in entry["reason"] for entry in report["not_run"])


def test_output_without_selftest(cli) -> None:
    result = cli("doctor", "--output", "x.json")
    assert result.code == 2
    assert "--output is for --selftest" in result.err


def test_output_that_cannot_be_written(cli, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    result = cli("doctor", "--selftest", "--output", tmp_path / "file" / "report.json")
    assert result.code == 2
    assert "cannot be written" in result.err
