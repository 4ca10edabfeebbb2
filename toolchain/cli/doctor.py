"""``nastool doctor``: say what this machine has and what is missing."""

from export.console import Outcome, command, lines, table


@command("doctor")
def doctor() -> Outcome:
    """Say what this machine has and what is missing.

    Opens a session of a tiny model on each runtime and device, reads a frame from camera 0, and
    looks for GPUs, TensorRT and a display. Each missing thing is listed with what it costs and how
    to get it; none of them is an error. Nothing is changed or sent anywhere. Send the JSON along
    when you report a fault.

    \b
      nastool doctor
      nastool doctor --json > machine.json
    """
    from export.diagnosis import diagnose

    found = diagnose()
    cpu = found["cpu"]
    machine = [
        ("python", f"{found['python']} on {found['platform']}"),
        (
            "cpu",
            f"{cpu['model']}, {cpu['cores']} cores, {', '.join(cpu['vector']) or 'no vectors'}",
        ),
        ("clock", f"{cpu['mhz'] or '?'} MHz, governor {cpu['governor'] or 'not visible'}"),
        ("memory", f"{found['memory_bytes'] / 2**30:.1f} GiB"),
        ("load", ", ".join(map(str, found["load_average"])) + " (1, 5, 15 minutes)"),
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
    if found["problems"]:
        rows = [(p["missing"], p["cost"], p["remedy"]) for p in found["problems"]]
        missing = table(("missing", "what it costs", "how to get it"), rows)
        for column in missing.columns:
            column.justify = "left"
        parts += ["", missing]
    return Outcome(found, lines(*parts))
