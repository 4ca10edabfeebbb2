"""What mkdocs does not do itself: examples in the help of commands, formulas as pictures."""

import html
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import click
import ziamath
from mkdocs.structure.files import File, Files

from toolchain.cli import nastool

SCHEMA = Path("latency_tables/schema.json")
FORMULA_PIXELS = 17
# Plain paths: what pictures of one page share has names that clash.
ziamath.config.svg2 = False
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
# Of a command's help: what is to be shown line by line.
_EXAMPLES = re.compile(r"^\x08\n((?:.+\n?)+)", re.MULTILINE)


def on_startup(**_: Any) -> None:
    """Prepare the commands for mkdocs-click, which knows neither examples nor click's UNSET."""
    with click.Context(nastool) as context:
        for name in nastool.list_commands(context):
            _prepare(nastool.get_command(context, name))


def _prepare(command: click.Command | None) -> None:
    assert command is not None
    command.help = _EXAMPLES.sub(_fenced, inspect.cleandoc(command.help or ""))
    for parameter in command.params:
        default = parameter.default
        if isinstance(default, list | tuple):
            default = ", ".join(map(str, default))
        nothing = default is False or default == "" or type(default).__name__ == "Sentinel"
        parameter.default = None if nothing else default
    for child in getattr(command, "commands", {}).values():
        _prepare(child)


def _fenced(examples: re.Match[str]) -> str:
    return f"```sh\n{textwrap.dedent(examples[1]).rstrip()}\n```\n"


def on_files(files: Files, config: Any) -> Files:
    """Put the JSON Schema of latency tables beside the page that explains it."""
    files.append(
        File.generated(config, "reference/schema.json", abs_src_path=str(SCHEMA.resolve()))
    )
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Draw formulas, which then need neither script nor font; empty what has no default."""
    for shown, wanted in (("None", ""), ("_required", "required")):
        content = content.replace(f"<td>{shown}</td>", f"<td>{wanted}</td>")
    return _FORMULA.sub(lambda found: _drawn(html.unescape(found[2]), found[1] == "span"), content)


def _drawn(formula: str, inline: bool) -> str:
    picture = ziamath.Latex(formula, size=FORMULA_PIXELS, color="currentColor", inline=inline)
    tag = "span" if inline else "div"
    # So far below the line as the picture reaches below its own.
    style = f' style="vertical-align: {picture.getyofst():.1f}px"' if inline else ""
    label = html.escape(formula, quote=True)
    return f'<{tag} class="formula" role="img" aria-label="{label}"{style}>{picture.svg()}</{tag}>'
