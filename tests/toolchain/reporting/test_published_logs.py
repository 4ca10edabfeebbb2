from pathlib import Path

import pytest

from export.system.errors import DataError
from toolchain.reporting.logs import read_log
from toolchain.reporting.report import open_series
from toolchain.search.run import TrialState

LOGS = Path(__file__).parents[4] / "shared" / "logs"
LINE = (
    "o_reward: 0.59, reward: 0.46, Epoch: 7     , params: 0.66, delay: 2.24,flops: 2.98, "
    "mo_params_coe: 0.85, mo_delay_coe: 0.66, mo_flops_coe: 0.76, epoch_time: 67.33   , "
    "genotype: [[7, [1, 0, 8, 0], [0, 1, 7, 3]], [[2, 0], [3, 1]]]"
)


def write(folder: Path, *lines: str) -> Path:
    path = folder / "search.out"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_line_becomes_a_trial(tmp_path: Path) -> None:
    [trial] = read_log(write(tmp_path, LINE)).trials
    assert (trial.id, trial.state) == (7, TrialState.COMPLETE)
    assert (trial.score, trial.reward, trial.seconds) == (0.59, 0.46, 67.33)
    assert (trial.parameters, trial.flops) == (660_000, 2_980_000_000)
    assert trial.latency_ms == {"delay": pytest.approx(2240)}
    assert trial.genotype == "[[7, [1, 0, 8, 0], [0, 1, 7, 3]], [[2, 0], [3, 1]]]"


def test_costs_that_were_not_measured_are_absent(tmp_path: Path) -> None:
    line = LINE.replace("delay: 2.24,flops: 2.98", "delay: 0.00,flops: 0.00")
    [trial] = read_log(write(tmp_path, line)).trials
    assert trial.latency_ms == {}
    assert (trial.parameters, trial.flops) == (660_000, 0)


def test_no_two_series_have_one_name(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a (2).out", "x/a.out", "y/a.out", "z/a.out")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text(LINE + "\n")
    names = [one.name for one in open_series(files)]
    assert names == ["a (2)", "a", "a (3)", "a (4)"]


def test_blank_lines_do_not_shift_line_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, LINE, "", "o_reward: nothing")
    with pytest.raises(DataError, match=r"search\.out: line 3 is not a line of a search log"):
        read_log(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE[: len(LINE) // 2], "line 1 is not a line of a search log"),
        (LINE.replace("0.46", "nan"), "line 1 is not a line of a search log"),
        (LINE.replace("[3, 1]]]", "[3, 9]]]"), "line 1: genotype: connection 2, second map: 9"),
        (LINE[:-1], "line 1: .* is not a genotype"),
        ("", "is empty"),
    ],
)
def test_broken_logs_name_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"search\.out: {message}"):
        read_log(write(tmp_path, line))


def test_a_binary_file_is_not_a_log(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_log(path)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rows", "best", "delays"),
    [
        ("search-2020-06-20-three-costs.out", 599, 0.75, 599),
        ("search-2020-07-23-accuracy-only.out", 1122, 0.64, 0),
    ],
)
def test_every_row_of_the_published_logs(name: str, rows: int, best: float, delays: int) -> None:
    if not LOGS.exists():
        pytest.skip("no published logs in ../shared/logs")
    trials = read_log(LOGS / name).trials
    assert len(trials) == rows
    assert max(trial.score or 0 for trial in trials) == best
    assert sum(bool(trial.latency_ms) for trial in trials) == delays
    assert all(trial.parameters for trial in trials)
