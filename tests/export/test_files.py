import math
import os
import stat
import threading
from pathlib import Path

import pytest

from export.errors import DataError
from export.files import read_json, whole_file, write_json


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
