"""``nastool completion``: complete commands and flags in a shell."""

import click

from export.system.command_line import COMPLETE, command
from export.system.console import Outcome

NAME = "nastool"
SHELLS = ("bash", "zsh", "fish")


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> Outcome:
    """Print the script that makes SHELL complete nastool's commands, flags and their choices.

    It is for the shell's start file; nothing is written. bash must be 4.4 or newer.

    \b
      eval "$(nastool completion bash)"        # in ~/.bashrc
      eval "$(nastool completion zsh)"         # in ~/.zshrc, after compinit
      nastool completion fish | source         # in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    from toolchain.cli import nastool

    kind = get_completion_class(shell)
    assert kind, "click knows these shells"
    # The script alone: click's own check of bash's version would run another program.
    maker = kind(nastool, {}, NAME, COMPLETE.format(NAME.upper()))
    script = maker.source_template % maker.source_vars()
    return Outcome({"shell": shell, "script": script}, script)
