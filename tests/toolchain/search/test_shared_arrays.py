import resource
import subprocess
import sys

import numpy as np
import pytest

from export.system.errors import DataError, UsageError
from export.system.files import only_one
from toolchain.search import shared_arrays
from toolchain.search.shared_arrays import SharedArrays, place_arrays


def test_another_process_reads_what_was_put_there(tmp_path):
    filled = SharedArrays(tmp_path)
    filled.new("train.images", (3, 2), np.uint8)[:] = 7
    script = (
        "import sys; from pathlib import Path;"
        "from toolchain.search.shared_arrays import SharedArrays;"
        "print(SharedArrays(Path(sys.argv[1])).load()['train.images'].sum())"
    )
    read = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert read.stdout == "42\n"


def test_arrays_that_are_larger_than_a_file_may_be_are_one_line(tmp_path):
    """Under a quota, or ``ulimit -f``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(DataError, match=r"a\.npy: cannot be written \(File too large\); make"):
            SharedArrays(tmp_path).new("a", (20_000,), np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_a_reader_writes_stays_with_it(tmp_path):
    SharedArrays(tmp_path).new("a", (2,), np.uint8)[:] = 1
    SharedArrays(tmp_path).load()["a"][:] = 9
    assert SharedArrays(tmp_path).load()["a"].tolist() == [1, 1]


@pytest.fixture
def memory_disk(tmp_path, monkeypatch):
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(shared_arrays, "MEMORY_DISK", folder)
    return folder


def test_arrays_are_in_memory_while_they_fit_the_budget_and_gone_afterwards(memory_disk, tmp_path):
    with place_arrays(1000, tmp_path / "run", budget=1000) as small:
        assert small.folder.parent == memory_disk
    assert not small.folder.exists()
    with place_arrays(1001, tmp_path / "run", budget=1000) as large:
        assert large.folder == tmp_path / "run" / "cache"
    assert not large.folder.exists()


def test_too_little_room_is_said_before_it_is_used(memory_disk, tmp_path):
    with pytest.raises(UsageError, match="lower --images or --search-size"):
        place_arrays(10**18, tmp_path / "run")


def test_memory_of_killed_searches_is_freed_and_that_of_running_ones_is_not(memory_disk, tmp_path):
    left = memory_disk / "nastool-left"
    left.mkdir()
    with place_arrays(1, tmp_path / "run") as used:
        assert not left.exists()
        with place_arrays(1, tmp_path / "other") as another:
            assert used.folder.exists()
            assert another.folder != used.folder
    assert not list(memory_disk.iterdir())


def test_two_processes_cannot_search_in_one_folder(tmp_path):
    with only_one(tmp_path / "run"):
        script = (
            "import sys; from export.system.files import only_one\nwith only_one(sys.argv[1]): pass"
        )
        other = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "run")], capture_output=True, text=True
        )
        assert "another process is at work there; wait for it or end it" in other.stderr
        (tmp_path / "run" / "result").write_text("")
    assert (tmp_path / "run" / "result").exists()
    with only_one(tmp_path / "run"), only_one(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()
