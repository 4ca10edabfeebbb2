import subprocess
import sys
import time

import numpy as np
import pytest

from toolchain.cli import COMMANDS
from toolchain.datasets import open_dataset


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


def test_faces_keeps_another_label_set(tmp_path):
    from toolchain.datasets.labels import EG1800
    from toolchain.datasets.writing import write_folder

    drawn = open_dataset("synthetic:2")
    drawn.label_set = EG1800
    read = drawn.read
    drawn.read = lambda i: type(read(i))(
        read(i).name, read(i).image, (read(i).labels > 0).astype(np.uint8)
    )
    write_folder(drawn, tmp_path / "f")
    again = open_dataset(str(tmp_path / "f"))
    assert again.label_set == EG1800
    assert set(np.unique(again.read(0).labels)) == {0, 1}


def test_debug_shows_the_traceback():
    from export.errors import UsageError
    from toolchain.cli import run

    with pytest.raises(UsageError):
        run(["cost", "hello", "--debug"])


def test_interrupts_end_with_130(cli, monkeypatch):
    import toolchain.costs

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(toolchain.costs, "count", stop)
    import toolchain.profiling.costing as costing

    monkeypatch.setattr(costing, "cost_documents", stop)
    result = cli("cost", "1 [0,1]")
    assert result.code == 130
    assert result.err == "nastool: interrupted\n"
