"""The one place where results become output and errors become lines and exit codes."""

import contextlib
import copy
import difflib
import logging
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from export.system.console import Outcome, one_line, show
from export.system.errors import DataError, NastoolError, UnavailableError, UsageError, refusal
from export.system.inputs import check_inputs, check_paths
from export.system.interrupts import ignore_signals, raise_on_signals
from export.system.numbers import check_numbers
from export.system.outputs import check_outputs

INTERRUPTED = 130
COMPLETE = "_{}_COMPLETE"
"""Environment variable in which a shell asks for completions of a program."""
COMMON = ("as_json", "config", "debug", "help")
"""Parameters of every command."""
OURS = ("toolchain", "export", "demo")
# How packages are got whose module goes by another name, or of which there are several.
REMEDIES = {
    "cv2": "pip uninstall opencv-python opencv-python-headless, then pip install "
    "opencv-python-headless, which needs no library of the system (and shows no window)",
    "onnxruntime": "pip install 'nastool[cpu]', or 'nastool[cuda]' for NVIDIA GPUs; not both",
    "torch": "pip install torch",
}


class Flag(click.Option):
    """A flag that may have had other names, which are still taken and nowhere shown.

    Args:
        formerly: those names.
    """

    def __init__(
        self, names: Sequence[str], *args: Any, formerly: Sequence[str] = (), **kwargs: Any
    ):
        super().__init__([*names, *formerly], *args, **kwargs)
        self.formerly = formerly

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the flag's lines of the help, with its present name alone."""
        return click.Option.get_help_record(self._shown(), ctx)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name the flag in a message."""
        return click.Option.get_error_hint(self._shown(), ctx)

    def _shown(self) -> click.Option:
        shown = copy.copy(self)
        shown.opts = [name for name in self.opts if name not in self.formerly]
        return shown


Given = Mapping[str, Any]
"""Values by parameter name."""


class Command(click.Command):
    """A command whose callback returns an `Outcome`; adds ``--json``, ``--config``, ``--debug``.

    Args:
        groups: headings of the help, and the parameters under each; what is not named goes under
            "More". The first ones are those that matter most.
        recalled: says what flags that are not given were before, where something is resumed.
        kept: says of an interrupted command what is kept, and how to go on.
    """

    def __init__(
        self,
        *args: Any,
        groups: Mapping[str, Sequence[str]] | None = None,
        recalled: Callable[[Given], Given] | None = None,
        kept: Callable[[Given], str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.groups, self._recalled, self._kept = dict(groups or {}), recalled, kept
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
        if self._recalled and not ctx.resilient_parsing:
            # What an argument is that nobody gave, differs from click to click.
            known = {n: v for n, v in given.items() if v and isinstance(v, str | bool | list)}
            ctx.default_map = {**(ctx.default_map or {}), **self._recalled(known)}
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            check_paths(ctx, {**(ctx.default_map or {}), **given})
        check_numbers(ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags in groups."""
        asks_help = self.get_help_option(ctx)
        records = {
            "help" if parameter is asks_help else str(parameter.name): record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx))
        }
        common = {name: records.pop(name) for name in COMMON if name in records}
        groups = {
            head: [records.pop(name) for name in names if name in records]
            for head, names in self.groups.items()
        }
        rest = "More" if groups else "Options"
        groups[rest] = [*groups.pop(rest, ()), *records.values()]
        groups["Of every command"] = list(common.values())
        for head, lines in groups.items():
            if lines:
                with formatter.section(head):
                    formatter.write_dl(lines)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what may follow, without earlier names of flags."""
        hidden = {name for each in self.params if isinstance(each, Flag) for name in each.formerly}
        found = super().shell_complete(ctx, incomplete)
        return [item for item in found if item.value not in hidden]

    def invoke(self, ctx: click.Context) -> int:
        """Run the callback, print its outcome and return the exit code."""
        as_json, debug = ctx.params.pop("as_json"), ctx.params.pop("debug")
        ctx.find_root().meta["debug"] = debug
        check_inputs(ctx)
        check_outputs(ctx)
        logging.basicConfig(
            level=logging.DEBUG if debug else logging.INFO,
            format="%(message)s",
            stream=sys.stderr,
            force=True,
        )
        for noisy in ("optuna", "onnxscript", "onnx_ir", "torch", "PIL"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        try:
            with _stdout_kept_clean() if as_json else contextlib.nullcontext():
                outcome: Outcome = super().invoke(ctx)
        except KeyboardInterrupt:
            if self._kept:
                ctx.find_root().meta["kept"] = self._kept(ctx.params)
            raise
        if as_json:
            from export.system.files import json_text  # pydantic takes longer than --help

            click.echo(json_text(outcome.document))
        else:
            show(outcome.text)
        if outcome.failure:
            click.echo(one_line(f"FAILED: {outcome.failure}"), err=True)
        return 1 if outcome.failure else 0


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Outcome]], Command]:
    """Make a `Command` of a function that returns an `Outcome`; see there for attributes."""

    def decorate(function: Callable[..., Outcome]) -> Command:
        return click.command(name, cls=Command, **attributes)(function)

    return decorate


def is_given(name: str) -> bool:
    """Say whether a parameter of the command at work has a value that is not its default."""
    source = click.get_current_context().get_parameter_source(name)
    return source not in (None, ParameterSource.DEFAULT)


def run(root: click.Command, arguments: Sequence[str] | None = None, name: str = "nastool") -> int:
    """Run a command line and return its exit code; errors become one line on stderr."""
    meta: dict[str, Any] = {}
    try:
        _check_current_folder()
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
        # click lists choices in lines of their own.
        text = error.format_message().replace(":\n\t", ": ").replace(",\n\t", ", ")
        click.echo(one_line(f"{where}: {text} (see {where} --help)"), err=True)
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
        kept = meta.get("kept")
        click.echo(
            one_line(f"{name}: interrupted; {kept}" if kept else f"{name}: interrupted"), err=True
        )
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


def _check_current_folder() -> None:
    """Refuse to begin in a folder that was removed: libraries of torch end the process there."""
    try:
        Path.cwd()
    except OSError:
        raise UsageError("the current folder was removed; change to one that is there") from None


def main(root: click.Command, name: str = "nastool") -> NoReturn:
    """Run the command line of this process, or complete it for a shell, and end it."""
    _open_standard_streams()
    variable = COMPLETE.format(name.upper())
    if instruction := os.environ.get(variable):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(root, {}, name, variable, instruction))
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


def _read_config(ctx: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Take the values of a TOML file for defaults, as the texts that flags would be given."""
    if path is None:
        return
    from export.system.files import read_text  # see above

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
            near = difflib.get_close_matches(normal, names, 1)
            hint = f"; did you mean {near[0].replace('_', '-')!r}?" if near else ""
            raise UsageError(f"{path}: {key!r} is not a flag of {ctx.command_path}{hint}")
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
