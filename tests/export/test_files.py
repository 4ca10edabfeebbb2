import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from export.errors import DataError, UsageError
from export.files import only_one, read_json, unfinished_folder, whole_file, write_json


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
from export.files import unfinished_folder, whole_file
folder = Path(sys.argv[1])
with {WRITERS[writer]}:
    (new / "part" if new.is_dir() else new).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).parents[2]
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
from export.files import only_one
with only_one(sys.argv[1]):
    if os.fork():
        print("owned", flush=True)
    time.sleep(20)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).parents[2]
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
