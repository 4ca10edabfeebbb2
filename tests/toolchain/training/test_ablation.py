import dataclasses
import json

import numpy as np
import pytest

from export.system.errors import UsageError
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import open_part
from toolchain.training.ablation import Switch, ablate, main_effects, plan
from toolchain.training.checkpoints import read_checkpoint, save_checkpoint

SWITCHES = [Switch.parse("dice-weight=1,0"), Switch.parse("--mirror=true,false")]


@pytest.mark.parametrize(("switches", "rows"), [(1, 8), (7, 8), (8, 16), (15, 16)])
def test_a_plan_is_orthogonal(switches, rows):
    """Each pair of values of each two switches comes as often."""
    table = plan(switches)
    assert table.shape == (rows, switches)
    assert not table[0].any()
    for one in range(switches):
        assert table[:, one].sum() == rows // 2
        for other in range(one):
            pairs = table[:, one] * 2 + table[:, other]
            assert np.bincount(pairs, minlength=4).tolist() == [rows // 4] * 4


def test_effects_are_found_among_noise_and_seeds():
    switches = [Switch("dice_weight", i, i + 1) for i in range(5)]
    table, true = plan(5), np.array([0.03, 0, -0.02, 0.0, 0.01])
    chance = np.random.default_rng(3)
    covered = []
    for _ in range(200):
        seeds = np.array([0.7, 0.75])  # no error: the same for all rows
        noise = chance.normal(0, 0.004, (8, 2))
        effects = main_effects(switches, table, (table @ true)[:, None] + seeds + noise)
        found = np.array([effect.effect for effect in effects])
        covered += list(np.abs(found - true) <= effects[0].within)
        assert np.abs(found - true).max() < 0.012
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_without_rows_to_spare_nothing_is_known_of_the_error():
    switches = [Switch("dice_weight", 0, 1)] * 7
    effects = main_effects(switches, plan(7), np.arange(8.0)[:, None])
    assert all(effect.within is None for effect in effects)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dice-weight", "is not FLAG=VALUE,VALUE"),
        ("dice-weight=1,2,3", "is not FLAG=VALUE,VALUE"),
        ("lice-weight=0,1", "has no flag --lice-weight"),
        ("seed=1,2", "give --seeds"),
    ],
)
def test_a_switch_that_is_none_is_named(text, problem):
    with pytest.raises(UsageError, match=f"--switch {text}.*{problem}"):
        Switch.parse(text)


def settings_of(configure, **changes):
    return configure(epochs=1, **changes).model_dump()


def test_a_switch_between_equal_values_is_refused_before_any_training(tmp_path, configure):
    switches = [Switch.parse("dice-weight=1,1.0"), Switch.parse("mirror=true,false")]
    with pytest.raises(UsageError, match=r"--switch dice-weight=1,1\.0: both values are the same"):
        ablate(settings_of(configure), switches, tmp_path, seeds=1, framing=(), resume=False)
    assert not list(tmp_path.iterdir())


def test_a_plan_is_trained_and_resumed(tmp_path, configure, monkeypatch):
    settings = settings_of(configure)
    document = ablate(settings, SWITCHES, tmp_path, seeds=1, framing=(0.5,), resume=False)
    assert json.loads((tmp_path / "ablation.json").read_text()) == document
    rows = plan(2)
    for row, training in enumerate(document["trainings"]):
        expected = {
            "dice_weight": [1.0, 0.0][rows[row, 0]],
            "mirror": [True, False][rows[row, 1]],
        }
        assert training["settings"] == expected
        folder = tmp_path / f"row-{row}-seed-0"
        written = json.loads((folder / "config.json").read_text())
        assert {name: written[name] for name in expected} == expected
        info, _ = read_checkpoint(folder / "best.pt")
        assert training["mean_f1"]["1"] == info.training["mean_f1"]
    assert set(document["effects"]) == {"1", "0.5"}
    results = np.array([[one["mean_f1"]["1"]] for one in document["trainings"]])
    by_hand = results[rows[:, 1] == 1].mean() - results[rows[:, 1] == 0].mean()
    assert document["effects"]["1"][1]["effect"] == pytest.approx(by_hand)
    (tmp_path / "ablation.json").unlink()
    with pytest.raises(UsageError, match="continue it with --resume"):
        ablate(settings, SWITCHES, tmp_path, seeds=1, framing=(), resume=False)
    again = ablate(settings, SWITCHES, tmp_path, seeds=1, framing=(0.5,), resume=True)
    assert again == document


def test_what_is_wrong_shows_before_the_first_training(tmp_path, configure):
    for switches, problem in (
        ([], "--switch once, and one at least"),
        (SWITCHES[:1] * 2, "--switch once, and one at least"),
        ([Switch.parse("epochs=1,0")], "--epochs"),
    ):
        with pytest.raises(UsageError, match=problem):
            ablate(
                settings_of(configure), switches, tmp_path / "a", seeds=1, framing=(), resume=False
            )
    assert not (tmp_path / "a").exists()


def test_weights_that_know_the_images_of_the_results(tmp_path, configure, info, network):
    images = open_part("synthetic:24", "search-score")
    knowing = dataclasses.replace(info, seen=SeenImages.of(images).encode())
    save_checkpoint(tmp_path / "knowing.pt", knowing, network.state_dict())
    settings = settings_of(configure, weights=tmp_path / "knowing.pt")
    with pytest.raises(UsageError, match=f"know {len(images)} of the {len(images)} images"):
        ablate(settings, SWITCHES, tmp_path / "a", seeds=1, framing=(), resume=False)
    assert not (tmp_path / "a").exists()


def test_the_command_line(cli, tmp_path):
    result = cli(
        "ablate", "--data", "synthetic:24", "--genotype", "1 [0,1]", "--encoder", "ghostnet-0.1",
        "--aggregation", 8, "--input-size", 32, "--epochs", 1, "--seeds", 1, "--output",
        tmp_path / "a", "--switch", "framed=0.5,0",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "framed" in result.out
    assert "mean F1 " in result.out
