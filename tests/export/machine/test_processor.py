"""Processors told apart, and what a process may use of one."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from export.machine import processor
from export.machine.processor import identity, usable_cores

MILAN = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC
flags\t\t: fpu sse2 avx2
"""
GENOA = MILAN.replace("model\t\t: 1", "model\t\t: 17").replace("avx2", "avx2 avx512f avx512_vnni")
PI = """processor\t: 0
Features\t: fp asimd evtstrm asimdhp cpuid asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd0b

processor\t: 1
CPU implementer\t: 0x41
CPU part\t: 0xd05
"""
PRINT_CORES = "from export.machine.processor import usable_cores; print(usable_cores())"


def test_two_processors_of_one_name_differ() -> None:
    milan, genoa = identity(MILAN, None), identity(GENOA, None)
    assert milan["model"] == genoa["model"] == "AMD EPYC"
    assert (milan["family"], milan["number"], milan["vector"]) == ("25", "1", ["avx2"])
    assert (genoa["number"], genoa["vector"]) == ("17", ["avx2", "avx512f", "avx512_vnni"])


def test_a_board_is_known_by_its_device_tree() -> None:
    found = identity(PI, "Raspberry Pi 5 Model B Rev 1.0")
    assert found["model"] == found["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert found["parts"] == ["0x41/0xd05", "0x41/0xd0b"]
    assert found["vector"] == ["asimd", "asimdhp", "dotprod"]


@pytest.mark.parametrize("text", ["", "\n\n", "prose, not fields", "a:b:c\n:\n"])
def test_a_file_of_something_else_is_an_unknown_processor(text: str) -> None:
    found = identity(text, None)
    assert (found["family"], found["vector"], found["parts"]) == (None, [], [])


def test_a_clock_that_throws_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def throw() -> None:
        raise OSError("Invalid argument")

    monkeypatch.setattr(psutil, "cpu_freq", throw)
    assert processor.describe()["mhz"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="affinity and control groups are Linux's")
class TestWhatAProcessMayUse:
    def test_one_allowed_core(self) -> None:
        allowed = min(os.sched_getaffinity(0))
        script = f"import os; os.sched_setaffinity(0, [{allowed}]); {PRINT_CORES}"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == 1

    def test_a_real_control_group(self) -> None:
        folder = Path("/sys/fs/cgroup/cpu/nastool-test")
        try:
            folder.mkdir()
        except OSError as error:
            pytest.skip(f"no control group can be made here ({error.strerror})")
        try:
            (folder / "cpu.cfs_quota_us").write_text("100000")
            script = f"open('{folder}/tasks', 'w').write('0'); {PRINT_CORES}"
            done = subprocess.run(
                [sys.executable, "-c", script], capture_output=True, text=True, check=True
            )
            assert int(done.stdout) == 1
        finally:
            folder.rmdir()

    @pytest.mark.parametrize(
        ("groups", "files", "quotas"),
        [
            ("0::/\n", {"cpu.max": "150000 100000"}, [1.5]),
            ("0::/\n", {"cpu.max": "max 100000"}, []),
            ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, [3.0]),
            (
                "4:memory:/x\n3:cpu,cpuacct:/x\n",
                {"cpu,cpuacct/x/cpu.cfs_quota_us": "50000",
                 "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
                [0.5],
            ),
            ("3:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "1"}, []),
        ],
    )  # fmt: skip
    def test_quotas_of_both_kinds_of_groups(
        self, tmp_path: Path, groups: str, files: dict[str, str], quotas: list[float]
    ) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        assert list(processor._quotas(tmp_path, groups)) == quotas

    def test_a_share_of_a_core_is_one_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(processor, "_quotas", lambda: iter([0.5]))
        assert usable_cores() == 1

    def test_siblings_are_one_core(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(processor, "allowed_cores", lambda: {0, 1, 2, 3})
        monkeypatch.setattr(processor, "_quotas", lambda: iter([]))
        siblings = {"cpu0": "0-1", "cpu1": "0-1", "cpu2": "2-3", "cpu3": "2-3"}
        monkeypatch.setattr(processor, "_read", lambda path: siblings[path.parts[5]])
        assert usable_cores() == 2
