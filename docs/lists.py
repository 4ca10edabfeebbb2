"""Lists that the pages take from the code, so that none is typed a second time.

What stands in a page between ``<!-- generated: NAME -->`` and ``<!-- end -->`` is what the function
of that name in `GENERATED` writes. ``python docs/lists.py`` writes all pages anew; a test says when
that is due.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic.fields import FieldInfo

from export.system import errors
from toolchain.datasets import labels, registry
from toolchain.datasets.splits import PARTS, PERCENT
from toolchain.genotype import OPERATIONS
from toolchain.settings.base import Settings
from toolchain.settings.search_settings import ContestSettings, RankSettings, SearchSettings
from toolchain.settings.training_settings import TrainingSettings

PAGES = Path(__file__).parent
_LIST = re.compile(
    r"^(<!-- generated: ([\w-]+) -->\n).*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL
)


def filled(page: str) -> str:
    """Return a page with its lists as the code has them now."""
    return _LIST.sub(lambda found: f"{found[1]}\n{GENERATED[found[2]]()}\n\n{found[3]}", page)


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


if __name__ == "__main__":
    for path in PAGES.rglob("*.md"):
        path.write_text(filled(path.read_text()))
