"""What the command line says of itself: groups of flags, completion, what may be meant."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from toolchain.cli import COMMANDS, nastool

ROOT = Path(__file__).parents[3]
MANY = 8
"""Flags of a command's own, beyond which they are read in groups alone."""
OWN = {"as_json", "config", "debug"}


def every_command():
    with click.Context(nastool) as context:
        for name in COMMANDS:
            command = nastool.get_command(context, name)
            children = getattr(command, "commands", {"": command})
            yield from ((f"{name} {child}".strip(), one) for child, one in children.items())


@pytest.mark.parametrize(("name", "command"), list(every_command()), ids=lambda value: str(value))
def test_many_flags_are_in_groups_and_those_that_matter_first(name, command):
    flags = {each.name for each in command.params if isinstance(each, click.Option)} - OWN
    if len(flags) < MANY:
        return
    groups = [[flag for flag in names if flag in flags] for names in command.groups.values()]
    assert 4 <= len(groups[0]) <= 8
    listed = [flag for group in groups for flag in group]
    assert len(set(listed)) == len(listed)
    assert set(listed) == flags
    shown = command.get_help(click.Context(command, info_name=name))
    for each in command.params:
        if isinstance(each, click.Option):
            assert each.opts[0] in shown


def test_groups_name_no_flag_that_there_is_not(cli):
    # Settings are shared by commands: each flag of a group is one of some command.
    known = {parameter.name for _, command in every_command() for parameter in command.params}
    named = {flag for _, c in every_command() for names in c.groups.values() for flag in names}
    assert named <= known


def test_earlier_names_of_flags_are_taken_and_not_shown(cli):
    assert "--limit-images" not in cli("evaluate", "--help").out
    assert "--images" in cli("evaluate", "--help").out
    result = cli("evaluate", "x.onnx", "--data", "synthetic:8", "--limit-images", "none")
    assert "Invalid value for '--images'" in result.err
    result = cli("search", "--data", "nowhere", "--run", "r", "--search-validation", 8)
    assert "nowhere: is not a folder" in result.err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["serch"], "Did you mean 'search'?"),
        (["profile"], "Did you mean 'profile-device'?"),
        (["table", "shwo"], "Did you mean 'show'?"),
        (["search", "--trails", 3], "Did you mean '--trials'?"),
    ],
)
def test_what_may_be_meant_is_said(cli, arguments, meant):
    result = cli(*arguments)
    assert (result.code, meant in result.err) == (2, True), result.err
    assert len(result.err.splitlines()) == 1


def test_what_a_key_may_mean_is_said(cli, tmp_path):
    (tmp_path / "c.toml").write_text("epcohs = 3")
    result = cli("train", "--config", tmp_path / "c.toml")
    assert "'epcohs' is not a flag of nastool train; did you mean 'epochs'?" in result.err


def complete(*words):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "_NASTOOL_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["nastool", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "toolchain.cli"], env=environment, capture_output=True, text=True
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_choices_are_listed_in_one_line(cli):
    result = cli("completion")
    assert (result.code, "Choose from: bash, zsh, fish (see" in result.err) == (2, True)


def test_a_shell_completes_commands_flags_and_choices(cli):
    assert "_nastool_completion" in cli("completion", "bash").out
    assert "#compdef nastool" in cli("completion", "zsh").out
    assert "complete " in cli("completion", "fish", "--json").document["script"]
    assert complete("ta") == ["table"]
    assert complete("table", "sh") == ["show"]
    assert complete("search", "--obj") == ["--objective"]
    assert complete("search", "--algorithm", "p") == ["predictor", "ppo"]
    assert "--limit-images" not in complete("train", "--limit")


def test_exit_codes_are_in_the_help(cli):
    assert "130 interrupted" in " ".join(cli("--help").out.split())


def test_a_checkout_that_is_not_installed_knows_its_version(monkeypatch):
    from importlib import metadata

    from export.system.version import version

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    installed = version()
    monkeypatch.setattr(metadata, "version", missing)
    assert version() == installed
    monkeypatch.setattr("export.system.version.__file__", "/nowhere/a/b.py")
    assert version() == "unknown"
