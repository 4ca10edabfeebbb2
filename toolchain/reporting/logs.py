"""Import of published search logs: one trained architecture a line.

The format is that of the logs of Lyu et al., IEEE Trans. Cybernetics 53(2), 2023.
"""

import re
from pathlib import Path

from export.system.errors import DataError, UsageError
from export.system.files import read_text
from export.system.numbers import LARGEST
from toolchain.genotype import Genotype, shortened
from toolchain.graph import canonical
from toolchain.search.run import Run
from toolchain.search.trial import Trial, TrialState

UNKNOWN_ENCODER = "unknown"
LONGEST_LINE = 10_000
"""Characters; those of the published logs have 300."""

_FIELDS = {
    "score": "o_reward",
    "reward": "reward",
    "id": "Epoch",
    "parameters": "params",
    "delay": "delay",
    "flops": "flops",
    "parameters_factor": "mo_params_coe",
    "delay_factor": "mo_delay_coe",
    "flops_factor": "mo_flops_coe",
    "seconds": "epoch_time",
}
_LINE = re.compile(
    r"\s*,\s*".join(
        rf"{label}:\s*(?P<{name}>[0-9]+(?:\.[0-9]+)?)" for name, label in _FIELDS.items()
    )
    + r"\s*,\s*genotype:\s*(?P<genotype>\[.*\])\s*"
)


def read_log(path: Path) -> Run:
    """Read a published log as a run.

    Parameters (M), FLOPs (G) and delay (s) become counts and ``latency_ms["delay"]``. A cost that
    was logged as 0.00 was not measured: 0 parameters or FLOPs, no latency. The cost factors say
    nothing that the costs do not, and are dropped. The logs do not name their encoder.

    Raises:
        DataError: the file cannot be read, is empty, or a line is not of this format; the message
            names the line.
    """
    lines = read_text(path).splitlines()
    trials = [_trial(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not trials:
        raise DataError(path, "is empty; a search log has one architecture a line")
    return Run(path, {"source": "published log", "file": path.name}, trials, finalists=trials)


def _trial(path: Path, number: int, line: str) -> Trial:
    match = _LINE.fullmatch(line) if len(line) <= LONGEST_LINE else None
    if not match:
        raise DataError(
            path,
            f"line {number} is not a line of a search log: {shortened(line, 60)!r}; {_expected()}",
        )
    value = {name: float(match[name]) for name in _FIELDS}
    if beyond := [label for name, label in _FIELDS.items() if value[name] > LARGEST]:
        raise DataError(path, f"line {number}: {beyond[0]} is beyond {LARGEST}")
    try:
        genotype = Genotype.parse(match["genotype"])
    except UsageError as error:
        raise DataError(path, f"line {number}: {error}") from None
    return Trial(
        id=int(value["id"]),
        genotype=str(genotype),
        canonical=canonical(genotype),
        encoder=UNKNOWN_ENCODER,
        state=TrialState.COMPLETE,
        score=value["score"],
        reward=value["reward"],
        parameters=round(value["parameters"] * 1e6),
        flops=round(value["flops"] * 1e9),
        latency_ms={"delay": value["delay"] * 1e3} if value["delay"] else {},
        seconds=value["seconds"],
    )


def _expected() -> str:
    return f"expected {', '.join(label + ': N' for label in _FIELDS.values())}, genotype: [[...]]"
