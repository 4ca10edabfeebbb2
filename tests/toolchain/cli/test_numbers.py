"""No number, in no flag of no command, is taken that is not finite and in range."""

import importlib

import click
import pytest

from toolchain.cli import COMMANDS
from toolchain.cli.search import search

NUMBERS = (click.types.IntParamType, click.types.FloatParamType)
NONE = ("nan", "inf", "-inf", "1e999", "-2", str(10**30))


def commands():
    """Yield the words and the object of every command, those in groups too."""
    for name, (place, _) in COMMANDS.items():
        module, attribute = place.split(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                yield (name, inner.name), inner
        else:
            yield (name,), command


FLAGS = [
    (words, command, parameter)
    for words, command in commands()
    for parameter in command.params
    if isinstance(parameter.type, NUMBERS)
]


def required(command):
    """Return arguments that name nothing that there is, so that a number must be what is wrong."""
    given = []
    for parameter in command.params:
        if parameter.required:
            given += [parameter.opts[0]] if isinstance(parameter, click.Option) else []
            given.append("nowhere")
    return given


def test_there_are_numbers_in_most_commands():
    assert len(FLAGS) > 100
    assert len({words for words, *_ in FLAGS}) > 12


@pytest.mark.parametrize(
    ("words", "command", "parameter"), FLAGS, ids=lambda value: getattr(value, "name", None)
)
def test_a_flag_takes_no_such_number(cli, tmp_path, words, command, parameter):
    flag = parameter.opts[0]  # the others are former names
    config = tmp_path / "flags.toml"
    for value in NONE:
        text = f"[{value}]" if parameter.multiple else value
        config.write_text(f"{flag.removeprefix('--')} = {text}")
        for given in ([flag, value], ["--config", config]):
            result = cli(*words, *given, *required(command))
            assert result.code == 2, (given, result.err)
            assert flag in result.err
            assert len(result.err.strip().splitlines()) == 1
            assert result.out == ""


@pytest.mark.parametrize("flag", ["--input-size", "--working-size"])
@pytest.mark.parametrize(
    "command", ["search", "train", "pretrain", "cost", "profile-device", "export"]
)
@pytest.mark.parametrize("size", [0, 33, 10**6 * 32])
def test_a_size_is_a_multiple_of_32_up_to_8192(cli, tmp_path, command, flag, size):
    given = {
        "search": ["--data", "synthetic:160", "--run", tmp_path / "run"],
        "train": ["--data", "synthetic:40", "--genotype", "1 [0,1]", "--output", tmp_path / "out"],
        "pretrain": ["--data", "synthetic:40", "--output", tmp_path / "out"],
        "cost": ["1 [0,1]"],
        "profile-device": [],
        "export": ["--genotype", "1 [0,1]", "--output", tmp_path / "out"],
    }[command]
    result = cli(command, *given, flag, size)
    assert (result.code, len(result.err.strip().splitlines())) == (2, 1)
    assert flag in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spec",
    ["", "0", "-1", "1.5", "1e3", "nan", "²", "٣", "1000001", "9" * 5000, "5:-1", "5:" + "9" * 50],
)
def test_a_count_of_drawn_faces_is_a_number_up_to_a_million(cli, tmp_path, spec):
    result = cli("faces", "--data", f"synthetic:{spec}", "--output", tmp_path / "out")
    assert result.code == 2
    assert "COUNT from 1 to 1000000" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("command", ["search", "train", "pretrain"])
def test_one_or_two_faces_are_too_few_to_learn_from(cli, tmp_path, command, count):
    place = "--run" if command == "search" else "--output"
    genotype = ["--genotype", "1 [0,1]"] if command == "train" else []
    result = cli(command, "--data", f"synthetic:{count}", place, tmp_path / "out", *genotype)
    assert result.code == 2
    assert "images in all" in result.err
    assert list(tmp_path.iterdir()) == []


AMOUNTS = (
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-5M",
    "0",
    "0M",
    "1e99999999999",
    "１M",
    "",
    "M",
    "0x10M",
    "1_000",
)


@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("flag", ["--objective", "--budget"])
def test_an_amount_is_a_finite_number_above_0(cli, tmp_path, flag, amount):
    text = f"params:{amount}:-0.3" if flag == "--objective" else f"params<={amount}"
    result = cli("search", "--data", "synthetic:160", "--run", tmp_path / "run", flag, text)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert repr(amount) in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "rest",
    [
        "nan",
        "inf",
        "-inf",
        "0",
        "0.3",
        "-1e-400",
        "-11",
        "-1:nan",
        "-1:inf",
        "-1:0",
        "-1:-1",
        "-1:1:1",
        "",
        "x",
    ],
)
def test_an_exponent_is_below_0_and_a_weight_above(cli, tmp_path, rest):
    given = ("--data", "synthetic:160", "--run", tmp_path / "run")
    result = cli("search", *given, "--objective", f"params:1M:{rest}")
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert f"params:1M:{rest}" in result.err
    assert list(tmp_path.iterdir()) == []


def test_help_does_not_state_limits_that_nobody_meets(cli):
    assert "1000000000" not in cli(search.name, "--help").out
