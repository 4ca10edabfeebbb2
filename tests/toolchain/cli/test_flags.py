"""Flags that are read off the settings."""

import json

import pytest

from toolchain.cli.pretrain import pretrain
from toolchain.cli.train import train
from toolchain.settings.training_settings import TrainingSettings


def parameters(command):
    return {parameter.name: parameter for parameter in command.params}


@pytest.mark.parametrize(
    ("command", "without", "of_a_trial"),
    [
        (train, set(), {"genotype", "encoder", "input_size", "working_size", "weights"}),
        (pretrain, {"genotype", "with_search_images"}, set()),
    ],
)
def test_every_setting_of_a_training_is_a_flag(command, without, of_a_trial):
    flags = parameters(command)
    assert set(TrainingSettings.model_fields) - set(flags) == without
    for name, field in TrainingSettings.model_fields.items():
        if name not in without:
            assert f"--{name.replace('_', '-')}" in flags[name].opts
        if name not in without | of_a_trial:
            assert flags[name].help == field.description
            assert flags[name].required == field.is_required()
            assert field.is_required() or flags[name].default == field.default


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--epochs", 0), ("--warm-up", 1), ("--learning-rate", 0), ("--average-half-life", -0.1),
     ("--class-limit", 0.5), ("--hardest-pixels", 0), ("--framed", 1.5), ("--jpeg", 96),
     ("--seed", -1), ("--learning-rate", "nan"), ("--dice-weight", "inf")],
)  # fmt: skip
def test_a_bound_is_checked_and_named(cli, tmp_path, flag, value):
    result = cli(
        "train", "--data", "synthetic:8", "--genotype", "1 [0,1]", "--output", tmp_path, flag, value
    )
    assert result.code == 2
    assert flag in result.err
    assert len(result.err.splitlines()) == 1


def test_every_setting_is_a_key_of_the_configuration(cli, tmp_path):
    """What a file says is trained with, and flags win."""
    network = ("--genotype", "1 [0,1]", "--encoder", "ghostnet-0.1", "--aggregation", 8)
    start = tmp_path / "start"
    size = ("--input-size", 64, "--limit-images", 4, "--epochs", 1)
    begun = cli("train", "--data", "synthetic:8", *network, *size, "--output", start)
    assert begun.code == 0, begun.err
    values = {
        "data": "synthetic:8", "encoder": "ghostnet-0.1", "aggregation": 8, "input-size": 64,
        "working-size": 32,
        "batch-size": 3, "learning-rate": 0.001, "encoder-rate": 0.5, "weight-decay": 0.01,
        "warm-up": 0.2, "gradient-norm": 1.5, "average-half-life": 0.5, "class-power": 0.25,
        "class-limit": 2.5, "dice-weight": 0.75, "auxiliary-weight": 0.05, "limit-images": 4,
        "distillation-weight": 0.1, "augment": False, "with-search-images": True, "seed": 5,
        "epochs": 9, "workers": 0, "device": "cpu", "accumulate": 2, "half": False,
        "keep-every": 3, "hardest-pixels": 0.5, "edge-weight": 0.1, "lovasz-weight": 0.2,
        "mirror": False, "smallest-crop": 0.9, "largest-crop": 1.2, "shift": 0.05, "framed": 0.25,
        "smallest": 0.5, "neighbours": 0.1, "rotation": 10.0, "brightness": 20.0, "contrast": 0.1,
        "rare-share": 0.3, "faceless": 0.25, "class-offsets": False, "start-share": 0.5,
        "weights": str(start / "best.pt"),
        "saturation": 0.2, "tint": 0.05, "blur": 1.0, "noise": 6.0, "jpeg": 50, "degraded": 0.125,
    }  # fmt: skip
    files = {"faceless_images", "teacher", "genotype", "dataset"}
    assert {key.replace("-", "_") for key in values} | files == set(TrainingSettings.model_fields)
    config = tmp_path / "a.toml"
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    output = tmp_path / "out"
    result = cli(
        "train", "--config", config, "--genotype", "1 [0,1]", "--epochs", 1, "--output", output
    )
    assert result.code == 0, result.err
    written = json.loads((output / "config.json").read_text())
    for key, value in {**values, "epochs": 1}.items():
        assert written[key.replace("-", "_")] == value


@pytest.mark.parametrize(
    ("line", "augment"),
    [("augment = false", False), ("no-augment = true", False), ("no-augment = false", True)],
)
def test_what_switches_off_switches_off_in_a_file_too(cli, tmp_path, line, augment):
    (tmp_path / "c.toml").write_text(line)
    arguments = ("--data", "synthetic:40", "--encoder", "ghostnet-0.1", "--input-size", 32)
    result = cli(
        *("train", "--config", tmp_path / "c.toml", *arguments, "--genotype", "1 [0,1]"),
        *("--epochs", 1, "--output", tmp_path / "out"),
    )
    assert result.code == 0, result.err
    saved = json.loads((tmp_path / "out" / "config.json").read_text())
    assert saved["augment"] is augment


def test_what_switches_off_is_true_or_false_in_a_file(cli, tmp_path):
    (tmp_path / "c.toml").write_text('no-augment = "yes"')
    arguments = ("--data", "synthetic:40", "--genotype", "1 [0,1]", "--output", tmp_path / "out")
    result = cli("train", "--config", tmp_path / "c.toml", *arguments)
    assert (result.code, "'no-augment' is true or false, not 'yes'" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("epochs = 1.5", "'--epochs': '1.5' is not a valid integer"),
        ("epochs = true", "'epochs' is a number or a text, not True"),
        ("epochs = {a = 1}", "'epochs' is a number or a text, not {'a': 1}"),
        ("epochs = [1]", "'epochs' is a number or a text, not [1]"),
        ("epochs = 1979-05-27", "'epochs' is a number or a text, not datetime.date(1979, 5, 27)"),
        ("weights = [[1]]", "'weights' is a number or a text, not [1]"),
        ('device = "a\\u0000b"', "'device' is a number or a text, not 'a\\x00b'"),
        ('augment = "yes"', "'augment' is true or false, not 'yes'"),
        ("epochs = 1" + "0" * 5000, "flags.toml: is not TOML"),
        ("epochs = " + "[" * 5000, "flags.toml: is not TOML"),
        ("\xff", "flags.toml: is not UTF-8 text"),
    ],
    ids=lambda text: text[:30],
)
def test_a_value_of_another_kind_is_named(cli, tmp_path, line, words):
    (tmp_path / "flags.toml").write_bytes(line.encode("latin-1"))
    given = ("--data", "synthetic:40", "--genotype", "1 [0,1]", "--output", tmp_path / "out")
    result = cli("train", "--config", tmp_path / "flags.toml", *given)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert words in result.err


@pytest.mark.parametrize("value", ["'nowhere.json'", "['nowhere.json']"])
def test_a_flag_that_may_be_given_several_times_takes_one_value_in_a_file(cli, tmp_path, value):
    (tmp_path / "flags.toml").write_text(f"latency-table = {value}")
    result = cli("cost", "--config", tmp_path / "flags.toml", "1 [0,1]")
    assert result.err.strip() == "nastool: nowhere.json: does not exist (--latency-table)"


def test_a_file_without_an_end_is_not_read_to_it(cli):
    result = cli("cost", "--config", "/dev/zero", "1 [0,1]")
    assert (result.code, "/dev/zero: is larger than 64 MiB" in result.err) == (2, True)
