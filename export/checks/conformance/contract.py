"""What a check is, what it runs on, and what comes of it."""

import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from export.checks.conformance.models import tiny_model
from export.runtimes import get_runtime, open_session
from export.runtimes.base import Array, Session
from export.system.errors import BrokenError, GateError, NastoolError, UnavailableError


@dataclass(frozen=True)
class Target:
    """A runtime on a device.

    Attributes:
        runtime: name of the runtime.
        device: ``"cpu"`` or ``"cuda:N"``.
    """

    runtime: str
    device: str

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("cuda")

    def open(self, model: str | Path | bytes, **options: Any) -> Session:
        """Open a model here; see `export.runtimes.open_session`."""
        threads = None if self.on_gpu else 1
        return open_session(model, self.runtime, self.device, threads, **options)

    def has(self, option: str) -> bool:
        """Say whether the runtime knows an option."""
        known = {field.name for field in fields(get_runtime(self.runtime).options_type)}
        return option in known

    def trouble(self) -> "Trouble | None":
        """Try the smallest model; say why it does not run as it should, if it does not."""
        try:
            with self.open(tiny_model()) as session:
                labels = session.run({"image": np.full((1, 8, 8, 3), 9, np.uint8)})["labels"]
        except UnavailableError as error:
            return Trouble(isinstance(error, BrokenError), str(error))
        except Exception as error:
            return Trouble(True, f"{type(error).__name__}: {' '.join(str(error).split())}")
        return Trouble(True, "runs, but computes wrong labels") if labels.any() else None


@dataclass(frozen=True)
class Trouble:
    """Why a target does not run as it should.

    Attributes:
        broken: it is there and fails; otherwise something is missing.
        reason: one line.
    """

    broken: bool
    reason: str


# Returns None when it passes, or a line that says why it does not apply to this target.
CheckFunction = Callable[[Target, Path], str | None]


@dataclass(frozen=True)
class Check:
    """One promise of `export.runtimes.base`, with a name.

    Attributes:
        name: what is promised.
        function: takes the target and an empty folder; raises whatever when the promise is broken.
    """

    name: str
    function: CheckFunction


CHECKS: list[Check] = []


def check(name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Add a function to `CHECKS`."""

    def add(function: CheckFunction) -> CheckFunction:
        CHECKS.append(Check(name, function))
        return function

    return add


@dataclass(frozen=True)
class Result:
    """What came of a check on a target.

    Attributes:
        runtime: name of the runtime.
        device: as in `Target`.
        check: name of the check.
        outcome: passed, failed or skipped.
        reason: one line for the last two.
        seconds: that it took.
    """

    runtime: str
    device: str
    check: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str | None
    seconds: float


def run_check(check: Check, target: Target) -> Result:
    """Run a check; whatever it raises becomes a line."""
    start = time.perf_counter()
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    with tempfile.TemporaryDirectory() as folder:
        try:
            reason = check.function(target, Path(folder))
            outcome = "skipped" if reason else "passed"
        except NastoolError as error:
            outcome, reason = "failed", f"{type(error).__name__}: {error}"
        except Exception as error:
            # What nobody foresaw is told with its place, for whoever reads the report.
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            outcome, reason = "failed", f"{type(error).__name__} in {where}: {error}"
    line = " ".join(reason.split()) if reason else None
    seconds = round(time.perf_counter() - start, 3)
    return Result(target.runtime, target.device, check.name, outcome, line, seconds)


def require(condition: object, message: str) -> None:
    """Break a promise unless a condition holds."""
    if not condition:
        raise GateError(message)


def require_close(found: Array, expected: Array, tolerance: float) -> None:
    """Break a promise unless an array has the shape of another and differs by little."""
    require(found.shape == expected.shape, f"shape {found.shape}, expected {expected.shape}")
    worst = float(np.abs(found.astype(np.float64) - expected).max())
    require(worst <= tolerance, f"differs by {worst:g} from NumPy, allowed is {tolerance:g}")


def require_error(
    call: Callable[[], object], kind: type[NastoolError], *words: str, beginning: str = ""
) -> None:
    """Break a promise unless a call raises an error of one line with these words."""
    try:
        call()
    except kind as error:
        text = str(error)
    else:
        raise GateError(f"no error; expected {kind.__name__} with {' '.join(words)!r}")
    require("\n" not in text, f"an error of several lines: {text!r}")
    require(text.startswith(beginning), f"the error {text!r} does not begin with {beginning!r}")
    for part in words:
        require(part in text, f"the error {text!r} lacks {part!r}")
