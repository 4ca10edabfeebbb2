"""``nastool profile-device``: measure this device and write its latency table."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines
from export.system.errors import UsageError
from export.system.inputs import InputFile
from export.system.numbers import CLASSES, LONGEST, SEED, THREADS, Networks, Side
from export.system.outputs import JSON
from toolchain.cli.certify import certificate_table
from toolchain.cli.resuming import NOTHING_YET, Given, defaults, go_on, read_settings
from toolchain.settings.profile_files import FLAGS, MEASURED, PARTIAL, TABLES

GROUPS = {
    "First of all": ("encoders", "device", "runtime", "threads", "output", "resume"),
    "What is measured": ("precision", "input_size", "working_sizes", "classes"),
    "How well": ("fit_networks", "certify_networks", "seconds", "max_drift", "seed"),
    "A device far away": ("kit", "from_kit"),
}


def _recalled(given: Given) -> Given:
    """Return the flags of the profiling that is gone on with; the only one, if none is named."""
    if not given.get("resume"):
        return {}
    output = given.get("output")
    found = [Path(f"{output}{PARTIAL}")] if output else sorted(TABLES.glob(f"*{PARTIAL}"))
    found = [each for each in found if (each / FLAGS).is_file()]
    if len(found) > 1:
        names = ", ".join(str(each).removesuffix(PARTIAL) for each in found)
        raise UsageError(f"several tables were begun; name one with --output: {names}")
    if not found:
        if given.keys() & {name for names in GROUPS.values() for name in names} - {"resume"}:
            return {}
        raise UsageError(
            f"{TABLES} has no table that was begun; name the one to go on with: --output TABLE.json"
        )
    settings = read_settings(found[0] / FLAGS)
    settings["max_drift"] = 100 * settings.get("max_drift", 0.1)  # the flag is in per cent
    return defaults(settings) | {"output": str(found[0]).removesuffix(PARTIAL)}


def _kept(given: Given) -> str:
    output = given["output"]
    begun = [Path(f"{output}{PARTIAL}")] if output else sorted(TABLES.glob(f"*{PARTIAL}"))
    begun = [each for each in begun if (each / MEASURED).is_file()]
    if not begun:
        return NOTHING_YET
    latest = max(begun, key=lambda each: (each / MEASURED).stat().st_mtime)
    done = len((latest / MEASURED).read_bytes().splitlines()) - 1
    table = str(latest).removesuffix(PARTIAL)
    return go_on(f"{done} measurements are kept in {latest}", "profile-device", "--output", table)


@command("profile-device", recalled=_recalled, kept=_kept, groups=GROUPS)
@click.option("--runtime", default="onnxruntime", show_default=True, help="Name of the runtime.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N.")
@click.option(
    "--threads", type=THREADS, help="CPU threads; the physical cores that may be used if left out."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of the networks, as nastool export writes them.",
)
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    default=["mobilenetv2"],
    show_default=True,
    help="Measure this encoder; may be given several times.",
)
@click.option(
    "--input-size", type=Side(), default=512, show_default=True, help="Pixels, a multiple of 32."
)
@click.option(
    "--working-size",
    "working_sizes",
    multiple=True,
    type=Side(),
    help="Measure encoders and decoders at this size, a multiple of 32: networks average their "
    "image down to it; may be given several times; the input size if left out.",
)
@click.option("--classes", type=CLASSES, default=19, show_default=True)
@click.option(
    "--output",
    type=JSON,
    help="File; latency_tables/DEVICE-RUNTIME-PRECISION-THREADSt.json if left out.",
)
@click.option(
    "--fit-networks",
    type=Networks(),
    default=60,
    show_default=True,
    help="Whole networks to fit the correction to; 0, or at least 10.",
)
@click.option(
    "--certify-networks",
    type=Networks(),
    default=50,
    show_default=True,
    help="Other whole networks to certify the table on; 0, or at least 10.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Draws the networks.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.01, LONGEST),
    default=0.1,
    show_default=True,
    help="Time to measure each graph, at least.",
)
@click.option(
    "--max-drift",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Per cent by which fixed work beside the measurement may run slower than at its best; "
    "other programs may take as much of a core in use, at least 30.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted profiling.")
@click.option(
    "--kit",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Measure nothing here; write a folder that measures a device far away, with Python 3.8, "
    "numpy and the runtime alone.",
)
@click.option(
    "--from-kit",
    type=InputFile(),
    metavar="FILE",
    help="Make the table of what a kit has measured; settings are the kit's.",
)
def profile_device(
    output: Path | None,
    max_drift: float,
    kit: Path | None,
    from_kit: Path | None,
    resume: bool,
    threads: int | None,
    seconds: float,
    **settings: Any,
) -> Outcome:
    """Measure this device and write its latency table.

    Latency is that of one complete frame: image in, label map out, one image at a time. Every
    unit a network can consist of is measured as a difference of two graphs; then whole random
    networks are measured, some to fit what sums of units miss, others to certify the result. The
    errors on the latter are in the table. Do not use the machine meanwhile: where other work slows
    it down, the measurement is repeated, and in the end refused (exit code 1, no table). What was
    measured until an interruption is in TABLE.json.partial; --resume goes on with it, by the flags
    that it was begun with.

    \b
      nastool profile-device --threads 2
      nastool profile-device --encoder mobilenetv2 --encoder ghostnet-0.25 --input-size 256
      nastool profile-device --working-size 512 --working-size 384 --working-size 256
      nastool profile-device --resume
      nastool profile-device --kit board/          # copy it there: python3 measure.py
      nastool profile-device --from-kit samples.jsonl
    """
    from toolchain.profiling.device import profile_device as profile
    from toolchain.profiling.kit import write_kit
    from toolchain.profiling.kit_samples import table_from_kit

    settings["max_drift"] = max_drift / 100
    if kit:
        if from_kit or output or resume or threads:
            raise UsageError("--kit goes without --from-kit, --output, --resume and --threads")
        written = write_kit(kit, seconds=seconds, **settings)
        text = (
            f"{kit}: {written['graphs']} graphs, {written['size_bytes'] / 1e6:.0f} MB; copy it to "
            "the device and run: python3 measure.py"
        )
        return Outcome(written, text)
    if from_kit:
        result = table_from_kit(from_kit, output)
    else:
        result = profile(output, seconds=seconds, resume=resume, threads=threads, **settings)
    document = result.document()
    text = f"{result.path}: {document['entries']} entries in {document['seconds']:.0f} s"
    certificate = result.table.certificate
    return Outcome(document, lines(text, certificate_table(certificate)) if certificate else text)
