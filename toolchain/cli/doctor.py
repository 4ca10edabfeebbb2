"""``nastool doctor``: say what this machine has and what is missing."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from export.system.errors import UsageError
from export.system.outputs import JSON

REPORT = Path("nastool-selftest.json")
OUTCOMES = ("passed", "failed", "skipped")


@command("doctor")
@click.option(
    "--selftest",
    is_flag=True,
    help="Run every check of the runtimes' contract on every device that works here.",
)
@click.option(
    "--output",
    type=JSON,
    help=f"With --selftest: where the report goes.  [default: {REPORT}]",
)
def doctor(selftest: bool, output: Path | None) -> Outcome:
    """Say what this machine has and what is missing.

    Opens a session of a tiny model on each runtime and device, reads a frame from camera 0, looks
    for GPUs, TensorRT and a display, whether the machine is quiet enough to be measured, and which
    files in latency_tables/ are of it. Each missing thing is listed with what it costs and how
    to get it; none of them is an error. Nothing is changed or sent anywhere. Send the JSON along
    when you report a fault.

    --selftest instead compares each runtime with NumPy, feeds it wrong arrays and broken files, and
    on GPUs looks for silent fallbacks, lost precision and stale engines: seconds on a CPU, minutes
    with TensorRT. It writes a report to send, and ends with 1 if a check fails or a device that is
    there does not work.

    \b
      nastool doctor
      nastool doctor --json > machine.json
      nastool doctor --selftest
    """
    if selftest:
        return _selftest(output or REPORT)
    if output:
        raise UsageError("--output is for --selftest; for the diagnosis use --json > FILE")
    return _diagnosis()


def _selftest(output: Path) -> Outcome:
    from export.checks.conformance import selftest

    report = selftest(output)
    rows = []
    for target in report["targets"]:
        place = {"runtime": target["runtime"], "device": target["device"]}
        mine = [entry for entry in report["checks"] if place.items() <= entry.items()]
        count = [sum(entry["outcome"] == outcome for entry in mine) for outcome in OUTCOMES]
        rows.append((f"{target['runtime']} {target['version']} on {target['device']}", *count))
    notes = [("not run", _place(entry), "", entry["reason"]) for entry in report["not_run"]]
    notes += [("FAILED", _place(entry), "", entry["reason"]) for entry in report["broken"]]
    failed = [entry for entry in report["checks"] if entry["outcome"] == "failed"]
    notes += [("FAILED", _place(entry), entry["check"], entry["reason"]) for entry in failed]
    parts: list[Any] = [table(("runtime", *OUTCOMES), rows)]
    if notes:
        parts.append(_left(table(("", "where", "check", "reason"), notes)))
    parts.append(f"report: {output}\nNothing was sent; attach it when you report a fault.")
    failure = f"{len(failed)} of {len(report['checks'])} checks" if failed else None
    if report["broken"]:
        places = ", ".join(map(_place, report["broken"]))
        failure = f"{places} does not work" + (f"; {failure}" if failure else "")
    elif not report["targets"]:
        failure = "no runtime opens a model here"
    return Outcome({**report, "report": str(output)}, lines(*parts), failure)


def _place(entry: dict[str, Any]) -> str:
    return f"{entry['runtime']} on {entry['device']}"


def _left(made: Any) -> Any:
    """Set every column of a table flush left."""
    for column in made.columns:
        column.justify = "left"
    return made


def _diagnosis() -> Outcome:
    from export.checks.diagnosis import diagnose
    from toolchain.profiling import prospect

    found = diagnose()
    if found["runtimes"][0]["works"]:
        found |= {"measuring": prospect.measuring(), "tables": prospect.tables()}
    cpu, memory, load = found["cpu"], found["memory_bytes"], found["load_average"]
    machine = [
        ("python", f"{found['python']} on {found['platform']}"),
        (
            "cpu",
            f"{cpu['model']}, {cpu['cores']} cores, {', '.join(cpu['vector']) or 'no vectors'}",
        ),
        ("clock", f"{cpu['mhz'] or '?'} MHz, governor {cpu['governor'] or 'not visible'}"),
        ("memory", f"{memory / 2**30:.1f} GiB" if memory else "not visible"),
        ("load", f"{', '.join(map(str, load))} (1, 5, 15 minutes)" if load else "not visible"),
        *(("gpu", ", ".join(f"{k} {v}" for k, v in gpu.items())) for gpu in found["gpus"]),
        *(
            (f"{entry['runtime']} on {entry['device']}", "works" if entry["works"] else "missing")
            for entry in found["runtimes"]
        ),
        ("camera 0", "works" if found["camera"] else "missing"),
        ("display", "works" if found["display"] else "missing"),
        *found["packages"].items(),
    ]
    parts = [f"{name:24} {value}" for name, value in machine]
    parts += _measuring(found)
    if found["problems"]:
        rows = [(p["missing"], p["cost"], p["remedy"]) for p in found["problems"]]
        parts += ["", _left(table(("missing", "what it costs", "how to get it"), rows))]
    return Outcome(found, lines(*parts))


def _measuring(found: dict[str, Any]) -> list[str]:
    """Say whether profile-device can succeed now, and which tables are of this machine."""
    if "measuring" not in found:
        return []
    state = found["measuring"]
    words = (
        f"a fixed piece of network runs near its best in {state['quiet_share']:.0%} of the "
        f"moments, other programs take {state['other_programs_cores']:.2f} cores"
    )
    parts = [f"{'measuring now':24} {'can succeed' if state['possible'] else 'waits'}: {words}"]
    alike: dict[str, list[str]] = {}
    for entry in found["tables"]:
        said = "is of this machine" if entry["fits"] else entry["reason"]
        alike.setdefault(said, []).append(entry["path"])
    for said, (path, *others) in alike.items():
        more = f" and {len(others)} more" if others else ""
        parts.append(f"{'latency table':24} {path}{more}: {said}")
    return parts
