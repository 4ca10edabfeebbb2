"""A process that is asked to end, in every way in which one is; the signals are real."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from pathlib import Path
from export.system import command_line, console
from export.system.files import unfinished_folder

folder = Path(sys.argv.pop())

@command_line.command("work")
def work():
    with unfinished_folder(folder):
        try:
            print("at work", flush=True)
            time.sleep(60)
        finally:
            time.sleep(0.3)  # an orderly end takes a moment
            print("in order", flush=True)

command_line.main(work)
"""
ROOT = Path(__file__).parents[3]


def start(folder, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )
    assert process.stdout.readline() == "at work\n"
    return process


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_ends_in_order_however_often_it_is_asked(tmp_path, number, times):
    process = start(tmp_path)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.05)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "in order\n", "nastool: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_what_is_ignored_stays_ignored(tmp_path):
    """As nohup has it."""
    process = start(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    assert process.communicate(timeout=30)[1] == "nastool: interrupted\n"


WRITE = """
from export.system import command_line, console
command_line.main(command_line.command("w")(lambda: console.Outcome({}, "x" * 500_000)))
"""


def test_a_reader_that_has_seen_enough_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-c", WRITE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_full_disk_under_the_output_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", WRITE], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert (done.returncode, done.stderr) == (2, "nastool: No space left on device\n")


CLOSED = """
import os, sys
from export.system import command_line

path = sys.argv.pop()

@command_line.command("work")
def work():
    with open(path, "w") as file:
        for number in (1, 2):
            os.write(number, b"of a library")
        os.system("echo of a child; echo of a child >&2")
        print("a word", file=sys.stderr)
        file.write(f"a result, {min(file.fileno(), 3)}, {sys.stdin.read()!r}")
    return command_line.Outcome({}, "done")

command_line.main(work)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_do_not_end_in_files(tmp_path, closed):
    command = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    program = [sys.executable, "-c", CLOSED, str(tmp_path / "file")]
    done = subprocess.run(
        command + program, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == "a result, 3, ''"
    assert ("done" in done.stdout) is (" >&-" not in f" {closed}")
