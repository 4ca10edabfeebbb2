from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.toolchain.search.stand_in import searched

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs that compare, and one that does not."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("a1", "a2", "b1", "b2"):
        searched(folder / name, seed=int(name[1]), algorithm="tpe" if name[0] == "b" else "random")
    searched(folder / "other", trials=2, input_size=256)
    (folder / "empty").mkdir()
    return folder


def test_two_runs(cli: Cli, runs: Path) -> None:
    result = cli("compare", runs / "a1", runs / "b1")
    assert result.code == 0, result.err
    assert "The hypervolume is the mean of the best score within a cost limit" in result.out
    # The table has a line for each.
    assert [line.split()[0] for line in result.out.splitlines()[3:5]] == ["a1", "b1"]
    document = cli("compare", runs / "a1", runs / "b1", "--json").document
    assert document["objectives"] == ["score", "params", "flops"]
    assert [side["name"] for side in document["sides"]] == ["a1", "b1"]
    assert document["difference"]["method"] == "bootstrap"
    assert document["differing_settings"] == {"algorithm": [["random"], ["tpe"]]}
    ends = [side["hypervolume"] for side in document["sides"]]
    assert document["difference"]["hypervolume"] == pytest.approx(ends[1] - ends[0])


def test_several_runs_a_side(cli: Cli, runs: Path) -> None:
    sides = ["--against", runs / "b1", "--against", runs / "b2", "--objectives", "score, flops"]
    document = cli("compare", runs / "a1", runs / "a2", *sides, "--json").document
    assert document["objectives"] == ["score", "flops"]
    assert document["difference"]["method"] == "welch"
    assert [side["name"] for side in document["sides"]] == ["a", "b"]
    assert [len(side["runs"]) for side in document["sides"]] == [2, 2]


def test_a_run_against_itself(cli: Cli, runs: Path) -> None:
    result = cli("compare", runs / "a1", runs / "a1")
    assert "No difference can be seen" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["a1"], "1 runs and no --against: give two runs"),
        (["a1", "a2", "b1"], "3 runs and no --against: give two runs"),
        (["a1", "a2", "--against", "b1"], "give one each, or several each"),
        (["a1", "other"], "a1 and other do not compare: --input-size was 512 and 256"),
        (["a1", "empty"], "empty: is not a run folder"),
        (["a1", "b1", "--objectives", "score,latency"], "every run has: score, params, flops"),
    ],
)
def test_bad_input_is_one_line(
    cli: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(runs)
    result = cli("compare", *arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1
