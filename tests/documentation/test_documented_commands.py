"""Commands, settings and Python in the documentation are those that exist."""

import json
import re

import click
import pytest
from documented import PAGES, ROOT, blocks, commands, is_placeholder

from export.system.errors import NastoolError
from toolchain.cli import COMMANDS, nastool
from toolchain.datasets.labels import read_label_set
from toolchain.genotype import Genotype
from toolchain.networks.encoders import describe_encoder
from toolchain.search.objectives import Budget, Objective

# What a flag's own type does not check.
READERS = {
    "objectives": Objective.parse,
    "budgets": Budget.parse,
    "encoders": describe_encoder,
    "encoder": describe_encoder,
    "genotype": Genotype.parse,
}
LEFT_OUT = "..."
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}


def examples(language):
    """Return the blocks of a language in all pages."""
    return [block for text in TEXTS.values() for block in blocks(text, language)]


def complaint(arguments):
    """Say why a command line would be refused before it does anything, or return None."""
    whole = not {LEFT_OUT, "--config", "--resume"} & set(arguments)
    arguments = [argument for argument in arguments if argument != LEFT_OUT]
    context, command = click.Context(nastool, info_name="nastool"), nastool
    try:
        while isinstance(command, click.Group) and arguments:
            if arguments[0].startswith("-"):
                return None
            name, command, arguments = command.resolve_command(context, arguments)
            context = click.Context(command, parent=context, info_name=name)
        given, extra, _ = command.make_parser(context).parse_args(list(arguments))
        if extra:
            return f"{extra[0]} is too much"
        for parameter in command.params:
            check(parameter, given.get(parameter.name), context, whole)
    except (click.ClickException, NastoolError) as error:
        return getattr(error, "message", None) or str(error)
    return None


def check(parameter, value, context, whole):
    """Check what a command line gives for a parameter; raises what click or the reader raises."""
    values = [] if value is None or type(value).__name__ == "Sentinel" else value
    values = list(values) if isinstance(values, list | tuple) else [values]
    if parameter.required and not values and whole:
        raise click.MissingParameter(ctx=context, param=parameter)
    # A new encoder that a tutorial makes is no one's yet.
    for one in values:
        if isinstance(one, bool) or is_placeholder(one) or one == "plain":
            continue
        parameter.type.convert(one, parameter, context)
        if parameter.name in READERS:
            READERS[parameter.name](one)


@pytest.mark.parametrize("page", TEXTS)
def test_documented_commands_are_taken(page):
    lines = commands(TEXTS[page])
    assert not {" ".join(line): problem for line in lines if (problem := complaint(line))}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("serch --data DATA", "serch"),
        ("search --data DATA --run R --epochs 3", "--epochs"),
        ("search --run R", "data"),
        ("search --data DATA --run R --objective latency:40", "QUANTITY"),
        ("search --data DATA --run R --encoder resnet", "resnet"),
        ("profile-device --precision int4", "int4"),
        ("profile-device --threads two", "two"),
        ("pareto A B", "too much"),
    ],
)
def test_what_does_not_exist_is_found(line, problem):
    assert problem in complaint(line.split())


def test_every_command_is_documented_and_shown():
    described = re.findall(r":prog_name: nastool (\S+)", "\n".join(TEXTS.values()))
    shown = {line[0] for text in TEXTS.values() for line in commands(text)}
    assert sorted(described) == sorted(COMMANDS)
    assert shown >= set(COMMANDS)


@pytest.mark.parametrize("text", examples("toml"))
def test_documented_settings_are_flags(text, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    name = text.splitlines()[0].removeprefix("# nastool ")
    command = nastool.get_command(click.Context(nastool), name)
    # Reads the file as the command does, and checks every value.
    command.make_context(name, ["--config", str(file)])


@pytest.mark.parametrize("text", examples("json"))
def test_documented_json_is_what_it_says(text, tmp_path):
    document = json.loads(text)
    if "classes" in document:
        (tmp_path / "labels.json").write_text(text, encoding="utf-8")
        assert read_label_set(tmp_path / "labels.json").name == document["name"]


# README's second one opens a model and a picture of the reader's.
@pytest.mark.parametrize("text", [t for t in examples("python") if "face.jpg" not in t])
def test_documented_python_runs(text):
    exec(compile(text, "documentation", "exec"), {"__name__": "documentation"})
