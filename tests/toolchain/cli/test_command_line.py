import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import torch

from export.system import command_line, console
from toolchain.cli import COMMANDS
from toolchain.datasets import open_dataset
from toolchain.datasets.writing import write_folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_reads_like_a_manual_page_and_imports_nothing_heavy(command):
    script = (
        "import sys; from toolchain.cli import run; code = run(sys.argv[1:]); "
        "heavy = {'torch', 'onnxruntime', 'optuna', 'cv2', 'plotly', 'scipy'} & set(sys.modules); "
        "print('HEAVY', heavy) if heavy else None; sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, command, "--help"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "HEAVY" not in result.stdout
    assert f"nastool {command}" in result.stdout
    for flag in ("--json", "--config", "--debug"):
        assert flag in result.stdout


def test_help_starts_fast():
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "toolchain.cli", "--help"], capture_output=True, check=True
        )
        times.append(time.perf_counter() - start)
    assert min(times) < 0.6


def test_version_and_unknown(cli):
    assert cli("--version").out.startswith("nastool, version 0.")
    assert cli().code == 2
    assert cli("--help").code == 0


def test_faces_writes_a_folder_that_reads_back(cli, tmp_path):
    result = cli("faces", "--data", "synthetic:3:5", "--output", tmp_path / "f", "--json")
    assert result.document["images"] == 3
    written, drawn = open_dataset(str(tmp_path / "f")), open_dataset("synthetic:3:5")
    for a, b in zip(written, drawn, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.labels, b.labels)
    assert cli("faces", "--output", tmp_path / "f").code == 2


def test_faces_keeps_splits(cli, tmp_path):
    """No image for figures becomes one for training."""
    faces = open_dataset("synthetic:4:5")
    splits = {"train": [0, 2], "test": [1, 3]}
    write_folder([(name, faces.subset(i)) for name, i in splits.items()], tmp_path / "f")
    result = cli("faces", "--data", tmp_path / "f", "--output", tmp_path / "g", "--json")
    assert result.document["images"] == 4
    again = open_dataset(str(tmp_path / "g"))
    assert again.splits == ("train", "test")
    for name, places in splits.items():
        part = open_dataset(str(tmp_path / "g"), name)
        assert part.names == tuple(faces.names[place] for place in places)
        np.testing.assert_array_equal(part.read(1).image, faces.read(places[1]).image)
    assert cli("faces", "--data", tmp_path / "f", "--output", tmp_path / "g").code == 2
    # Nor may a folder without splits be written around them.
    assert cli("faces", "--data", "synthetic:1", "--output", tmp_path / "f").code == 2


def test_faces_on_a_full_disk_leave_no_part_of_a_dataset(cli, mount):
    disk = mount("tmpfs", "size=400k")
    result = cli("faces", "--data", "synthetic:8", "--output", disk / "f")
    assert (result.code, result.out) == (2, "")
    assert "mounted/f: cannot be written (No space left on device); make room" in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not list(disk.iterdir())


def test_faces_keeps_another_label_set(tmp_path):
    from toolchain.datasets.labels import EG1800

    drawn = open_dataset("synthetic:2")
    drawn.label_set = EG1800
    read = drawn.read
    drawn.read = lambda i: type(read(i))(
        read(i).name, read(i).image, (read(i).labels > 0).astype(np.uint8)
    )
    write_folder([(None, drawn)], tmp_path / "f")
    again = open_dataset(str(tmp_path / "f"))
    assert again.label_set == EG1800
    assert set(np.unique(again.read(0).labels)) == {0, 1}


def test_debug_shows_the_traceback():
    from export.system.errors import UsageError
    from toolchain.cli import run

    with pytest.raises(UsageError):
        run(["cost", "hello", "--debug"])


def test_interrupts_end_with_130(cli, monkeypatch):
    import toolchain.networks.costs

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(toolchain.networks.costs, "count", stop)
    import toolchain.profiling.costing as costing

    monkeypatch.setattr(costing, "cost_documents", stop)
    result = cli("cost", "1 [0,1]")
    assert result.code == 130
    assert result.err == "nastool: interrupted\n"


class EndsItself(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def find_no_processor():
    raise RuntimeError("Failed to initialize cpuinfo!")  # what torch says without /proc


def start_a_thread_too_many():
    raise RuntimeError("can't start new thread")  # what Python says when the system refuses


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda: torch.empty(2**50), "there is too little memory; take smaller images or batches"),
        (lambda: np.empty(2**50), "there is too little memory"),
        (
            lambda: next(iter(torch.utils.data.DataLoader(EndsItself(), num_workers=1))),
            "a process that prepared images was ended, perhaps for want of memory; lower --workers",
        ),
        (find_no_processor, "the processor cannot be read; mount /proc and /sys here"),
        (start_a_thread_too_many, "no more threads may be started; end other programs"),
    ],
)
def test_what_the_machine_refuses_is_one_line(capsys, work, words) -> None:
    assert command_line.run(command_line.command("x")(work), []) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nastool: {words}")
    with pytest.raises((MemoryError, RuntimeError)):
        command_line.run(command_line.command("x")(work), ["--debug"])


def test_no_folder_for_temporary_files_is_one_line(cli, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "nowhere")])
    result = cli(
        *("export", "--genotype", "1 [0,1]", "--encoder", "ghostnet-0.1", "--input-size", 64),
        *("--images", 1, "--output", tmp_path / "x"),
    )
    assert result.code == 2
    line = result.err.splitlines()[-1]
    assert line.startswith("nastool: there is no folder for temporary files; make room in one")
    assert not (tmp_path / "x").exists()


def test_an_error_of_the_program_is_no_refusal() -> None:
    def wrong():
        raise RuntimeError("Caught KeyError in DataLoader worker process 0.")

    with pytest.raises(RuntimeError, match="Caught KeyError"):
        command_line.run(command_line.command("x")(wrong), [])


def test_what_libraries_print_does_not_reach_a_json_document() -> None:
    program = """
import os, sys
from export.system.command_line import command, run
from export.system.console import Outcome
@command("x")
def x():
    print("from Python")
    os.write(1, b"from beneath\\n")
    return Outcome({"answer": 42}, "42")
sys.exit(run(x, sys.argv[1:]))
"""
    for flags, words in ((["--json"], '{\n  "answer": 42\n}\n'), ([], "42\n")):
        done = subprocess.run(
            [sys.executable, "-c", program, *flags], capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith(words)
        if flags:
            assert json.loads(done.stdout) == {"answer": 42}
            assert "from Python" in done.stderr
            assert "from beneath" in done.stderr


def test_odd_names_of_files_are_written_as_they_are(tmp_path):
    """Brackets and colons are no markup, bytes that are no text no error."""
    folder = os.fsencode(tmp_path) + b"/a [b]x[ :smile: %s {} \xc3\xbc \xff"
    script = "import sys; from toolchain.cli import run; sys.exit(run(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", script, "faces", "--data", "synthetic:1", "--output", folder],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert result.returncode == 0, result.stderr
    assert b"a [b]x[ :smile: %s {} \xc3\xbc \\udcff" in result.stdout
    assert len(os.listdir(folder + b"/images")) == 1


def test_a_path_with_brackets_is_shown_as_it_is(cli, tmp_path, capsys):
    outcome = console.lines(f"Wrote {tmp_path}/a[/b].html", console.table(["[red]"], [["[/]:x:"]]))
    console.show(outcome)
    shown = capsys.readouterr().out
    assert "a[/b].html" in shown
    assert "[red]" in shown
    assert "[/]:x:" in shown


def test_an_error_is_one_line_without_codes_for_terminals(cli):
    result = cli("cost", "a\nb\x1b[31m.json")
    assert result.code == 2
    assert result.err == "nastool: a\\nb\\x1b[31m.json: does not exist\n"


def test_an_error_does_not_repeat_all_of_a_long_text(cli, tmp_path):
    given = ("--data", "synthetic:160", "--run", tmp_path / "run")
    result = cli("search", *given, "--objective", "x" * 100_000)
    assert (result.code, len(result.err) < 2100) == (2, True)


@pytest.mark.parametrize("command", [["cost", "1 [0,1]"], ["encoders"]])
def test_a_current_folder_that_was_removed_is_one_line(cli, tmp_path, monkeypatch, command):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = cli(*command)
    assert (result.code, result.out) == (2, "")
    assert result.err == ("nastool: the current folder was removed; change to one that is there\n")
