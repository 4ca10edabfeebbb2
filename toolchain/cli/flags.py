"""Flags of a command, read off the model of its settings."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from export.system.command_line import Flag, is_given
from export.system.inputs import InputFile, InputFolder
from export.system.numbers import LARGEST
from toolchain.cli.inputs import Data, GenotypeText
from toolchain.settings.base import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


def flags(
    model: type[Settings], *, without: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Add a flag for every field of a model to a command; its callback gets them by field.

    Args:
        model: the settings.
        without: fields that the command settles in another way.
    """

    def add(function: Function) -> Function:
        # Decorators are read from below; what a model adds to its base comes first.
        added = [name for name in model.model_fields if name in model.__annotations__]
        inherited = [name for name in model.model_fields if name not in added]
        for name in reversed([*added, *inherited]):
            if name not in without:
                field = model.model_fields[name]
                option = click.option(
                    *_names(model, name, field), cls=Flag, **_kind(model, name, field)
                )
                function = option(function)
        return function

    return add


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """Return those values of a command's settings that are not merely the flags' defaults."""
    return {name: value for name, value in settings.items() if is_given(name)}


def _names(model: type[Settings], name: str, field: FieldInfo) -> list[str]:
    flag = model.flag(name)
    # What is off anyway needs no flag that switches it off.
    both = bool in _kinds(field) and field.default is not False
    return [f"--{flag}/--no-{flag}" if both else f"--{flag}", name]


def _kind(model: type[Settings], name: str, field: FieldInfo) -> dict[str, Any]:
    required = field.is_required()
    default = None if required else field.get_default(call_default_factory=True)
    former = [f"--{flag}" for flag in model.attribute(name, "formerly") or ()]
    options: dict[str, Any] = {
        "help": field.description,
        "required": required,
        "formerly": former,
    }
    if not required:
        options["default"] = list(default) if isinstance(default, tuple) else default
        options["show_default"] = default not in (None, (), [])
    if get_origin(field.annotation) is tuple:
        options["multiple"] = True
    if bool in _kinds(field):
        options["is_flag"] = True
    else:
        options["type"] = _reads(model.attribute(name, "reads")) or _type(field)
    return options


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    """Return the types that a value may have, None left out: those of a tuple's items."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(kind for kind in get_args(annotation) if kind is not type(None))
    if get_origin(annotation) is tuple:
        return (get_args(annotation)[0],)
    return (annotation,)


def _reads(what: str | None) -> Any:
    return {"data": Data(), "folder": InputFolder(), "genotype": GenotypeText(), None: None}[what]


def _type(field: FieldInfo) -> Any:
    (kind,), limits = _kinds(field), field.metadata
    if get_origin(kind) is Annotated:  # of the items of a tuple
        kind, *limits = get_args(kind)
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if kind is Path:
        return InputFile()
    bounds: dict[str, Any] = {}
    for bound in limits:
        for limit, low, open_end in ((Ge, 1, 0), (Gt, 1, 1), (Le, 0, 0), (Lt, 0, 1)):
            # That every number has a limit goes without saying.
            if isinstance(bound, limit) and bound != Le(LARGEST):
                end = "min" if low else "max"
                bounds[end] = getattr(bound, limit.__name__.lower())
                bounds[f"{end}_open"] = bool(open_end)
    if kind is int:
        return click.IntRange(**bounds) if bounds else int
    if kind is float:
        return click.FloatRange(**bounds) if bounds else float
    assert kind is str
    return str
