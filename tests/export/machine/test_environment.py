import json
import os
import platform
from importlib import metadata
from pathlib import Path

import cv2
import psutil
import pytest

from export.checks import diagnosis
from export.checks.diagnosis import diagnose
from export.machine import environment


def test_describe_is_json_and_true() -> None:
    found = json.loads(json.dumps(environment.describe()))
    assert found["python"] == platform.python_version()
    assert found["cpu"]["threads"] == os.cpu_count()
    assert found["cpu"]["model"]
    assert found["packages"]["onnx"] == metadata.version("onnx")
    assert found["memory_bytes"] > 2**28
    assert len(found["load_average"]) == 3


def test_a_machine_that_does_not_tell_its_memory_is_described(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a container without /proc, from which psutil reads."""
    assert environment.free_memory() > 2**26
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert environment.free_memory() == 0
    assert environment.describe()["memory_bytes"] is None


def test_diagnosis_opens_real_sessions(capfd: pytest.CaptureFixture[str]) -> None:
    found = diagnose()
    assert capfd.readouterr() == ("", "")
    cpu = found["runtimes"][0]
    assert (cpu["runtime"], cpu["device"], cpu["works"]) == ("onnxruntime", "cpu", True)
    for problem in found["problems"]:
        assert all(problem[key] for key in ("missing", "cost", "remedy"))


def test_runtime_that_computes_nonsense_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Liar:
        def __enter__(self) -> "Liar":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def run(self, feeds):
            return {"labels": feeds["image"][..., 0]}

    runtime = diagnosis.get_runtime("onnxruntime")
    monkeypatch.setattr(runtime, "open", lambda *_: Liar())
    first = diagnose()["problems"][0]
    assert (first["missing"], first["remedy"]) == (
        "onnxruntime on cpu",
        "runs, but computes wrong labels",
    )


@pytest.mark.parametrize(
    ("platform_name", "variables", "toolkit", "works"),
    [
        ("linux", {"DISPLAY": ":0"}, "QT5", True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, "GTK3", True),
        ("linux", {}, "QT5", False),
        ("linux", {"DISPLAY": ":0"}, "NONE", False),
        ("darwin", {}, "COCOA", True),
    ],
)
def test_display(
    monkeypatch: pytest.MonkeyPatch,
    platform_name: str,
    variables: dict[str, str],
    toolkit: str,
    works: bool,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(diagnosis.sys, "platform", platform_name)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"x\n  GUI:      {toolkit}\n")
    display = [p for p in diagnose()["problems"] if p["missing"] == "display"]
    assert (not display) is works
