import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest

from toolchain.genotype import Genotype
from toolchain.search.database import DATABASE
from toolchain.search.storage import STUDY
from toolchain.search.trial import Trial, TrialState
from toolchain.settings.base import Record
from toolchain.settings.search_settings import SearchSettings

Cli = Callable[..., Any]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    generator = random.Random(3)
    path = tmp_path / "published.out"
    path.write_text(
        "".join(
            f"o_reward: {generator.uniform(0.1, 0.7):.2f}, reward: 0.40, Epoch: {number}     , "
            f"params: {generator.uniform(0.3, 1):.2f}, delay: 0.00,flops: 0.00, "
            "mo_params_coe: 1.00, mo_delay_coe: 0.00, mo_flops_coe: 0.00, epoch_time: 36.00   , "
            f"genotype: {Genotype.sample(generator)}\n"
            for number in range(30)
        )
    )
    return path


def make_run(folder: Path, states: list[TrialState]) -> Path:
    folder.mkdir()
    Record(folder, SearchSettings(data="synthetic:100", algorithm="random")).write()
    study = optuna.create_study(
        study_name=STUDY, storage=f"sqlite:///{folder / DATABASE}", direction="maximize"
    )
    generator = random.Random(4)
    for number, state in enumerate(states):
        score = 0.3 + 0.01 * number if state == TrialState.COMPLETE else None
        trial = Trial(
            *(number, str(Genotype.sample(generator)), "", "mobilenetv2", state, score, score),
            parameters=10**6 + number,
            flops=10**9,
            latency_ms={"phone": 20.0 + number},
            seconds=1.5,
        )
        study.add_trial(
            optuna.trial.create_trial(value=score or 0.0, user_attrs={"candidate": asdict(trial)})
        )
    return folder


def test_a_run_and_a_log_in_one_page(cli: Cli, log: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "first", [TrialState.COMPLETE] * 9 + [TrialState.PRUNED])
    output = tmp_path / "pages" / "report.html"
    result = cli("report", run, log, "--output", output, "--json")
    assert result.code == 0, result.err
    document = result.document
    assert document["output"] == str(output)
    assert document["objectives"] == ["score", "params"]
    first, published = document["runs"]
    assert (first["name"], first["trials"], first["front_size"]) == ("first", 10, 9)
    assert first["best_score"] == pytest.approx(0.38)
    assert (published["name"], published["trials"]) == ("published", 30)
    assert 0 < first["hypervolume"] < 0.1
    assert 0 < published["hypervolume"] < 1
    assert output.stat().st_size > 10**6


def test_a_run_alone_is_about_its_latency(cli: Cli, tmp_path: Path) -> None:
    run = make_run(tmp_path / "first", [TrialState.COMPLETE] * 3)
    output = tmp_path / "report.html"
    assert cli("report", run, "--output", output, "--json").document["objectives"] == [
        *("score", "latency@phone")
    ]
    chosen = cli("report", run, "--output", output, "--objectives", "score, flops", "--json")
    assert chosen.document["objectives"] == ["score", "flops"]
    assert chosen.document["runs"][0]["front_size"] == 1


def test_equal_names_are_told_apart(cli: Cli, log: Path, tmp_path: Path) -> None:
    result = cli("report", log, log, "--output", tmp_path / "report.html")
    assert "published (2)" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["nowhere"], "nowhere: is not a run folder"),
        (["broken.out"], "broken.out: line 2 is not a line of a search log"),
        (["empty"], "empty: has no finished trial yet"),
        (["published.out", "--objectives", "score,latency"], "every run has: score, params"),
    ],
)
def test_bad_input_is_one_line(
    cli: Cli,
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.out").write_text(log.read_text().splitlines()[0] + "\nEpoch: 1\n")
    make_run(tmp_path / "empty", [])
    result = cli("report", *arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not Path("report.html").exists()
