"""Every check on everything that opens here, as a file to send."""

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.checks.conformance.contract import CHECKS, Target, Trouble, run_check
from export.machine import environment, gpus
from export.runtimes import RUNTIMES, Runtime, get_runtime
from export.system.console import track
from export.system.errors import UnavailableError
from export.system.files import write_json

FORMAT_VERSION = 1


def candidates(gpus: int) -> list[Target]:
    """List every runtime on every device that it may use; ``cuda:0`` even without a GPU.

    Args:
        gpus: how many there are.
    """
    devices = {"cpu": ["cpu"], "cuda": [f"cuda:{index}" for index in range(max(1, gpus))]}
    return [
        Target(name, device)
        for name in RUNTIMES
        for kind in _kinds(name)
        for device in devices[kind]
    ]


def _kinds(name: str) -> tuple[str, ...]:
    try:
        return get_runtime(name).kinds
    except UnavailableError:
        return Runtime.kinds


def targets() -> tuple[list[Target], dict[Target, Trouble]]:
    """Return the targets that run a model here, and why each of the others does not."""
    troubles = {target: target.trouble() for target in candidates(len(gpus.describe()))}
    works = [target for target, trouble in troubles.items() if trouble is None]
    return works, {target: trouble for target, trouble in troubles.items() if trouble}


def selftest(output: str | Path) -> dict[str, Any]:
    """Run every check on every target that opens here.

    The report is written anew before each check: should a driver take the process down with it,
    the file says where.

    Args:
        output: the JSON file.

    Returns:
        The report: ``format_version``, ``environment`` (`environment.describe`), ``targets``
        (``runtime``, ``version``, ``device``), ``not_run`` (``runtime``, ``device``, ``reason``:
        something is missing), ``broken`` (the same of what is there and does not work),
        ``running`` (None once it is complete), ``summary`` (``passed``, ``failed``, ``skipped``),
        ``checks`` (each as `export.checks.conformance.Result`), ``seconds``.

    Raises:
        DataError: the file cannot be written.
    """
    start = time.perf_counter()
    works, troubles = targets()
    report: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "environment": environment.describe(),
        "targets": [
            {
                "runtime": target.runtime,
                "version": get_runtime(target.runtime).version(),
                "device": target.device,
            }
            for target in works
        ],
        "not_run": _told(troubles, broken=False),
        "broken": _told(troubles, broken=True),
        "running": None,
        "summary": {"passed": 0, "failed": 0, "skipped": 0},
        "checks": [],
        "seconds": 0.0,
    }
    work = [(check, target) for target in works for check in CHECKS]
    for check, target in track(work, "checks"):
        report["running"] = {**asdict(target), "check": check.name}
        write_json(output, report)
        report["checks"].append(asdict(run_check(check, target)))
    count = Counter(result["outcome"] for result in report["checks"])
    report["summary"] = {outcome: count[outcome] for outcome in report["summary"]}
    report["running"] = None
    report["seconds"] = round(time.perf_counter() - start, 3)
    write_json(output, report)
    return report


def _told(troubles: dict[Target, Trouble], broken: bool) -> list[dict[str, str]]:
    return [
        {**asdict(target), "reason": trouble.reason}
        for target, trouble in troubles.items()
        if trouble.broken == broken
    ]
