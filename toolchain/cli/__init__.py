"""The ``nastool`` command: one thin module a command, imported when it is used."""

import difflib
import importlib
from typing import NoReturn

import click

from export.system import command_line
from export.system.version import version

# name -> (module:attribute, one line for `nastool --help`). Kept here so that --help imports none.
COMMANDS = {
    "doctor": ("toolchain.cli.doctor:doctor", "Say what this machine has and what is missing."),
    "encoders": ("toolchain.cli.encoders:encoders", "List the encoders, their size and taps."),
    "profile-device": (
        "toolchain.cli.profile_device:profile_device",
        "Measure this device and write its latency table.",
    ),
    "certify": ("toolchain.cli.certify:certify", "Check a latency table on fresh networks."),
    "table": ("toolchain.cli.table:table", "Latency tables: show, compare, plot, anchor."),
    "cost": ("toolchain.cli.cost:cost", "Parameters, FLOPs and latency of a genotype."),
    "faces": ("toolchain.cli.faces:faces", "Write a dataset, or synthetic faces, as a folder."),
    "pretrain": ("toolchain.cli.pretrain:pretrain", "Train encoder weights or a teacher."),
    "search": ("toolchain.cli.search:search", "Search architectures under your objectives."),
    "space": ("toolchain.cli.space:space", "Benchmark the space; compare search algorithms."),
    "rank": ("toolchain.cli.rank:rank", "Train some candidates longer: were the scores right?"),
    "pareto": ("toolchain.cli.pareto:pareto", "Show the Pareto front of a run."),
    "compare": ("toolchain.cli.compare:compare", "Say which of two runs is better, how surely."),
    "report": ("toolchain.cli.report:report", "Make an HTML report of runs and logs."),
    "train": ("toolchain.cli.train:train", "Train a searched or given architecture."),
    "ablate": ("toolchain.cli.ablate:ablate", "Say which switches of a training help."),
    "evaluate": ("toolchain.cli.evaluate:evaluate", "F1 and IoU of a checkpoint or model file."),
    "export": ("toolchain.cli.export:export", "Write a checkpoint as a complete ONNX file."),
    "benchmark": ("toolchain.cli.benchmark:benchmark", "Time ONNX files side by side."),
    "demo": ("demo.webcam:demo", "Run a model on a webcam, a video, images."),
    "completion": ("toolchain.cli.completion:completion", "Complete commands in your shell."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is run."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; of a misspelt one, say which may be meant."""
        name = args[0]
        if name not in COMMANDS and name[:1].isalnum() and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS, 1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or return None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="nastool")
def nastool() -> None:
    """Find the best face-parsing network for your device.

    Measure the device once, search architectures under its real latency, train the winner, export
    it to ONNX and watch it on your webcam. The usual order:

    \b
      nastool doctor
      nastool profile-device --encoder mobilenetv2
      nastool pretrain --data DATA --encoder mobilenetv2 --output runs/encoder
      nastool search --data DATA --run runs/first --weights runs/encoder/best.pt \\
        --latency-table latency_tables/TABLE.json --objective latency:40ms:-0.3
      nastool pareto runs/first
      nastool train --data DATA --run runs/first --pick best --output runs/best
      nastool export runs/best/best.pt --output runs/best/export
      nastool demo --model runs/best/export/model.onnx

    Exit codes: 0 done; 1 a gate failed; 2 wrong use or bad input; 3 something is missing on this
    machine; 130 interrupted (Ctrl-C). What was interrupted goes on with --resume.
    `nastool completion` makes a shell complete commands and flags.
    """


def run(arguments: list[str]) -> int:
    """Run a command line in this process and return its exit code."""
    return command_line.run(nastool, arguments)


def main() -> NoReturn:
    """Run the console script."""
    command_line.main(nastool)
