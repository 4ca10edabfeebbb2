"""The one place where results become output and errors become lines and exit codes."""

import contextlib
import io
import logging
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from export.errors import DataError, NastoolError, UnavailableError, UsageError, refusal
from export.interrupts import ignore_signals, raise_on_signals
from export.numbers import check_numbers

T = TypeVar("T")
log = logging.getLogger(__name__)
LINE_SECONDS = 5.0
INTERRUPTED = 130
LONGEST_LINE = 2000
"""Characters of a message: what a user wrote may be in it, however long it is."""
OURS = ("toolchain", "export", "demo")
# How packages are got whose module goes by another name, or of which there are several.
REMEDIES = {
    "cv2": "pip uninstall opencv-python opencv-python-headless, then pip install "
    "opencv-python-headless, which needs no library of the system (and shows no window)",
    "onnxruntime": "pip install 'nastool[cpu]', or 'nastool[cuda]' for NVIDIA GPUs; not both",
    "torch": "pip install torch",
}


@dataclass(frozen=True)
class Outcome:
    """What a command has to say.

    Attributes:
        document: the promised JSON document, printed by ``--json``.
        text: what people read instead; anything rich can print.
        failure: why a gate failed (exit code 1), or None.
    """

    document: Any
    text: Any
    failure: str | None = None


class Command(click.Command):
    """A command whose callback returns an `Outcome`; adds ``--json``, ``--config``, ``--debug``."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="One JSON document on stdout."),
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path),
                is_eager=True,
                expose_value=False,
                callback=_read_config,
                help="TOML file with values for these flags; flags given here win.",
            ),
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the flags, from the command line or a file."""
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        rest = super().parse_args(ctx, args)
        self._check_paths(ctx, {**(ctx.default_map or {}), **given})
        check_numbers(ctx)
        return rest

    def _check_paths(self, ctx: click.Context, given: Mapping[str, Any]) -> None:
        """Refuse a path that is empty, as that of a variable without a value: it is no folder."""
        for parameter in self.params:
            values = given.get(parameter.name or "")
            values = values if isinstance(values, (list, tuple)) else (values,)
            is_path = isinstance(parameter.type, click.Path) or parameter.name == "data"
            if is_path and "" in values:
                raise click.BadParameter("it is empty.", ctx, parameter)

    def invoke(self, ctx: click.Context) -> int:
        """Run the callback, print its outcome and return the exit code."""
        as_json, debug = ctx.params.pop("as_json"), ctx.params.pop("debug")
        ctx.find_root().meta["debug"] = debug
        logging.basicConfig(
            level=logging.DEBUG if debug else logging.INFO,
            format="%(message)s",
            stream=sys.stderr,
            force=True,
        )
        for noisy in ("optuna", "onnxscript", "onnx_ir", "torch", "PIL"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        with _stdout_kept_clean() if as_json else contextlib.nullcontext():
            outcome: Outcome = super().invoke(ctx)
        if as_json:
            from export.files import json_text  # pydantic takes longer than --help

            click.echo(json_text(outcome.document))
        else:
            _print(outcome.text)
        if outcome.failure:
            click.echo(one_line(f"FAILED: {outcome.failure}"), err=True)
        return 1 if outcome.failure else 0


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Outcome]], Command]:
    """Make a `Command` of a function that returns an `Outcome`."""

    def decorate(function: Callable[..., Outcome]) -> Command:
        return click.command(name, cls=Command, **attributes)(function)

    return decorate


def run(root: click.Command, arguments: Sequence[str] | None = None, name: str = "nastool") -> int:
    """Run a command line and return its exit code; errors become one line on stderr."""
    meta: dict[str, Any] = {}
    try:
        with root.make_context(name, list(sys.argv[1:] if arguments is None else arguments)) as ctx:
            meta = ctx.meta
            return root.invoke(ctx) or 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        where = error.ctx.command_path if getattr(error, "ctx", None) else name  # type: ignore[attr-defined]
        click.echo(one_line(f"{where}: {error.format_message()} (see {where} --help)"), err=True)
        return 2
    except NastoolError as error:
        if meta.get("debug"):
            raise
        click.echo(one_line(f"{name}: {error}"), err=True)
        return error.exit_code
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if meta.get("debug") or package in OURS:
            raise
        click.echo(f"{name}: {_missing(package, error)}", err=True)
        return UnavailableError.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{name}: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # what a disk or a system refuses, wherever it was asked for
        if meta.get("debug"):
            raise
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"{name}: {refusal(error) or f'{where}{error.strerror or error}'}", err=True)
        return NastoolError.exit_code
    except (MemoryError, RuntimeError) as error:
        if meta.get("debug") or (problem := refusal(error)) is None:
            raise
        click.echo(f"{name}: {problem}", err=True)
        return NastoolError.exit_code


def main(root: click.Command, name: str = "nastool") -> NoReturn:
    """Run the command line of this process, and end it."""
    _open_standard_streams()
    raise_on_signals()
    code = run(root, name=name)
    if code == INTERRUPTED:
        ignore_signals()  # Python gives up its handlers before it has ended
    sys.exit(code)


def _open_standard_streams() -> None:
    """Open those that the caller has closed: what is opened next would take their numbers.

    A library that complains would then write into a checkpoint.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> Any:
    """Make a plain table for `Outcome.text`; columns after the first are set flush right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    result = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for position, column in enumerate(columns):
        result.add_column(column, justify="right" if position else "left", overflow="fold")
    for row in rows:
        result.add_row(*(one_line(str(cell)) for cell in row))
    return result


def lines(*parts: Any) -> Any:
    """Stack several texts or tables under each other for `Outcome.text`."""
    from rich.console import Group

    return Group(*parts)


def track(
    items: Iterable[T], description: str, total: int | None = None, done: int = 0
) -> Iterator[T]:
    """Yield ``items`` with the progress and the time left on stderr.

    On a terminal that is a bar, elsewhere a line every few seconds, fewer in work of hours.

    Args:
        items: what is worked on.
        description: of the work.
        total: how many there are, those that are done included; None: not known.
        done: how many are done before the first of ``items``.
    """
    if not sys.stderr.isatty():
        yield from _in_lines(items, description, total, done)
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(
        items,
        description,
        total=total,
        completed=done,
        console=Console(stderr=True),
        transient=True,
    )


def _in_lines(items: Iterable[T], description: str, total: int | None, done: int) -> Iterator[T]:
    started = said = time.monotonic()
    for number, item in enumerate(items):
        now = time.monotonic()
        # The longer it takes, the fewer lines.
        if number and now - said >= max(LINE_SECONDS, (now - started) / 20):
            said = now
            of, left = "", ""
            if total:
                of = f" of {total}"
                left = f", {duration((total - done - number) * (now - started) / number)} left"
            log.info("%s: %d%s%s", description, done + number, of, left)
        yield item


def duration(seconds: float) -> str:
    """Write a span of time for people: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _missing(package: str, error: ImportError) -> str:
    """Say in one line which package cannot be loaded, why, and how to get it."""
    reason = (str(error).splitlines() or ["it does not say why"])[0]
    # A library that a package lacks is named by the loader alone.
    package = package or next((known for known in REMEDIES if known in reason), "a package")
    if "libGL" in reason or "libgthread" in reason or "libxcb" in reason:
        package = "cv2"
    remedy = REMEDIES.get(package, f"pip install {package}")
    return f"{package} cannot be loaded ({reason}): {remedy}"


@contextlib.contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Send to stderr what libraries print, in Python or beneath it: a document has stdout alone."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # a process without them
        kept = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def silence_opencv() -> None:
    """Keep OpenCV from writing of cameras that are not there; its 4 and 5 name that differently."""
    import cv2

    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_level(0)


def one_line(text: str) -> str:
    """Write out line breaks and codes for terminals, which names of files may hold; bounded."""
    text = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _print(text: Any) -> None:
    # A name of a file may be no text of the terminal's encoding, brackets or colons no markup.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(text, str):
        click.echo(text)
        return
    from rich.console import Console

    # A pipe has no width: wide enough for a genotype beside its figures.
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False, markup=False, emoji=False).print(text)


def _read_config(ctx: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Take the values of a TOML file for defaults, as the texts that flags would be given."""
    if path is None:
        return
    from export.files import read_text  # see above

    try:
        values = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(path, f"is not TOML ({error})") from None
    # Keys are the flags' long names without the dashes ("latency-table"), as users know them.
    names = {
        flag.removeprefix("--").replace("-", "_"): (parameter, flag in parameter.secondary_opts)
        for parameter in ctx.command.params
        for flag in [*parameter.opts, *parameter.secondary_opts]
        if flag.startswith("--") and parameter.name
    }
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        normal = key.replace("-", "_")
        if normal not in names:
            raise UsageError(f"{path}: {key!r} is not a flag of {ctx.command_path}")
        parameter, off = names[normal]
        if isinstance(parameter, click.Option) and parameter.is_flag:
            if not isinstance(value, bool):
                raise UsageError(f"{path}: {key!r} is true or false, not {value!r}")
            # "no-augment = true" switches augment off.
            taken: Any = value != off
        elif parameter.multiple:
            taken = [
                _text(path, key, one) for one in (value if isinstance(value, list) else [value])
            ]
        else:
            taken = _text(path, key, value)
        defaults[str(parameter.name)] = taken
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _text(path: Path, key: str, value: Any) -> str:
    """Return a value of a TOML file as the text that the flag would be given."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or "\0" in str(value):
        raise UsageError(f"{path}: {key!r} is a number or a text, not {value!r}")
    return str(value)
