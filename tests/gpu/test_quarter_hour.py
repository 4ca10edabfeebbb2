"""The quarter of an hour on a GPU, without one: what is told, and that time is kept."""

import json
import sys
from pathlib import Path

import click
import pytest
from quarter_hour import Result, Step, run_all, run_step, steps, write_report

from toolchain.cli import nastool

SLEEPS = "import time; time.sleep(60)"
FAILS = "import sys; print('nastool: x: is broken', file=sys.stderr); sys.exit(2)"
TELLS = "print('{\"answer\": 42}')"


def outcome(code: str, folder: Path, seconds: float = 20, **told: object) -> Result:
    step = Step("a step", [], 60, **told)  # type: ignore[arg-type]
    return run_step(step, seconds, folder, [sys.executable, "-c", code])


def test_a_step_tells_its_figures_and_keeps_what_it_printed(tmp_path: Path) -> None:
    result = outcome(TELLS, tmp_path, tell=lambda document: {"twice": 2 * document["answer"]})
    assert (result.outcome, result.figures) == ("passed", {"twice": 84})
    assert json.loads((tmp_path / "a-step.json").read_text()) == {"answer": 42}


def test_a_step_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    result = outcome(SLEEPS, tmp_path, seconds=0.5)
    assert result.outcome == "stopped after 0 s"
    assert result.seconds < 10


def test_a_step_that_fails_says_its_last_line(tmp_path: Path) -> None:
    result = outcome(FAILS, tmp_path)
    assert (result.outcome, result.problem) == ("exit code 2", "nastool: x: is broken")


def test_what_a_step_prints_in_another_form_ends_nothing(tmp_path: Path) -> None:
    assert outcome("print('no document')", tmp_path).outcome.startswith("JSONDecodeError: ")
    told = outcome(TELLS, tmp_path, tell=lambda document: {"x": document["nothing"]})
    assert told.outcome == "KeyError: 'nothing'"


def test_steps_without_time_or_runtime_are_not_run_and_the_report_says_so(tmp_path: Path) -> None:
    todo = [Step("engines", ["doctor"], 9, needs="tensorrt"), Step("late", ["doctor"], 9)]
    results = run_all(todo, tmp_path, 0, {"onnxruntime"}, device="cpu")
    assert [r.outcome for r in results] == [
        "not run: tensorrt does not work here",
        "not run: no time left",
    ]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["machine"] == {"device": "cpu"}
    assert [step["name"] for step in report["steps"]] == ["engines", "late"]
    assert "no time left" in (tmp_path / "report.md").read_text()


def test_the_report_is_whole_at_all_times(tmp_path: Path) -> None:
    write_report(tmp_path, [Result("a", "passed", 1.5, {"x": 1}, "nastool a")], {})
    assert "| a | passed  | 1.5 | x 1 |" in (tmp_path / "report.md").read_text()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_every_step_is_a_command_with_flags_that_it_has(device: str, tmp_path: Path) -> None:
    names = set()
    for step in steps(device, "synthetic:200", tmp_path):
        command = nastool.get_command(click.Context(nastool), step.arguments[0])
        assert command is not None
        flags = {flag for parameter in command.params for flag in parameter.opts}
        given = {argument for argument in step.arguments if argument.startswith("--")}
        assert given <= flags, step.name
        names.add(step.name)
    # Whatever only a GPU can show; on a CPU there are no engines.
    shown = {"self-test", "training", "search", "export onnxruntime", "table onnxruntime fp16"}
    assert shown <= names
    assert ("table tensorrt-rtx fp16" in names) == (device != "cpu")
