"""What mkdocs does not do itself: pages filled from the code, formulas as pictures.

A line ``<!-- generated: NAME -->`` in a page is replaced by what the function of that name in
`GENERATED` writes, so that no list of the code is typed a second time.
"""

import html
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import ziamath
from mkdocs.structure.files import File, Files
from pydantic.fields import FieldInfo

from export.system import errors
from toolchain.cli import nastool
from toolchain.datasets import labels, registry
from toolchain.datasets.splits import PARTS, PERCENT
from toolchain.genotype import OPERATIONS
from toolchain.settings.base import Settings
from toolchain.settings.search_settings import ContestSettings, RankSettings, SearchSettings
from toolchain.settings.training_settings import TrainingSettings

SCHEMA = Path("latency_tables/schema.json")
FORMULA_PIXELS = 17
# Plain paths: what pictures of one page share has names that clash.
ziamath.config.svg2 = False
_MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
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


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what a page takes from the code; an unknown name is an error."""
    return _MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)


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


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(heads), line(["---"] * len(heads)), *map(line, rows)])


def _class_orders() -> str:
    parts = []
    for kind, reader in registry.readers().items():
        # A folder of one's own has those of CelebAMask-HQ where it says nothing else.
        label_set = getattr(reader, "label_set", labels.CELEBAMASK_HQ)
        swapped = {
            a: label_set.classes[b] for pair in label_set.swaps for a, b in (pair, pair[::-1])
        }
        rows = [
            (label, f"`{name}`", swapped.get(label, ""), _swatch(colour))
            for label, (name, colour) in enumerate(
                zip(label_set.classes, label_set.palette, strict=True)
            )
        ]
        parts += [f"### {kind}", f"Layout: {reader.layout}."]
        if kind == "folder":
            parts.append("Without a `labels.json`: the classes of celebamask-hq, above.")
            continue
        parts.append(_table(("label", "class", "a mirror makes it", "colour"), rows))
        if label_set.groups:
            groups = [
                (name, ", ".join(f"`{label_set.classes[label]}`" for label in members))
                for name, members in label_set.groups.items()
            ]
            parts.append(_table(("group in `evaluate`", "classes"), groups))
    return "\n\n".join(parts)


def _swatch(colour: labels.Colour) -> str:
    hexadecimal = "#{:02x}{:02x}{:02x}".format(*colour)
    return f'<span class="swatch" style="background:{hexadecimal}"></span> `{hexadecimal}`'


def _parts() -> str:
    def share(part: str) -> str:
        return f"{PERCENT[part]} %" if part in PERCENT else "rest" if part == "train" else "none"

    return _table(
        ("part", "of the training images, without a split of your own"),
        [(f"`{part}`", share(part)) for part in PARTS],
    )


def _exit_codes() -> str:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    rows = [
        (kind.exit_code, f"`{kind.__name__}`", inspect.getdoc(kind).partition("\n")[0])
        for kind in kinds
        if issubclass(kind, errors.NastoolError) and kind is not errors.NastoolError
    ]
    return _table(("code", "error in Python", "meaning"), sorted(rows))


def _settings(model: type[Settings]) -> Callable[[], str]:
    rows = [
        (f"`{model.flag(name)}`", _default(field), field.description)
        for name, field in model.model_fields.items()
    ]
    return lambda: _table(("key", "default", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    # As TOML writes it, which for these values is as JSON does.
    return "" if default in (None, ()) else f"`{json.dumps(default)}`"


def _operations() -> str:
    return _table(("id", "operation"), [(i, f"`{name}`") for i, name in enumerate(OPERATIONS)])


GENERATED: dict[str, Callable[[], str]] = {
    "class-orders": _class_orders,
    "exit-codes": _exit_codes,
    "operations": _operations,
    "parts": _parts,
    "settings-search": _settings(SearchSettings),
    "settings-train": _settings(TrainingSettings),
    "settings-rank": _settings(RankSettings),
    "settings-contest": _settings(ContestSettings),
}
