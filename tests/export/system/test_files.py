import math
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from export.system.errors import DataError, UsageError
from export.system.files import only_one, read_json, unfinished_folder, whole_file, write_json


def test_a_file_appears_whole(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"a": 1})
    assert read_json(tmp_path / "new" / "a.json") == {"a": 1}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": True})

    def fail():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read_json(path) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"a\.json: cannot be written"):
        write_json(tmp_path / "file" / "a.json", {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder: cannot be written"):
        write_json(tmp_path / "folder", {})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


def test_broken_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"a\.json: is not JSON .* may be truncated"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"b\.json: cannot be read"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "nu", "\x00"])
def test_what_no_reader_can_read_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: is not JSON"):
        read_json(tmp_path / "a.json")


def test_a_full_disk_is_one_line_and_leaves_what_was_there(mount):
    disk = mount("tmpfs", "size=64k")
    write_json(disk / "a.json", {"old": True})
    with pytest.raises(DataError, match=r"a\.json: cannot be written \(No space left .*make room"):
        write_json(disk / "a.json", "x" * 100_000)
    with (
        pytest.raises(DataError, match=r"mounted: cannot be written \(No space left"),
        unfinished_folder(disk) as new,
    ):
        (new / "b").write_text("x" * 100_000)
    assert [path.name for path in disk.iterdir()] == ["a.json"]
    assert read_json(disk / "a.json") == {"old": True}


WRITERS = {
    "whole_file": "whole_file(folder / 'result.txt') as new",
    "unfinished_folder": "unfinished_folder(folder) as new",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_next_owner_removes_what_a_killed_writer_left_and_nothing_of_a_living_one(
    tmp_path, writer
):
    script = f"""
import sys, time
from pathlib import Path
from export.system.files import unfinished_folder, whole_file
folder = Path(sys.argv[1])
with {WRITERS[writer]}:
    (new / "part" if new.is_dir() else new).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout.readline() == b"writing\n"
        with only_one(tmp_path):
            assert len(list(tmp_path.glob(".partial-*"))) == 1
        process.kill()
    assert len(list(tmp_path.glob(".partial-*"))) == 1
    with only_one(tmp_path):
        assert not list(tmp_path.glob(".partial-*"))


def test_a_killed_owner_keeps_nobody_out_though_its_children_live(tmp_path):
    script = """
import os, sys, time
from export.system.files import only_one
with only_one(sys.argv[1]):
    if not os.fork():
        print("owned", flush=True)
    time.sleep(20)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=root, start_new_session=True
    ) as process:
        assert process.stdout.readline() == b"owned\n"
        with pytest.raises(UsageError, match="another process is at work"), only_one(tmp_path):
            pass
        process.kill()
        process.wait()
        try:
            with only_one(tmp_path):
                pass
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_folder_that_cannot_be_written_is_not_owned(tmp_path, read_only):
    (tmp_path / "run").mkdir()
    shown = read_only(tmp_path / "run")
    with pytest.raises(DataError, match=r"cannot be written \(Read-only"), only_one(shown):
        pass


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[NaN]", "NaN is no finite number"),
        ("-Infinity", "-Infinity is no finite number"),
        ("1e999", "1e999 is no finite number"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "4300 digits"),
        ("\xff", "is not UTF-8 text"),
    ],
    ids=lambda text: text[:9],
)
def test_what_json_does_not_know_is_refused(tmp_path, text, problem):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"a\.json: .*{problem}"):
        read_json(tmp_path / "a.json")


def test_a_mark_of_the_byte_order_is_no_part_of_a_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "a.json") == {}


def test_a_number_that_is_not_finite_is_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": [math.nan, 1.5], "b": (math.inf,), "c": {"d": -math.inf}})
    assert read_json(tmp_path / "a.json") == {"a": [None, 1.5], "b": [None], "c": {"d": None}}


@pytest.mark.parametrize("name", ["/dev/zero", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_read_whole_is_named(name):
    with pytest.raises(DataError, match=r"is larger than 64 MiB|cannot be read"):
        read_json(name)


def test_a_device_is_written_into(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o600, os.stat("/dev/null").st_rdev)
    except PermissionError:
        pytest.skip("only root makes devices")
    write_json(device, {})
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert [each.name for each in tmp_path.iterdir()] == ["null"]


def test_a_pipe_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_json(tmp_path / "pipe", [1])
    reader.join(5)
    assert found == ["[\n  1\n]\n"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_device_is_named():
    with pytest.raises(DataError, match=r"/dev/full: cannot be written \(No space left"):
        write_json("/dev/full", {})


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(tmp_path, there):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "b.json", tmp_path / "a.json"
    if there:
        target.write_text("old")
        target.chmod(0o600)
    link.symlink_to(Path("elsewhere") / "b.json")
    write_json(link, {})
    assert link.is_symlink()
    assert target.read_text() == "{}\n"
    # What was private stays so.
    assert stat.S_IMODE(target.stat().st_mode) == (0o600 if there else 0o644)


def test_a_link_in_a_circle_is_named(tmp_path):
    (tmp_path / "a.json").symlink_to(tmp_path / "a.json")
    with pytest.raises(DataError, match="leads in a circle"):
        write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").is_symlink()
